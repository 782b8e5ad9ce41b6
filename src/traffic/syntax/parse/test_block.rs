//! `given` and `expect`.

use super::keywords::{beginnings, begins_line};
use super::wrong::Wrong;
use super::{Input, Read, comma, has_keyword, list, refuse_misspelt};
use super::{string, symbol, take, word, words};
use crate::syntax::ast::{Body, Expectation, Fact, GivenClause, Outcome, Word};
use crate::syntax::similar::similar;
use crate::syntax::token::{Kind, Token};

const SUBJECT: &str = "what is given: `in`, `country`, `path`, a region and its state, …";

const SUBJECTS: [&str; 12] = [
    "in", "country", "at", "client", "path", "method", "host", "header", "cookie", "query", "time",
    "after",
];

const STATE: &str = "`left`, `drained`, `unreachable`, `ramp`, `errors`, `p99`, `saturation` or `lag` of \
                     this region";

const STATES: [&str; 8] = [
    "left",
    "drained",
    "unreachable",
    "ramp",
    "errors",
    "p99",
    "saturation",
    "lag",
];

/// The words with which an expectation of regions goes on.
const FOLLOWING: [&str; 3] = ["then", "by", "because"];

/// What follows `given`.
pub(super) fn given<'s>(input: &mut Input<'_, 's>) -> Read<Body<'s>> {
    list(input, fact, comma).map(Body::GivenClause)
}

fn fact<'s>(input: &mut Input<'_, 's>) -> Read<GivenClause<'s>> {
    if has_keyword(input, "after") {
        let after = Some(value(input, "a duration such as `30s`")?);
        let subject = value(input, "a region")?;
        let fact = state(input)?;
        return Ok(GivenClause {
            after,
            subject,
            fact,
        });
    }
    let here = *input;
    let subject = subject(input)?;
    let fact = match subject.text {
        "in" => Fact::Word(value(input, "a region")?),
        "country" => Fact::Word(value(input, "a country's code such as `DE`")?),
        "client" => Fact::Word(value(input, "an address such as `192.0.2.1`")?),
        "path" => Fact::Word(value(input, "a path such as `/account`")?),
        "method" => Fact::Word(value(input, "a method such as `POST`")?),
        "host" => Fact::Word(word(input, "a host's name")?),
        "time" => Fact::Word(value(input, "an instant such as `2026-12-31T22:00Z`")?),
        "at" => {
            let latitude = value(input, "a latitude such as `52.5`")?;
            Fact::GeoPoint(latitude, value(input, "a longitude such as `13.4`")?)
        }
        "header" | "cookie" | "query" => {
            let name = word(input, "a name")?;
            symbol(input, "=", "`=`")?;
            Fact::Pair(name, string(input, "a string such as `\"1\"`")?)
        }
        text if is_misspelt(text, input.first()) => {
            return Err(Wrong::expected(&here, SUBJECT).among(&SUBJECTS));
        }
        _ => state(input)?,
    };
    Ok(GivenClause {
        after: None,
        subject,
        fact,
    })
}

/// Takes the word that a fact begins with.
fn subject<'s>(input: &mut Input<'_, 's>) -> Read<Word<'s>> {
    let after_comma = input
        .previous_tokens()
        .next()
        .is_some_and(|token| token.is_symbol(","));
    value(input, SUBJECT).map_err(|wrong| match input.first() {
        Some(token) if after_comma && (token.is_word("expect") || token.is_symbol("}")) => {
            wrong.help("remove the comma before it")
        }
        Some(token) if after_comma && token.is_word("given") => {
            wrong.help("write `given` once, and a comma before each further fact")
        }
        _ => wrong,
    })
}

/// Takes a word that is not the keyword of a clause: in that case the word before it is missing.
///
/// No region, unlike a host or a header, has the name of a clause.
fn value<'s>(input: &mut Input<'_, 's>, expected: &'static str) -> Read<Word<'s>> {
    let is_clause = |token: &Token<'_>| token.is_word("given") || token.is_word("expect");
    take(
        input,
        |token| token.kind == Kind::Word && !begins_line(token) && !is_clause(token),
        expected,
    )
}

/// Whether the first word of a fact, and not the one after it, is the wrong one: it resembles a keyword, and no state of
/// a region follows.
fn is_misspelt(subject: &str, next: Option<&Token<'_>>) -> bool {
    // A duration such as `59s` is none, though it resembles `p99`.
    let is_value = |text: &str| text.starts_with(|first: char| first.is_ascii_digit());
    let resembles = |text: &str| !is_value(text) && similar(text, STATES).is_some();
    let is_state = |token: &Token<'_>| token.kind == Kind::Word && resembles(token.text);
    !next.is_some_and(is_state) && similar(subject, SUBJECTS).is_some()
}

/// What follows a region's name.
fn state<'s>(input: &mut Input<'_, 's>) -> Read<Fact<'s>> {
    let here = *input;
    let what = value(input, STATE)?;
    Ok(match what.text {
        "left" | "drained" | "unreachable" => Fact::State(what),
        text if STATES.contains(&text) => {
            Fact::Value(what, value(input, "a value such as `2%` or `400ms`")?)
        }
        _ => return Err(Wrong::expected(&here, STATE).among(&STATES)),
    })
}

/// Whether the first word of an expectation is a misspelt `never`: a region follows, which no other first word allows.
fn is_never(first: &str, next: Option<&Token<'_>>) -> bool {
    let follows = |text: &str| similar(text, beginnings().chain(FOLLOWING)).is_some();
    let is_region = |token: &Token<'_>| token.kind == Kind::Word && !follows(token.text);
    next.is_some_and(is_region) && similar(first, ["never"]).is_some()
}

/// What follows `expect`.
pub(super) fn expect<'s>(input: &mut Input<'_, 's>) -> Read<Body<'s>> {
    const FIRST: &str = "a region, `else`, `local` or `never`";
    const REGION: &str = "a region";
    let here = *input;
    let first = word(input, FIRST)?;
    let outcome = match first.text {
        "never" => Outcome::Never(words(input, REGION)?),
        "else" => Outcome::Else(first),
        "local" => Outcome::Local(first),
        text if is_never(text, input.first()) => {
            return Err(Wrong::expected(&here, FIRST).among(&["never"]));
        }
        _ => {
            let mut regions = vec![first];
            while has_keyword(input, "then") {
                regions.push(word(input, REGION)?);
            }
            Outcome::Regions(regions)
        }
    };
    let never = matches!(outcome, Outcome::Never(_));
    let by = match !never && has_keyword(input, "by") {
        true => Some(word(input, "a policy")?),
        false => None,
    };
    let because = match !never && has_keyword(input, "because") {
        true => Some(word(input, "a reason")?),
        false => None,
    };
    let following: &'static [&'static str] = match (never, &by, &because) {
        (true, _, _) | (_, _, Some(_)) => &[],
        (false, Some(_), None) => &["because"],
        (false, None, None) => &FOLLOWING,
    };
    refuse_misspelt(
        input,
        following,
        "`then`, `by`, `because`, another clause or `}`",
    )?;
    Ok(Body::Expect(Expectation {
        outcome,
        by,
        because,
    }))
}
