//! Which tokens and comments share a line in the normal form.

use std::collections::HashMap;

use crate::syntax::Parsed;
use crate::syntax::ast::Item;
use crate::syntax::token::{Comment, Token};

/// The kind of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineKind {
    /// `region …`.
    Region,
    /// `group …`.
    Group,
    /// `policy NAME {` and the like.
    Head,
    /// One clause of a block.
    Clause,
    /// `}`.
    End,
}

/// One line, before it is broken into several.
#[derive(Debug)]
pub(super) struct Line<'t, 's> {
    pub(super) kind: LineKind,
    pub(super) tokens: &'t [Token<'s>],
    /// Comments before it, on lines of their own.
    pub(super) leading: &'t [Comment<'s>],
    /// Comments among its tokens.
    pub(super) inner: &'t [Comment<'s>],
    /// The comment at its end.
    pub(super) trailing: Option<&'t Comment<'s>>,
    /// The number of comments before what follows.
    pub(super) comments_end: usize,
}

impl<'t, 's> Line<'t, 's> {
    /// Returns the token after one of this line's.
    pub(super) fn next_after(&self, token: &Token<'s>) -> Option<&'t Token<'s>> {
        let at = self
            .tokens
            .partition_point(|other| other.span <= token.span);
        self.tokens.get(at)
    }
}

/// Splits a file into lines.
pub(super) fn lines<'t, 's>(parsed: &'t Parsed<'s>, text: &str) -> Vec<Line<'t, 's>> {
    let starts = starts(parsed);
    let tokens = &parsed.tokens.tokens;
    let kind = |token: &Token<'_>| match token.is_symbol("}") {
        true => Some(LineKind::End),
        false => starts.get(&token.span.start).copied(),
    };
    let mut comments = Comments {
        all: &parsed.tokens.comments,
        next: 0,
    };
    let mut lines = Vec::new();
    for tokens in tokens.chunk_by(|_, next| kind(next).is_none()) {
        let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
            continue;
        };
        let leading = comments.before(first.span.start);
        let inner = comments.before(last.span.start);
        let trailing = comments.on_the_line_of(last.span.end, text);
        lines.push(Line {
            kind: kind(first).unwrap_or(LineKind::Clause),
            tokens,
            leading,
            inner,
            trailing,
            comments_end: comments.next,
        });
    }
    lines
}

struct Comments<'t, 's> {
    all: &'t [Comment<'s>],
    next: usize,
}

impl<'t, 's> Comments<'t, 's> {
    /// Takes the comments that begin before a place in the text.
    fn before(&mut self, start: usize) -> &'t [Comment<'s>] {
        let from = self.next;
        self.next += self.all[from..].partition_point(|comment| comment.span.start < start);
        &self.all[from..self.next]
    }

    /// Takes the next comment if no line ends before it.
    fn on_the_line_of(&mut self, end: usize, text: &str) -> Option<&'t Comment<'s>> {
        let comment = self.all.get(self.next)?;
        let between = text.get(end..comment.span.start)?;
        // Nothing else can follow on the same line: a comment ends with the line.
        if between.contains('\n') || !between.trim().is_empty() {
            return None;
        }
        self.next += 1;
        Some(comment)
    }
}

/// Returns where lines begin in the text, and which.
fn starts(parsed: &Parsed<'_>) -> HashMap<usize, LineKind> {
    let mut starts = HashMap::new();
    for item in &parsed.file.items {
        match item {
            Item::Region(region) => starts.insert(region.keyword.span.start, LineKind::Region),
            Item::Group(group) => starts.insert(group.keyword.span.start, LineKind::Group),
            Item::Block(block) => {
                for clause in &block.clauses {
                    starts.insert(clause.keyword.span.start, LineKind::Clause);
                }
                starts.insert(block.keyword.span.start, LineKind::Head)
            }
        };
    }
    starts
}
