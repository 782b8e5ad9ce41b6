//! Which file of a crate uses which: a use counts towards the file that defines the item, re-exports
//! followed.
//!
//! Source is read as rustfmt writes it. Not counted: re-exports themselves, globs, and what only tests
//! use.

use std::collections::{BTreeMap, BTreeSet};

use super::{first_word, is_word, without_comment};

/// A module's path in its crate: of `src/sql/mod.rs` it is `["sql"]`.
pub(super) type Module = Vec<String>;

/// Re-exports that are followed in a row.
const HOPS_MAX: usize = 20;

/// What a file has to do with others.
#[derive(Debug, Default)]
struct Source {
    defined: BTreeSet<String>,
    /// Names that it imports or re-exports, and where from.
    imported: BTreeMap<String, Vec<String>>,
    used: Vec<Vec<String>>,
}

/// The files of one crate.
#[derive(Debug, Default)]
pub(super) struct Uses(BTreeMap<Module, Source>);

impl Uses {
    /// Reads a crate: its modules and their text.
    pub(super) fn of(files: impl IntoIterator<Item = (Module, String)>) -> Self {
        let read = |(module, text): (Module, String)| (module, Source::read(&text));
        Self(files.into_iter().map(read).collect())
    }

    /// Returns the modules whose files use one another, however indirectly; each circle once.
    pub(super) fn circles(&self) -> Vec<Vec<Module>> {
        let direct: BTreeMap<_, _> = self.0.keys().map(|from| (from, self.used(from))).collect();
        let reach: BTreeMap<_, _> = direct
            .keys()
            .map(|from| (*from, reach(&direct, from)))
            .collect();
        let mut circles = BTreeSet::new();
        for (from, reached) in &reach {
            let reached = reached.iter().copied();
            let circle = reached.filter(|to| reach[to].contains(from)).cloned();
            let circle: Vec<Module> = circle.collect();
            if circle.len() > 1 {
                circles.insert(circle);
            }
        }
        circles.into_iter().collect()
    }

    fn used(&self, from: &Module) -> BTreeSet<&Module> {
        let used = self.0[from].used.iter();
        let used = used.filter_map(|path| self.resolve(from, path, 0));
        used.filter(|to| *to != from).collect()
    }

    /// Finds the module whose file defines what a path leads to; none outside the crate.
    fn resolve(&self, from: &Module, path: &[String], hops: usize) -> Option<&Module> {
        let (mut at, mut rest) = match path.first()?.as_str() {
            "crate" => (Module::new(), &path[1..]),
            "self" => (from.clone(), &path[1..]),
            _ => (from.clone(), path),
        };
        while rest.first().is_some_and(|segment| segment == "super") {
            at.pop();
            rest = &rest[1..];
        }
        for (index, segment) in rest.iter().enumerate() {
            let source = self.0.get(&at)?;
            at.push(segment.clone());
            if self.0.contains_key(&at) {
                continue;
            }
            at.pop();
            if source.defined.contains(segment) {
                break;
            }
            let import = source.imported.get(segment).filter(|_| hops < HOPS_MAX)?;
            if import.as_slice() == path {
                return None;
            }
            let onward: Vec<_> = import.iter().chain(&rest[index + 1..]).cloned().collect();
            return self.resolve(&at, &onward, hops + 1);
        }
        self.0.get_key_value(&at).map(|(module, _)| module)
    }
}

fn reach<'a>(
    direct: &BTreeMap<&'a Module, BTreeSet<&'a Module>>,
    from: &'a Module,
) -> BTreeSet<&'a Module> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        for to in &direct[module] {
            if reached.insert(*to) {
                next.push(to);
            }
        }
    }
    reached
}

impl Source {
    fn read(text: &str) -> Self {
        let (text, _tests) = text
            .split_once("#[cfg(test)]\nmod tests {")
            .unwrap_or((text, ""));
        let code: Vec<_> = text.lines().map(without_comment).collect();
        let mut source = Self::default();
        let mut lines = code.iter();
        let mut body = String::new();
        while let Some(line) = lines.next() {
            if let Some(name) = defined(line) {
                source.defined.insert(name);
            }
            let Some((visibility, first)) = split_use(line) else {
                body.push_str(line);
                body.push('\n');
                continue;
            };
            let mut tree = first.to_owned();
            while !tree.contains(';') {
                tree.push_str(lines.next().expect("a use ends"));
            }
            let tree = tree.split(';').next().unwrap_or_default();
            source.take(tree, visibility.is_empty(), line.starts_with(' '));
        }
        source.used.extend(paths(&body));
        source
    }

    /// Takes in a use; one in a function is no name of the module.
    fn take(&mut self, tree: &str, is_use: bool, is_inner: bool) {
        for (path, name) in leaves(tree) {
            if !is_inner {
                self.imported.insert(name, path.clone());
            }
            if is_use {
                self.used.push(path);
            }
        }
    }
}

/// Splits a line that begins a use into its visibility and its tree.
fn split_use(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    let (visibility, tree) = line.split_once("use ")?;
    let visibility = visibility.trim_end();
    let is_use = visibility.is_empty() || visibility.starts_with("pub");
    (is_use && !visibility.contains(' ')).then_some((visibility, tree))
}

/// Returns the name of an item that a line at the start of a module defines.
pub(super) fn defined(line: &str) -> Option<String> {
    const MODIFIERS: [&str; 3] = ["async", "unsafe", "const"];
    const KINDS: [&str; 7] = ["struct", "enum", "trait", "type", "fn", "const", "static"];
    let mut words = line.split(' ').peekable();
    words.next_if(|word| word.starts_with("pub"));
    let mut kind = words.next()?;
    while MODIFIERS.contains(&kind) && words.peek().is_some_and(|next| KINDS.contains(next)) {
        kind = words.next()?;
    }
    if !KINDS.contains(&kind) {
        return None;
    }
    let name = first_word(words.next()?);
    (!name.is_empty()).then_some(name)
}

/// Returns every path that a use tree has, with the name that it gives.
fn leaves(tree: &str) -> Vec<(Vec<String>, String)> {
    let tree = tree.trim();
    if let Some((prefix, group)) = tree.split_once('{') {
        let group = group.rsplit_once('}').map_or(group, |(group, _)| group);
        let prefix = segments(prefix.trim_end_matches("::"));
        let inner = members(group)
            .into_iter()
            .flat_map(|member| leaves(&member));
        return inner
            .map(|(path, name)| ([prefix.clone(), path].concat(), name))
            .map(|(path, name)| match path.split_last() {
                Some((last, module)) if last == "self" => {
                    (module.to_vec(), module.last().cloned().unwrap_or(name))
                }
                _ => (path, name),
            })
            .collect();
    }
    let (path, alias) = tree.split_once(" as ").unwrap_or((tree, ""));
    let path = segments(path);
    let name = match (alias, path.last()) {
        ("", Some(last)) => last.clone(),
        (alias, _) => alias.to_owned(),
    };
    match name.as_str() {
        "" | "*" => Vec::new(),
        _ => vec![(path, name)],
    }
}

fn segments(path: &str) -> Vec<String> {
    let segments = path.split("::").map(str::trim);
    let segments = segments.filter(|segment| !segment.is_empty());
    segments.map(str::to_owned).collect()
}

/// Splits what stands between braces at the commas that are not in inner ones.
fn members(group: &str) -> Vec<String> {
    let (mut depth, mut all) = (0, vec![String::new()]);
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                all.push(String::new());
                continue;
            }
            _ => {}
        }
        all.last_mut().expect("it is never empty").push(c);
    }
    all.retain(|member| !member.trim().is_empty());
    all
}

/// Returns every path of two segments or more that code has.
fn paths(code: &str) -> Vec<Vec<String>> {
    let in_path = |c: char| is_word(c) || c == ':';
    let found = code.split(|c| !in_path(c));
    let found = found.map(|path| segments(path.trim_matches(':')));
    found.filter(|path| path.len() > 1).collect()
}

#[test]
fn a_circle_through_a_re_export_is_found_and_a_shared_file_below_is_none() {
    let file = |module: &str, text: &str| (segments(module), text.to_owned());
    let circle = [
        file("", "mod a;\nmod b;"),
        file(
            "a",
            "mod one;\nmod two;\npub use one::One;\npub(super) use two::Two;",
        ),
        file("a::one", "use super::Two;\npub struct One;"),
        file("a::two", "pub struct Two;\nfn f() -> crate::a::One { g() }"),
        file("b", "use crate::a::{One, Two};\npub struct B;"),
    ];
    let circles = Uses::of(circle.clone()).circles();
    assert_eq!(circles, [[segments("a::one"), segments("a::two")]]);
    let [root, a, one, _, b] = circle;
    let two = file("a::two", "pub struct Two;\nuse std::sync::Arc;");
    assert!(Uses::of([root, a, one, two, b]).circles().is_empty());
}

#[test]
fn uses_of_tests_and_re_exports_do_not_count() {
    let file = |module: &str, text: &str| (segments(module), text.to_owned());
    let files = [
        file("", "mod a;\nmod b;\nmod c;"),
        file("a", "pub struct A;\npub use crate::b::B;"),
        file(
            "b",
            "use crate::a::A;\npub struct B;\n#[cfg(test)]\nmod tests {\n    use crate::c::C;\n}",
        ),
        file("c", "use crate::b::B as Other;\npub struct C;"),
    ];
    assert!(Uses::of(files).circles().is_empty());
}

#[test]
fn every_form_of_use_and_definition_is_read() {
    let leaves = |tree| {
        let leaves = leaves(tree).into_iter();
        let leaves = leaves.map(|(path, name)| format!("{}={name}", path.join("::")));
        leaves.collect::<Vec<_>>()
    };
    let nested = leaves("crate::{a::{self, B as C}, d, e::*}");
    assert_eq!(nested, ["crate::a=a", "crate::a::B=C", "crate::d=d"]);
    for (line, name) in [
        ("pub struct A<'a> {", Some("A")),
        ("pub(super) const fn b() {", Some("b")),
        ("pub async fn c(", Some("c")),
        ("const D: u8 = 1;", Some("D")),
        ("static E: X = 1;", Some("E")),
        ("    fn inner() {", None),
        ("impl F {", None),
    ] {
        assert_eq!(defined(line).as_deref(), name, "{line}");
    }
}
