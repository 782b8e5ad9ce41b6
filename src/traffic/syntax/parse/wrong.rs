//! Why tokens could not be read.

use winnow::error::ParserError;
use winnow::stream::TokenSlice;

use crate::syntax::diagnostic::Quoted;
use crate::syntax::similar::similar;
use crate::syntax::token::{Kind, Token};
use crate::syntax::{Diagnostic, Span};

/// Tokens that are left to read.
pub(super) type Input<'t, 's> = TokenSlice<'t, Token<'s>>;

/// What was expected, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The number of remaining tokens.
    left: usize,
    expected: &'static str,
    /// One of these was probably intended, if the wrong word resembles it.
    words: &'static [&'static str],
    /// How to correct it, if that is known.
    help: Option<&'static str>,
}

impl Wrong {
    pub(super) fn expected(input: &Input<'_, '_>, expected: &'static str) -> Self {
        Self {
            left: input.len(),
            expected,
            words: &[],
            help: None,
        }
    }

    /// Suggests the one of these words that the wrong one resembles.
    pub(super) fn among(self, words: &'static [&'static str]) -> Self {
        Self { words, ..self }
    }

    /// Sets how to correct it.
    pub(super) fn help(self, help: &'static str) -> Self {
        let help = Some(help);
        Self { help, ..self }
    }

    /// Returns the index of the wrong token, given the number of tokens; that number itself means
    /// the end of the file.
    pub(super) fn index(&self, count: usize) -> usize {
        count - self.left
    }

    /// Makes the error, with a correction if one is known; else with an example.
    pub(super) fn diagnostic(&self, tokens: &[Token<'_>], example: Option<&str>) -> Diagnostic {
        let token = tokens.get(self.index(tokens.len()));
        let expected = self.expected;
        let span = token.map_or_else(|| end(tokens), |token| token.span);
        let found = token.map_or_else(|| "the end of the file".to_owned(), found);
        let diagnostic = Diagnostic::error(span, format!("expected {expected}, found {found}"));
        if let Some(help) = self.help {
            return diagnostic.help(help);
        }
        let word = token.filter(|token| token.kind == Kind::Word);
        let meant = word.and_then(|token| similar(token.text, self.words.iter().copied()));
        match (meant, example) {
            (Some(word), _) => diagnostic.help(format!("did you mean `{word}`?")),
            (None, Some(example)) => diagnostic.help(format!("for example `{example}`")),
            (None, None) => diagnostic,
        }
    }
}

impl<'t, 's> ParserError<Input<'t, 's>> for Wrong {
    type Inner = Self;

    fn from_input(input: &Input<'t, 's>) -> Self {
        Self::expected(input, "something else")
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

/// Returns the place after the last token.
pub(super) fn end(tokens: &[Token<'_>]) -> Span {
    let end = tokens.last().map_or(0, |token| token.span.end);
    Span::new(end, end)
}

/// Describes a token.
pub(super) fn found(token: &Token<'_>) -> String {
    match token.kind {
        Kind::Text | Kind::Unclosed => format!("the string {}", Quoted(token.text)),
        Kind::Word | Kind::Symbol => Quoted(token.text).to_string(),
    }
}
