//! From tokens to the syntax tree. After an error, parsing continues at the next clause or block,
//! so that all errors of a file are reported but none that only follows from another.
//!
//! One token of lookahead always suffices, so nothing is read twice.

mod clause;
mod condition;
mod file;
mod item;
mod keywords;
mod recover;
mod test_block;
mod wrong;

pub use file::{Parsed, parse};

use winnow::stream::Stream;

use crate::syntax::ast::{Names, Word};
use crate::syntax::similar::similar;
use crate::syntax::token::{Kind, Token};
pub(crate) use keywords::is_taken;
use keywords::{beginnings, begins_line};
use wrong::{Input, Wrong};

type Read<T> = winnow::Result<T, Wrong>;

impl<'s> From<&Token<'s>> for Word<'s> {
    fn from(token: &Token<'s>) -> Self {
        Self {
            text: token.text,
            span: token.span,
        }
    }
}

/// Takes the next token if it satisfies the predicate.
fn take<'s>(
    input: &mut Input<'_, 's>,
    passes: impl Fn(&Token<'s>) -> bool,
    expected: &'static str,
) -> Read<Word<'s>> {
    match input.first() {
        Some(token) if passes(token) => {
            let word = Word::from(token);
            input.next_token();
            Ok(word)
        }
        _ => Err(Wrong::expected(input, expected)),
    }
}

/// Takes any word except a keyword that begins a line: in that case the value before it is missing.
fn word<'s>(input: &mut Input<'_, 's>, expected: &'static str) -> Read<Word<'s>> {
    let passes = |token: &Token<'_>| token.kind == Kind::Word && !begins_line(token);
    take(input, passes, expected)
}

/// Takes a certain word.
fn keyword<'s>(input: &mut Input<'_, 's>, text: &str, expected: &'static str) -> Read<Word<'s>> {
    take(input, |token| token.is_word(text), expected)
}

/// Takes a certain symbol.
fn symbol<'s>(input: &mut Input<'_, 's>, text: &str, expected: &'static str) -> Read<Word<'s>> {
    take(input, |token| token.is_symbol(text), expected)
}

/// Takes a string.
fn string<'s>(input: &mut Input<'_, 's>, expected: &'static str) -> Read<Word<'s>> {
    take(
        input,
        |token| matches!(token.kind, Kind::Text | Kind::Unclosed),
        expected,
    )
}

/// Takes a certain symbol if it is next.
fn has_symbol(input: &mut Input<'_, '_>, text: &str) -> bool {
    symbol(input, text, "").is_ok()
}

/// Takes a certain word if it is next.
fn has_keyword(input: &mut Input<'_, '_>, text: &str) -> bool {
    keyword(input, text, "").is_ok()
}

/// Refuses a word that resembles one with which the clause could go on here, and no beginning of the next one more.
fn refuse_misspelt(
    input: &Input<'_, '_>,
    words: &'static [&'static str],
    expected: &'static str,
) -> Read<()> {
    let is_meant = |token: &Token<'_>| {
        let all = beginnings().chain(words.iter().copied());
        let nearest = similar(token.text, all).filter(|_| token.kind == Kind::Word);
        nearest.is_some_and(|it| words.contains(&it))
    };
    match input.first().is_some_and(is_meant) {
        true => Err(Wrong::expected(input, expected).among(words)),
        false => Ok(()),
    }
}

/// Takes one or more elements with a separator between them.
fn list<'t, 's, T>(
    input: &mut Input<'t, 's>,
    mut element: impl FnMut(&mut Input<'t, 's>) -> Read<T>,
    separated: impl Fn(&mut Input<'t, 's>) -> bool,
) -> Read<Vec<T>> {
    let mut elements = vec![element(input)?];
    while separated(input) {
        elements.push(element(input)?);
    }
    Ok(elements)
}

fn comma(input: &mut Input<'_, '_>) -> bool {
    has_symbol(input, ",")
}

/// Takes words separated by commas.
fn words<'s>(input: &mut Input<'_, 's>, expected: &'static str) -> Read<Names<'s>> {
    list(input, |input| word(input, expected), comma)
}

/// Takes elements separated by commas, in parentheses.
fn parenthesised<'t, 's, T>(
    input: &mut Input<'t, 's>,
    element: impl FnMut(&mut Input<'t, 's>) -> Read<T>,
) -> Read<Vec<T>> {
    symbol(input, "(", "`(`")?;
    let elements = list(input, element, comma)?;
    symbol(input, ")", "`,` or `)`")?;
    Ok(elements)
}
