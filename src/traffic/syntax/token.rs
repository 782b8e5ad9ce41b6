//! Tokens: words, strings and symbols, with their places; comments are kept separately.

use winnow::Parser;
use winnow::combinator::alt;
use winnow::stream::{LocatingSlice, Location, Stream};
use winnow::token::{one_of, take_till, take_while};

use crate::syntax::{Diagnostic, Diagnostics, Source, Span};

/// The characters that end a word, besides white space.
const SYMBOLS: [char; 9] = ['{', '}', '(', ')', ',', '|', '=', '<', '>'];

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name, a keyword or a value.
    Word,
    /// A string, between two quotation marks.
    Text,
    /// A string without its second quotation mark, up to the end of the line.
    Unclosed,
    /// One of `{}(),|=<>`.
    Symbol,
}

/// One token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'s> {
    pub(crate) kind: Kind,
    /// Its text; that of a string without quotation marks.
    pub(crate) text: &'s str,
    pub(crate) span: Span,
    /// Whether it is the first token on its line.
    pub(crate) first: bool,
}

impl Token<'_> {
    /// Returns the token as if it were in the middle of a line.
    pub(crate) fn in_line(&self) -> Self {
        Self {
            first: false,
            ..*self
        }
    }

    /// Returns whether this is a certain word.
    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text == word
    }

    /// Returns whether this is a certain symbol.
    pub(crate) fn is_symbol(&self, symbol: &str) -> bool {
        self.kind == Kind::Symbol && self.text == symbol
    }
}

/// A comment, from its `#` to before the end of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Comment<'s> {
    pub(crate) text: &'s str,
    pub(crate) span: Span,
}

/// A text in tokens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tokens<'s> {
    pub(crate) tokens: Vec<Token<'s>>,
    pub(crate) comments: Vec<Comment<'s>>,
}

/// The parts of the text, in order.
#[derive(Clone, Copy, Debug)]
enum Piece<'s> {
    Space(&'s str),
    Comment(&'s str),
    Token(Kind, &'s str),
    /// A string without its second quotation mark.
    Open(&'s str),
}

type Input<'s> = LocatingSlice<&'s str>;

/// Splits a text into tokens.
pub(crate) fn tokens<'s>(source: &'s Source<'_>, diagnostics: &mut Diagnostics) -> Tokens<'s> {
    let mut input = LocatingSlice::new(source.text());
    input.next_slice(source.begin());
    let mut found = Tokens::default();
    let mut first = true;
    let mut line = Line::default();
    while !input.is_empty() {
        let start = input.current_token_start();
        let rest = &source.text()[start..];
        if start >= line.end {
            line = Line::of(rest, start);
        }
        if let Some(length) = escaped(rest, &line) {
            let span = Span::new(start, start + length);
            diagnostics.push(with_escapes(span));
            found.tokens.push(Token {
                kind: Kind::Unclosed,
                text: &rest[1..length - 1],
                span,
                first,
            });
            first = false;
            input.next_slice(length);
            continue;
        }
        let Ok(piece) = piece.parse_next(&mut input) else {
            break;
        };
        let span = Span::new(start, input.previous_token_end());
        let (kind, text) = match piece {
            Piece::Space(space) => {
                first |= space.contains('\n');
                continue;
            }
            Piece::Comment(text) => {
                let text = text.trim_end();
                found.comments.push(Comment { text, span });
                continue;
            }
            Piece::Token(kind, text) => (kind, text),
            Piece::Open(text) => {
                diagnostics.push(unterminated(span));
                (Kind::Unclosed, text)
            }
        };
        found.tokens.push(Token {
            kind,
            text,
            span,
            first,
        });
        first = false;
    }
    found
}

/// The words that may follow a string.
const AFTER_STRINGS: [&str; 13] = [
    "and", "or", "match", "only", "prefer", "affinity", "leave", "return", "retry", "panic",
    "else", "require", "expect",
];

/// A line, or the rest of one, which is looked at once: it may have many strings.
#[derive(Default)]
struct Line {
    /// The place of its end.
    end: usize,
    /// Whether its last string is not terminated.
    is_open: bool,
}

impl Line {
    /// Looks at the line with which a text begins, outside a string.
    fn of(text: &str, start: usize) -> Self {
        let length = text.find('\n').unwrap_or(text.len());
        let mut rest = &text[..length];
        let mut is_open = false;
        while let Some(at) = rest
            .find(['"', '#'])
            .filter(|at| !rest[*at..].starts_with('#'))
        {
            let inside = &rest[at + 1..];
            match inside.find('"') {
                Some(end) => rest = &inside[end + 1..],
                None => {
                    is_open = true;
                    break;
                }
            }
        }
        let end = start + length;
        Self { end, is_open }
    }
}

/// Returns the length of a string that was meant to have escapes: `"a\"b"`. Up to the last quotation mark of its
/// line, so that what is in it is not read as words.
///
/// That is a string that ends with `\`, directly followed by what cannot follow one, or by what can on a line
/// that is wrong in any case. `"C:\"and header x = "y"` is right.
fn escaped(text: &str, line: &Line) -> Option<usize> {
    let rest = text.strip_prefix('"')?;
    let end = rest.find(['"', '\n'])?;
    let after = rest[end..].strip_prefix('"')?;
    if !rest[..end].ends_with('\\') {
        return None;
    }
    let word = &after[..after.find(|c: char| !is_word(c)).unwrap_or(after.len())];
    let is_wrong = match word {
        "" => after.starts_with('"'),
        word => line.is_open || !AFTER_STRINGS.contains(&word),
    };
    if !is_wrong {
        return None;
    }
    let line = &after[..after.find('\n').unwrap_or(after.len())];
    // Quotation marks count, too: those around, and the first one inside.
    line.rfind('"').map(|last| 1 + end + 1 + last + 1)
}

fn with_escapes(span: Span) -> Diagnostic {
    Diagnostic::error(span, "strings have no escapes")
        .label("ends at its second `\"`, whatever is before that")
        .help("choose a value without quotation marks")
}

fn unterminated(span: Span) -> Diagnostic {
    Diagnostic::error(span, "this string is not terminated")
        .label("begins here")
        .help("a string must end on its line with `\"`, and has no escapes")
}

fn piece<'s>(input: &mut Input<'s>) -> winnow::Result<Piece<'s>, ()> {
    alt((
        take_while(1.., char::is_whitespace).map(Piece::Space),
        ('#', take_till(0.., '\n')).take().map(Piece::Comment),
        one_of(SYMBOLS)
            .take()
            .map(|text| Piece::Token(Kind::Symbol, text)),
        ('"', take_till(0.., ['"', '\n']), '"').map(|(_, text, _)| Piece::Token(Kind::Text, text)),
        ('"', take_till(0.., '\n')).map(|(_, text)| Piece::Open(text)),
        take_while(1.., is_word).map(|text| Piece::Token(Kind::Word, text)),
    ))
    .parse_next(input)
}

fn is_word(c: char) -> bool {
    !c.is_whitespace() && !SYMBOLS.contains(&c) && c != '#' && c != '"'
}
