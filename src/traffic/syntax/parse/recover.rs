//! Where parsing continues after an error, and the message for a word that begins nothing.

use super::keywords::{beginnings, begins_line, blocks_of, clauses_of, is_item, items};
use super::wrong::found;
use crate::syntax::Diagnostic;
use crate::syntax::ast::BlockKind;
use crate::syntax::similar::{listed, one_of, similar};
use crate::syntax::token::{Kind, Token};

/// Whether an item begins with a token at a nesting depth; `after` are the tokens that follow.
pub(super) fn ends_item(token: &Token<'_>, depth: usize, after: &[Token<'_>]) -> bool {
    if token.kind != Kind::Word {
        return false;
    }
    match is_item(token.text) {
        true => depth == 0 || token.first,
        false => depth == 0 && token.first && resembles_item(token, after),
    }
}

/// Whether an unknown word looks like the keyword of an item: `polcy NAME {`, `tset STRING {`, `defalts {`,
/// `gruop NAME =`, `regoin NAME`.
fn resembles_item(token: &Token<'_>, after: &[Token<'_>]) -> bool {
    let [name, rest @ ..] = after else {
        return false;
    };
    if name.is_symbol("{") {
        return similar(token.text, ["defaults"]).is_some();
    }
    if name.kind == Kind::Symbol || name.first {
        return false;
    }
    // A misspelt clause is none, such as `retrun when`.
    let is_meant = |word| similar(token.text, beginnings()) == Some(word);
    match rest.first() {
        Some(next) if next.is_symbol("{") => true,
        Some(next) if next.is_symbol("=") => is_meant("group"),
        _ => name.kind == Kind::Word && is_meant("region"),
    }
}

/// Whether a clause of a block, or what follows the block, begins with a token; `after` are the tokens that follow.
pub(super) fn ends_clause(
    token: &Token<'_>,
    depth: usize,
    after: &[Token<'_>],
    kind: BlockKind,
) -> bool {
    if token.first && is_item(token.text) && token.kind == Kind::Word {
        return true;
    }
    if depth > 0 {
        return false;
    }
    let inside = || blocks_of(token.text).is_some_and(|blocks| blocks.contains(&kind));
    // `else` also occurs between the keys of an affinity.
    let is_value = |token: &Token<'_>| {
        token.text == "local" || token.text.starts_with(|c: char| c.is_ascii_digit())
    };
    let else_clause = || after.first().is_some_and(is_value);
    let begins = || token.kind == Kind::Word && inside() && (token.text != "else" || else_clause());
    token.is_symbol("}") || begins_line(token) || begins()
}

pub(super) fn no_item(token: &Token<'_>) -> Diagnostic {
    let title = format!("expected {}, found {}", one_of(&items()), found(token));
    let diagnostic = Diagnostic::error(token.span, title);
    match () {
        () if token.is_symbol("}") => diagnostic.label("closes nothing"),
        () if blocks_of(token.text).is_some() => {
            diagnostic.help("clauses belong in `policy NAME { … }`")
        }
        () => meant(diagnostic, token, &items()),
    }
}

pub(super) fn no_clause(token: &Token<'_>, kind: BlockKind) -> Diagnostic {
    let (found, inside) = (found(token), kind.as_str());
    if let (Kind::Word, Some(blocks)) = (token.kind, blocks_of(token.text)) {
        let title = format!("{found} does not belong in `{inside}`");
        let blocks: Vec<_> = blocks.iter().map(|block| block.as_str()).collect();
        return Diagnostic::error(token.span, title)
            .help(format!("it belongs in {}", one_of(&blocks)));
    }
    let clauses = clauses_of(kind);
    let title = format!("expected {} or `}}`, found {found}", listed(&clauses));
    meant(Diagnostic::error(token.span, title), token, &clauses)
}

/// Adds the word that was probably intended.
fn meant(diagnostic: Diagnostic, token: &Token<'_>, words: &[&str]) -> Diagnostic {
    let words = words.iter().copied();
    match similar(token.text, words).filter(|_| token.kind == Kind::Word) {
        Some(word) => diagnostic.help(format!("did you mean `{word}`?")),
        None => diagnostic,
    }
}
