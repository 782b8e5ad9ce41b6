//! Writes the lines: where they are broken, and what is between them.

use super::lines::{Line, LineKind, lines};
use super::regions;
use crate::syntax::token::{Comment, Kind, Token};
use crate::syntax::{Parsed, Source};

/// Widest line, where there is a place to break it.
const WIDTH: usize = 100;

const INDENT: usize = 2;

/// Where the values of clauses begin, beyond the indentation.
const KEYWORD_WIDTH: usize = 8;

/// Writes a file in its normal form; only meaningful if all of it could be read.
pub fn format(parsed: &Parsed<'_>, source: &Source<'_>) -> String {
    let text = source.text();
    let mut writer = Writer {
        text,
        output: String::new(),
        end: 0,
        blank_due: false,
    };
    let lines = lines(parsed, text);
    let aligned = regions::align(parsed, &lines, text);
    for (line, aligned) in lines.iter().zip(aligned) {
        writer.line(line, aligned);
    }
    for comment in &parsed.tokens.comments[lines.last().map_or(0, |line| line.comments_end)..] {
        writer.own_line(comment, 0);
    }
    writer.output
}

struct Writer<'a> {
    text: &'a str,
    output: String,
    /// The end in the text of the last piece that has been written.
    end: usize,
    /// Whether a blank line comes next regardless of the text.
    blank_due: bool,
}

impl Writer<'_> {
    fn line(&mut self, line: &Line<'_, '_>, aligned: Option<String>) {
        let Some(first) = line.tokens.first() else {
            return;
        };
        let indent = match line.kind {
            LineKind::Clause => INDENT,
            LineKind::Region | LineKind::Group | LineKind::Head | LineKind::End => 0,
        };
        self.blank_due |= line.kind == LineKind::Head;
        for comment in line.leading {
            let indent = if line.kind == LineKind::End {
                INDENT
            } else {
                indent
            };
            self.own_line(comment, indent);
        }
        if line.kind == LineKind::End {
            self.blank_due = false;
            self.end = first.span.start;
        }
        self.blank(first.span.start);
        match aligned {
            Some(aligned) => self.output.push_str(&aligned),
            None => self.flow(line, indent),
        }
        self.end = line.tokens.last().map_or(self.end, |token| token.span.end);
        if let Some(comment) = line.trailing {
            self.output.push_str("  ");
            self.output.push_str(comment.text);
            self.end = comment.span.end;
        }
        self.output.push('\n');
        self.blank_due = line.kind == LineKind::End;
        if line.kind == LineKind::Head {
            // No blank line after the brace.
            self.end = usize::MAX;
        }
    }

    /// A comment on a line of its own.
    fn own_line(&mut self, comment: &Comment<'_>, indent: usize) {
        self.blank(comment.span.start);
        self.output.extend(std::iter::repeat_n(' ', indent));
        self.output.push_str(comment.text);
        self.output.push('\n');
        self.end = comment.span.end;
    }

    /// A blank line, if one is due or the text has one before `start`.
    fn blank(&mut self, start: usize) {
        let between = self.text.get(self.end..start).unwrap_or_default();
        let wanted = self.blank_due || between.matches('\n').count() > 1;
        if wanted && !self.output.is_empty() {
            self.output.push('\n');
        }
        self.blank_due = false;
    }

    /// Tokens in order, broken where the line would be too wide or a comment ends it.
    fn flow(&mut self, line: &Line<'_, '_>, indent: usize) {
        let further = indent + KEYWORD_WIDTH;
        let mut column = 0;
        let mut inner = line.inner.iter().peekable();
        let mut fresh = true;
        self.output.extend(std::iter::repeat_n(' ', indent));
        column += indent;
        for (index, chunk) in chunks(line).enumerate() {
            let text = joined(chunk);
            let width = text.chars().count();
            let keyword = index == 1 && line.kind == LineKind::Clause;
            let gap = match () {
                () if fresh => 0,
                () if keyword => (further.saturating_sub(column)).max(1),
                () => 1,
            };
            if !fresh && !keyword && column + gap + width > WIDTH {
                self.continue_at(further);
                column = further;
            } else {
                self.output.extend(std::iter::repeat_n(' ', gap));
                column += gap;
            }
            self.output.push_str(&text);
            column += width;
            fresh = false;
            let next = chunk.last().and_then(|last| line.next_after(last));
            while let (Some(comment), Some(next)) = (inner.peek(), next) {
                if comment.span.start > next.span.start {
                    break;
                }
                if fresh {
                    self.output.push_str(comment.text);
                } else {
                    self.output.push_str("  ");
                    self.output.push_str(comment.text);
                }
                self.continue_at(further);
                column = further;
                fresh = true;
                inner.next();
            }
        }
    }

    fn continue_at(&mut self, column: usize) {
        self.output.push('\n');
        self.output.extend(std::iter::repeat_n(' ', column));
    }
}

/// Tokens between which a line is not broken.
fn chunks<'t, 's>(line: &Line<'t, 's>) -> impl Iterator<Item = &'t [Token<'s>]> {
    let keyword = line.tokens.get(..1).unwrap_or_default();
    let rest = line.tokens.get(1..).unwrap_or_default();
    let inner = line.inner;
    let commented = move |one: &Token<'_>, next: &Token<'_>| {
        let after = inner.partition_point(|comment| comment.span < one.span);
        inner
            .get(after)
            .is_some_and(|comment| comment.span < next.span)
    };
    let values = rest.chunk_by(move |one, next| {
        !breaks_after(one) && !breaks_before(next) && !commented(one, next)
    });
    std::iter::once(keyword).chain(values)
}

fn breaks_after(token: &Token<'_>) -> bool {
    token.is_symbol(",")
}

fn breaks_before(token: &Token<'_>) -> bool {
    let joint = ["and", "or", "else", "for", "ramp", "then", "by", "because"];
    token.is_symbol("|") || token.kind == Kind::Word && joint.contains(&token.text)
}

/// Writes tokens with a space where one belongs.
fn joined(tokens: &[Token<'_>]) -> String {
    let mut text = String::new();
    let mut before: Option<&Token<'_>> = None;
    for token in tokens {
        if before.is_some_and(|before| is_spaced(before, token)) {
            text.push(' ');
        }
        match token.kind {
            Kind::Text | Kind::Unclosed => text.extend(["\"", token.text, "\""]),
            Kind::Word | Kind::Symbol => text.push_str(token.text),
        }
        before = Some(token);
    }
    text
}

fn is_spaced(before: &Token<'_>, token: &Token<'_>) -> bool {
    let function = ["nearest", "spread", "weighted"];
    let called = || before.kind == Kind::Word && function.contains(&before.text);
    let tight = token.is_symbol(",") || token.is_symbol(")") || before.is_symbol("(");
    !(tight || token.is_symbol("(") && called())
}
