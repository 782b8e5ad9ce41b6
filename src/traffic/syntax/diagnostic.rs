//! Errors and warnings, and how they are shown: file, line, column, the line itself and a caret.

use std::fmt;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::syntax::{Source, Span};

/// Most errors that are shown; further ones are counted.
pub const ERRORS_MAX: usize = 100;

/// Characters of a long line that are shown on either side of the error.
const AROUND: usize = 100;

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

    /// Returns this as text: several lines, each ended by a line feed.
    pub fn render(&self, source: &Source<'_>, colour: bool) -> String {
        let excerpt = Excerpt::of(source, self.span);
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let label = (!self.label.is_empty()).then_some(self.label.as_str());
        let caret = AnnotationKind::Primary
            .span(excerpt.caret.into())
            .label(label);
        let snippet = Snippet::source(&excerpt.text)
            .line_start(excerpt.line)
            .path(source.name())
            .annotation(caret);
        let mut group = Group::with_title(level.primary_title(&self.title)).element(snippet);
        if let Some(note) = &self.note {
            group = group.element(Level::NOTE.message(note));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help));
        }
        let renderer = match colour {
            true => Renderer::styled(),
            false => Renderer::plain(),
        };
        // Lines are already truncated here, so the terminal's width does not matter.
        let text = renderer.term_width(4 * AROUND).render(&[group]);
        excerpt.with_column(text, source.name()) + "\n"
    }
}

/// The line on which a span begins, or the part of it that is shown.
struct Excerpt {
    /// Starting with 1.
    line: usize,
    /// In characters, starting with 1.
    column: usize,
    /// The same in the shown part of the line.
    column_shown: usize,
    text: String,
    /// Where the span is in `text`.
    caret: Span,
}

impl Excerpt {
    fn of(source: &Source<'_>, span: Span) -> Self {
        let text = source.text();
        let before = &text[source.begin()..span.start];
        let line = before.matches('\n').count() + 1;
        let start = before
            .rfind('\n')
            .map_or(source.begin(), |at| source.begin() + at + 1);
        let rest = &text[span.start..];
        let end = span.start + rest.find('\n').unwrap_or(rest.len());
        let end = start + text[start..end].trim_end_matches('\r').len();
        let column = text[start..span.start].chars().count() + 1;
        let left = characters_back(&text[start..span.start], AROUND) + start;
        let right =
            characters_on(&text[span.start.min(end)..end], 2 * AROUND) + span.start.min(end);
        let prefix = if left > start { "…" } else { "" };
        let suffix = if right < end { "…" } else { "" };
        let shift = |at: usize| at.clamp(left, right) - left + prefix.len();
        let shown = prefix.chars().count() + text[left..span.start].chars().count();
        Self {
            line,
            column,
            column_shown: shown + 1,
            text: format!("{prefix}{}{suffix}", &text[left..right]),
            caret: Span::new(shift(span.start), shift(span.end)),
        }
    }
}

impl Excerpt {
    /// Replaces the column of the truncated line by that of the whole line.
    fn with_column(&self, rendered: String, name: &str) -> String {
        if self.column == self.column_shown {
            return rendered;
        }
        let (line, column, shown) = (self.line, self.column, self.column_shown);
        let [wrong, right] = [shown, column].map(|column| format!("{name}:{line}:{column}"));
        rendered.replacen(&wrong, &right, 1)
    }
}

/// Returns the start of the last `count` characters of a text.
fn characters_back(text: &str, count: usize) -> usize {
    let mut starts = text.char_indices().rev();
    starts.nth(count.saturating_sub(1)).map_or(0, |(at, _)| at)
}

/// Returns the end of the first `count` characters of a text.
fn characters_on(text: &str, count: usize) -> usize {
    let mut starts = text.char_indices();
    starts.nth(count).map_or(text.len(), |(at, _)| at)
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

    /// Returns the shown ones as text, and the number of the others.
    pub fn render(&self, source: &Source<'_>, colour: bool) -> String {
        let shown = self.shown();
        let mut text = String::new();
        for diagnostic in &shown {
            text.push_str(&diagnostic.render(source, colour));
            text.push('\n');
        }
        for (count, what) in [(self.errors, "error"), (self.warnings, "warning")] {
            let rest = count.saturating_sub(ERRORS_MAX);
            if rest > 0 {
                text.push_str(&format!("and {} more\n", counted(rest, what)));
            }
        }
        text
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

/// A word as quoted in messages: in backquotes, truncated if long, without control characters.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`")?;
        for c in self.0.chars().take(QUOTED_MAX) {
            match c.is_control() {
                true => write!(f, "{}", c.escape_default())?,
                false => write!(f, "{c}")?,
            }
        }
        let long = self.0.chars().nth(QUOTED_MAX).is_some();
        f.write_str(if long { "…`" } else { "`" })
    }
}
