//! Splits SQL text into what matters for parameters and what must be left alone.
//!
//! It knows strings (also `E'…'`), quoted identifiers, dollar quotes, comments (nested), `::`
//! casts, words, parentheses and semicolons as PostgreSQL's own scanner delimits them; it does not
//! parse.

/// One piece of SQL. Concatenating all the texts gives the input back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A keyword or an unquoted identifier.
    Word(&'a str),
    /// `:` and what follows it, up to where a parameter's name would end.
    Colon(&'a str),
    /// `$1`.
    Positional(&'a str),
    /// `(`, `)` or `;`.
    Punctuation(&'a str),
    /// White space and comments.
    Blank(&'a str),
    /// Anything else: literals, operators, numbers.
    Other(&'a str),
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
        '-' if after.starts_with('-') => (Piece::Blank, text.find('\n').unwrap_or(text.len())),
        '/' if after.starts_with('*') => (Piece::Blank, comment(text)),
        '$' if after.starts_with(|c: char| c.is_ascii_digit()) => {
            (Piece::Positional, 1 + run(after, |c| c.is_ascii_digit()))
        }
        '$' => (Piece::Other, dollar_quoted(text)),
        ':' if after.starts_with(':') => (Piece::Other, 2),
        ':' => (Piece::Colon, 1 + parameter_name(after)),
        '(' | ')' | ';' => (Piece::Punctuation, 1),
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

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// Length of the leading run of characters that satisfy a test.
fn run(text: &str, test: impl Fn(char) -> bool) -> usize {
    text.find(|c| !test(c)).unwrap_or(text.len())
}

/// Length of `source.name` at the start of a text: a hyphen belongs to a header's name only.
fn parameter_name(text: &str) -> usize {
    let source = run(text, |c| c.is_ascii_alphabetic());
    let Some(name) = text[source..].strip_prefix('.').filter(|_| source > 0) else {
        return source;
    };
    let header = &text[..source] == "header";
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || (header && c == '-');
    source + 1 + run(name, is_name)
}

/// Length of a quoted piece; a doubled quote stands for itself, and so does an escaped one.
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
