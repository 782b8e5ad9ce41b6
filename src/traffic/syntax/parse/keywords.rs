//! The words that begin an item or a clause.

use crate::syntax::ast::BlockKind;
use crate::syntax::token::{Kind, Token};

use BlockKind::{Defaults, Policy, Test, Window};

/// The keywords of items, with an example.
const ITEMS: [(&str, &str); 6] = [
    ("region", "region us-east-1 capacity 2000 rps"),
    ("group", "group europe = eu-west-1, eu-central-1"),
    ("defaults", "defaults { else 503 }"),
    ("policy", "policy everything { prefer us-east-1 }"),
    (
        "window",
        "window tonight { every day 02:00-03:00 UTC drain us-east-1 }",
    ),
    (
        "test",
        "test \"Germany\" { given country DE expect eu-central-1 }",
    ),
];

/// The keywords of clauses, the blocks that allow them, and an example.
const CLAUSES: [(&str, &[BlockKind], &str); 15] = [
    (
        "match",
        &[Policy],
        "match path /account/* and country in (DE, FR)",
    ),
    ("only", &[Policy], "only eu-west-1, eu-central-1"),
    (
        "prefer",
        &[Policy],
        "prefer us-east-1 | nearest(eu-west-1, eu-central-1)",
    ),
    ("affinity", &[Policy], "affinity cookie sid else client /24"),
    (
        "leave",
        &[Defaults, Policy, Window],
        "leave when errors > 2% or p99 > 400ms for 2s",
    ),
    (
        "return",
        &[Defaults, Policy, Window],
        "return when errors < 0.5% and p99 < 250ms for 60s ramp 5m",
    ),
    (
        "retry",
        &[Defaults, Policy, Window],
        "retry idempotent 1 budget 20%",
    ),
    ("panic", &[Defaults, Policy, Window], "panic below 50%"),
    ("else", &[Defaults, Policy, Window], "else 503"),
    ("require", &[Defaults, Policy, Window], "require survive 1"),
    ("every", &[Window], "every sunday 02:00-03:00 Europe/Berlin"),
    (
        "from",
        &[Window],
        "from 2026-12-31T22:00Z to 2027-01-01T02:00Z",
    ),
    ("drain", &[Window], "drain eu-central-1"),
    (
        "given",
        &[Test],
        "given country DE, path /account/balances, eu-central-1 left",
    ),
    ("expect", &[Test], "expect eu-west-1 by residency"),
];

/// Words that are reserved where a region or a group can be named.
const TAKEN: [&str; 28] = [
    "local",
    "nearest",
    "spread",
    "weighted",
    "never",
    "else",
    "then",
    "by",
    "because",
    "in",
    "country",
    "continent",
    "at",
    "client",
    "path",
    "method",
    "host",
    "header",
    "cookie",
    "query",
    "time",
    "after",
    "given",
    "expect",
    "and",
    "or",
    "not",
    "to",
];

/// Returns whether a word is reserved where a region or a group can be named.
pub(crate) fn is_taken(word: &str) -> bool {
    TAKEN.contains(&word) || is_item(word) || blocks_of(word).is_some()
}

/// Returns whether a word begins an item at the top of a file.
pub(super) fn is_item(word: &str) -> bool {
    ITEMS.iter().any(|(keyword, _)| *keyword == word)
}

/// Returns the blocks in which a word begins a clause.
pub(super) fn blocks_of(word: &str) -> Option<&'static [BlockKind]> {
    let mut clauses = CLAUSES.iter();
    let found = clauses.find(|(keyword, ..)| *keyword == word);
    found.map(|(_, blocks, _)| *blocks)
}

/// Returns the words that begin a clause of a block.
pub(super) fn clauses_of(block: BlockKind) -> Vec<&'static str> {
    let inside = CLAUSES
        .iter()
        .filter(|(_, blocks, _)| blocks.contains(&block));
    inside.map(|(keyword, ..)| *keyword).collect()
}

/// Returns the words that begin an item.
pub(super) fn items() -> Vec<&'static str> {
    ITEMS.iter().map(|(keyword, _)| *keyword).collect()
}

/// Returns the words that begin an item or a clause.
pub(super) fn beginnings() -> impl Iterator<Item = &'static str> {
    let clauses = CLAUSES.iter().map(|(keyword, ..)| *keyword);
    items().into_iter().chain(clauses)
}

/// Returns an example of an item or a clause.
pub(super) fn example(keyword: &str) -> Option<&'static str> {
    let items = ITEMS.iter().copied();
    let clauses = CLAUSES
        .iter()
        .map(|(keyword, _, example)| (*keyword, *example));
    let mut all = items.chain(clauses);
    all.find(|(known, _)| *known == keyword)
        .map(|(_, example)| example)
}

/// Returns whether a token begins an item or a clause on a line of its own.
pub(super) fn begins_line(token: &Token<'_>) -> bool {
    let known = || is_item(token.text) || blocks_of(token.text).is_some();
    token.first && token.kind == Kind::Word && known()
}
