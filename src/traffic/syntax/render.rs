//! How errors and warnings are shown: file, line, column, the line itself and a caret.

use std::borrow::Cow;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use tidegate_model::is_printable;

use crate::syntax::diagnostic::counted;
use crate::syntax::{Diagnostic, Diagnostics, ERRORS_MAX, Severity, Source, Span};

/// Characters of a long line that are shown on either side of the error.
const AROUND: usize = 100;

impl Diagnostic {
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

    /// Returns what is wrong and where, in one line: `41:11: policy x is not closed`.
    pub fn in_one_line(&self, source: &Source<'_>) -> String {
        let Excerpt { line, column, .. } = Excerpt::of(source, self.span);
        format!("{line}:{column}: {}", self.title)
    }
}

impl Diagnostics {
    /// Returns the shown ones as text, and the number of the others.
    pub fn render(&self, source: &Source<'_>, colour: bool) -> String {
        let shown = self.shown();
        let mut text = String::new();
        for diagnostic in &shown {
            text.push_str(&diagnostic.render(source, colour));
            text.push('\n');
        }
        for (count, what) in [(self.errors(), "error"), (self.warnings(), "warning")] {
            let rest = count.saturating_sub(ERRORS_MAX);
            if rest > 0 {
                text.push_str(&format!("and {} more\n", counted(rest, what)));
            }
        }
        text
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
        let (text, begin) = (source.text(), source.begin());
        // What concerns the whole file is at 0, which may be before or inside a byte order mark.
        let at = text.floor_char_boundary(span.start).max(begin);
        let before = &text[begin..at];
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(begin, |end| begin + end + 1);
        let rest = &text[at..];
        let end = at + rest.find('\n').unwrap_or(rest.len());
        let end = start + text[start..end].trim_end_matches('\r').len();
        // The end of the file may be behind any number of carriage returns.
        let at = at.min(end);
        let column = text[start..at].chars().count() + 1;
        let left = characters_back(&text[start..at], AROUND) + start;
        let right = characters_on(&text[at..end], 2 * AROUND) + at;
        let prefix = if left > start { "…" } else { "" };
        let suffix = if right < end { "…" } else { "" };
        let until = text.floor_char_boundary(span.end).clamp(at, right);
        let before = format!("{prefix}{}", visible(&text[left..at]));
        let marked = visible(&text[at..until]);
        Self {
            line,
            column,
            column_shown: before.chars().count() + 1,
            caret: Span::new(before.len(), before.len() + marked.len()),
            text: format!("{before}{marked}{}{suffix}", visible(&text[until..right])),
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

/// Returns a text in which what has no shape is written as an escape: it could be all that is wrong. The renderer
/// writes control characters as symbols.
fn visible(text: &str) -> Cow<'_, str> {
    let is_hidden = |c: char| !c.is_control() && !is_printable(c);
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    for c in text.chars() {
        match is_hidden(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
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
