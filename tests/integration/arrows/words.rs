//! Names of types and where their methods stand.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::uses::defined;
use super::{first_word, home};

/// Files in which methods of one type may stand.
const IMPL_FILES_MAX: usize = 2;

/// Every name of a public type that more than one room defines.
pub(super) fn repeated<'a>(files: impl IntoIterator<Item = (&'a Path, &'a str)>) -> Vec<String> {
    let mut rooms: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in files {
        for name in public_types(text) {
            rooms.entry(name).or_default().insert(home(path));
        }
    }
    rooms.retain(|_, rooms| rooms.len() > 1);
    let shown = rooms.into_iter();
    shown
        .map(|(name, rooms)| format!("{name}: {}", Vec::from_iter(rooms).join(", ")))
        .collect()
}

fn public_types(text: &str) -> impl Iterator<Item = String> {
    let is_type = |line: &&str| {
        let item = line.strip_prefix("pub ").unwrap_or_default();
        ["struct ", "enum ", "trait ", "type "]
            .iter()
            .any(|kind| item.starts_with(kind))
    };
    text.lines().filter(is_type).filter_map(defined)
}

/// Every type whose own methods stand in more than two files of its room.
pub(super) fn in_slices<'a>(files: impl IntoIterator<Item = (&'a Path, &'a str)>) -> Vec<String> {
    let mut places: BTreeMap<(String, String), BTreeSet<&Path>> = BTreeMap::new();
    for (path, text) in files {
        for name in text.lines().filter_map(type_of_impl) {
            places.entry((home(path), name)).or_default().insert(path);
        }
    }
    places.retain(|_, files| files.len() > IMPL_FILES_MAX);
    let shown = places.into_iter();
    shown
        .map(|((room, name), files)| format!("{room}: {name} in {} files", files.len()))
        .collect()
}

/// The type of an `impl` that is not of a trait.
fn type_of_impl(line: &str) -> Option<String> {
    let rest = line.strip_prefix("impl")?;
    let rest = match rest.strip_prefix('<') {
        Some(generics) => after_generics(generics)?,
        None => rest,
    };
    let rest = rest.strip_prefix(' ')?;
    (!rest.contains(" for ")).then(|| first_word(rest))
}

fn after_generics(text: &str) -> Option<&str> {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        match c {
            '<' => depth += 1,
            '>' if !text[..at].ends_with('-') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return text.get(at + 1..);
        }
    }
    None
}

#[test]
fn a_name_of_two_rooms_and_a_type_in_three_files_are_found() {
    let files = [
        (
            "sql/a.rs",
            "pub struct Plan;\nimpl Plan {\nimpl<'a> Other<'a> {",
        ),
        (
            "sql/b.rs",
            "pub(super) struct Key;\nimpl Plan {\nimpl From<X> for Other {",
        ),
        ("sql/c.rs", "impl<F: Fn() -> X> Plan {\nstruct Found;"),
        ("cache/d.rs", "pub enum Plan {\npub struct Key;\nimpl Key {"),
    ];
    let files = files.map(|(path, text)| (Path::new(path), text));
    assert_eq!(repeated(files), ["Plan: cache, sql"]);
    assert_eq!(in_slices(files), ["sql: Plan in 3 files"]);
}
