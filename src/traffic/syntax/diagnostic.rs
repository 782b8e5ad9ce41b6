//! Errors and warnings, and how they are shown: file, line, column, the line itself and a caret.

use std::fmt;

use tidegate_model::is_printable;

use crate::syntax::Span;

/// Most errors that are shown; further ones are counted.
pub const ERRORS_MAX: usize = 100;

/// Characters of a word that a message repeats.
const QUOTED_MAX: usize = 80;

/// The severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The policy is refused.
    Error,
    /// The policy works, but perhaps not as intended.
    Warning,
}

/// An error or warning at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The severity.
    pub severity: Severity,
    /// The place.
    pub span: Span,
    /// The problem, in one line.
    pub title: String,
    /// The text beside the caret.
    pub label: String,
    /// How to correct it.
    pub help: Option<String>,
    /// Further information.
    pub note: Option<String>,
}

impl Diagnostic {
    /// Makes an error.
    pub fn error(span: Span, title: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            span,
            title: title.into(),
            label: String::new(),
            help: None,
            note: None,
        }
    }

    /// Makes a warning.
    pub fn warning(span: Span, title: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(span, title)
        }
    }

    /// Sets the text beside the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Sets how to correct it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds further information.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }
}

/// Errors and warnings of one file.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    found: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
}

impl Diagnostics {
    /// Adds one.
    ///
    /// If there are many, the first ones in the file are kept, and all are counted.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        match diagnostic.severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
        }
        self.found.push(diagnostic);
        if self.found.len() > 8 * ERRORS_MAX {
            self.settle();
        }
    }

    /// Adds the diagnostics of another part.
    pub(crate) fn extend(&mut self, others: Self) {
        self.errors += others.errors;
        self.warnings += others.warnings;
        self.found.extend(others.found);
        self.settle();
    }

    /// Returns how many errors there are.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// Returns how many warnings there are.
    pub fn warnings(&self) -> usize {
        self.warnings
    }

    /// Writes the counts: `2 errors, 1 warning`.
    pub fn summary(&self) -> String {
        let counts = [(self.errors, "error"), (self.warnings, "warning")];
        let some = counts.into_iter().filter(|(count, _)| *count > 0);
        some.map(|(count, what)| counted(count, what))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Returns the ones that are shown: at most a hundred of each severity, in the order of the
    /// file.
    pub fn shown(&self) -> Vec<&Diagnostic> {
        let mut sorted: Vec<_> = self.found.iter().collect();
        sorted.sort_by_key(|diagnostic| (diagnostic.severity, diagnostic.span));
        let of = |severity| {
            let same = sorted.iter().filter(move |one| one.severity == severity);
            same.take(ERRORS_MAX).copied()
        };
        let mut shown: Vec<_> = of(Severity::Error).chain(of(Severity::Warning)).collect();
        shown.sort_by_key(|diagnostic| diagnostic.span);
        shown
    }

    /// Drops those that would not be shown.
    fn settle(&mut self) {
        let kept = self.shown().into_iter().cloned().collect();
        self.found = kept;
    }
}

/// Writes `1 error`, `2 errors`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// A word as quoted in messages: in backquotes, truncated if long, with what cannot be seen as an escape.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`")?;
        for c in self.0.chars().take(QUOTED_MAX) {
            match is_printable(c) {
                true => write!(f, "{c}")?,
                false => write!(f, "{}", c.escape_default())?,
            }
        }
        let long = self.0.chars().nth(QUOTED_MAX).is_some();
        f.write_str(if long { "…`" } else { "`" })
    }
}
