//! Splits SQL text into the parts that matter for parameters and those that must be left unchanged.
//!
//! It knows strings (also `E'…'`), quoted identifiers, dollar quotes, comments (nested), `::`
//! casts, words, parentheses, brackets and semicolons as PostgreSQL's own scanner delimits them; it
//! does not parse.

use super::parameter::ParameterSource;

/// One piece of SQL. Concatenating all the texts gives the input back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A keyword or an unquoted identifier.
    Word(&'a str),
    /// `:source.name` of a known source; the name may be missing.
    Parameter(&'a str),
    /// Another `:` that is not part of a cast.
    Colon(&'a str),
    /// `$1`.
    Positional(&'a str),
    /// `(`, `)`, `[`, `]` or `;`.
    Punctuation(&'a str),
    /// White space and comments.
    Blank(&'a str),
    /// Anything else: literals, operators, numbers.
    Other(&'a str),
}

impl<'a> Piece<'a> {
    /// Its text.
    pub(super) fn text(self) -> &'a str {
        match self {
            Self::Word(text)
            | Self::Parameter(text)
            | Self::Colon(text)
            | Self::Positional(text)
            | Self::Punctuation(text)
            | Self::Blank(text)
            | Self::Other(text) => text,
        }
    }
}

/// Splits a text into pieces; an unterminated quote or comment runs to the end.
pub(super) fn pieces(mut rest: &str) -> impl Iterator<Item = Piece<'_>> {
    std::iter::from_fn(move || {
        let (piece, length) = first(rest)?;
        rest = &rest[length..];
        Some(piece)
    })
}

/// The first piece and its length in bytes.
fn first<'a>(text: &'a str) -> Option<(Piece<'a>, usize)> {
    let start = text.chars().next()?;
    let after = &text[start.len_utf8()..];
    let (make, length): (fn(&'a str) -> Piece<'a>, usize) = match start {
        '\'' => (Piece::Other, quoted(text, '\'', false)),
        '"' => (Piece::Other, quoted(text, '"', false)),
        'e' | 'E' if after.starts_with('\'') => (Piece::Other, 1 + quoted(after, '\'', true)),
        '-' if after.starts_with('-') => {
            (Piece::Blank, text.find(['\n', '\r']).unwrap_or(text.len()))
        }
        '/' if after.starts_with('*') => (Piece::Blank, comment(text)),
        '$' if after.starts_with(|c: char| c.is_ascii_digit()) => {
            (Piece::Positional, 1 + run(after, |c| c.is_ascii_digit()))
        }
        '$' => (Piece::Other, dollar_quoted(text)),
        ':' if after.starts_with(':') => (Piece::Other, 2),
        ':' => match parameter_name(after) {
            0 => (Piece::Colon, 1),
            name => (Piece::Parameter, 1 + name),
        },
        '(' | ')' | '[' | ']' | ';' => (Piece::Punctuation, 1),
        c if c.is_whitespace() => (Piece::Blank, run(text, char::is_whitespace)),
        c if is_word_start(c) => (Piece::Word, run(text, is_word)),
        c if c.is_ascii_digit() => (Piece::Other, run(text, is_word)),
        c => (Piece::Other, c.len_utf8()),
    };
    Some((make(&text[..length]), length))
}

fn is_word_start(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

/// Whether a character may occur inside an unquoted identifier.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// Length of the leading run of characters that satisfy a predicate.
fn run(text: &str, test: impl Fn(char) -> bool) -> usize {
    text.find(|c| !test(c)).unwrap_or(text.len())
}

/// Length of `source.name` at the start of a text, 0 without a known source and a dot. Only a
/// header's name may contain a hyphen.
fn parameter_name(text: &str) -> usize {
    let Some((source, name)) = text.split_once('.') else {
        return 0;
    };
    let Some(known) = ParameterSource::parse(source) else {
        return 0;
    };
    let is_name = |c: char| {
        c.is_ascii_alphanumeric() || c == '_' || (known == ParameterSource::Header && c == '-')
    };
    source.len() + 1 + run(name, is_name)
}

/// The identifier at the start of a text, with those joined to it by dots; empty if there is none.
pub(super) fn unquoted_name(text: &str) -> &str {
    match text.starts_with(is_word_start) {
        true => &text[..run(text, |c| is_word(c) || c == '.')],
        false => "",
    }
}

/// Length of a quoted piece; a doubled or an escaped quote does not end it.
fn quoted(text: &str, quote: char, backslash: bool) -> usize {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = characters.next() {
        if c == '\\' && backslash {
            characters.next();
        } else if c == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
            return at + 1;
        }
    }
    text.len()
}

/// Length of `$tag$ … $tag$`, or 1 when no tag opens here.
fn dollar_quoted(text: &str) -> usize {
    let tag_end = 1 + run(&text[1..], |c| c.is_alphanumeric() || c == '_');
    if !text[tag_end..].starts_with('$') {
        return 1;
    }
    let tag = &text[..=tag_end];
    text[tag.len()..]
        .find(tag)
        .map_or(text.len(), |at| tag.len() + at + tag.len())
}

/// Length of a comment; comments nest.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        match rest {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}
