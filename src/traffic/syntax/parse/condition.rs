//! `match`: `not` binds closest, then `and`, then `or`.

use super::wrong::Wrong;
use super::{Input, Read, has_keyword, has_symbol, keyword, list, parenthesised, string, symbol};
use super::{word, words};
use crate::syntax::ast::{Condition, Field, Names};
use crate::syntax::token::Token;

/// How deep parentheses and `not` may nest: deeper than a reader can follow.
pub(super) const DEPTH_MAX: usize = 32;

const FIELD: &str = "a condition: `path`, `method`, `host`, `header`, `country`, `continent`, `client`, \
                     `cookie`, `query`, `not` or `(`";

const FIELDS: [&str; 10] = [
    "path",
    "method",
    "host",
    "header",
    "country",
    "continent",
    "client",
    "cookie",
    "query",
    "not",
];

/// Takes a condition.
pub(super) fn condition<'s>(input: &mut Input<'_, 's>) -> Read<Condition<'s>> {
    any(input, DEPTH_MAX)
}

fn any<'s>(input: &mut Input<'_, 's>, depth: usize) -> Read<Condition<'s>> {
    let parts = list(
        input,
        |input| all(input, depth),
        |input| has_keyword(input, "or"),
    )?;
    Ok(single(parts).unwrap_or_else(Condition::Any))
}

fn all<'s>(input: &mut Input<'_, 's>, depth: usize) -> Read<Condition<'s>> {
    let parts = list(
        input,
        |input| unary(input, depth),
        |input| has_keyword(input, "and"),
    )?;
    Ok(single(parts).unwrap_or_else(Condition::All))
}

fn unary<'s>(input: &mut Input<'_, 's>, depth: usize) -> Read<Condition<'s>> {
    let nests = |token: &Token<'_>| token.is_word("not") || token.is_symbol("(");
    if !input.first().is_some_and(nests) {
        return field(input).map(Condition::Field);
    }
    let Some(depth) = depth.checked_sub(1) else {
        return Err(Wrong::expected(input, "at most 32 levels of `(` and `not`"));
    };
    if has_keyword(input, "not") {
        return Ok(Condition::Not(Box::new(unary(input, depth)?)));
    }
    symbol(input, "(", "`(`")?;
    let inner = any(input, depth)?;
    symbol(input, ")", "`and`, `or` or `)`")?;
    Ok(inner)
}

fn field<'s>(input: &mut Input<'_, 's>) -> Read<Field<'s>> {
    let here = *input;
    let keyword_found = word(input, FIELD)?;
    let plain = |names| (names, None);
    let (names, value) = match keyword_found.text {
        "path" => plain(words(input, "a path such as `/account/*`")?),
        "host" => plain(vec![word(input, "a host's name")?]),
        "method" => plain(members(input, "a method such as `GET`")?),
        "country" => plain(members(input, "a country's code such as `DE`")?),
        "continent" => plain(members(input, "a continent's code such as `EU`")?),
        "client" => plain(members(input, "a network such as `192.0.2.0/24`")?),
        "header" | "cookie" | "query" => {
            let name = word(input, "a name")?;
            let value = match has_symbol(input, "=") {
                true => Some(string(input, "a string such as `\"1\"`")?),
                false => None,
            };
            (vec![name], value)
        }
        _ => return Err(Wrong::expected(&here, FIELD).among(&FIELDS)),
    };
    Ok(Field {
        keyword: keyword_found,
        names,
        value,
    })
}

fn members<'s>(input: &mut Input<'_, 's>, expected: &'static str) -> Read<Names<'s>> {
    keyword(input, "in", "`in (`")?;
    parenthesised(input, |input| word(input, expected))
}

/// Returns the only part, or all of them.
fn single<T>(mut parts: Vec<T>) -> Result<T, Vec<T>> {
    match parts.len() {
        1 => parts.pop().ok_or(parts),
        _ => Err(parts),
    }
}
