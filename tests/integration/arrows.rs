//! The house rules on rooms: a folder of a crate imports only from those that its `lib.rs` lists above it,
//! no files use one another in a circle, no two rooms define a type of the same name, and the methods
//! of a type stand in two files at most.
//!
//! Source is read as rustfmt writes it. Paths through `super` are not followed: they stay within a
//! folder as long as none leads out of one. A `tests.rs` may use what is above it.

mod uses;
mod words;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use uses::{Module, Uses};
use words::{in_slices, repeated};

#[test]
fn no_arrow_points_up() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for source in crates(&src) {
        let lib = fs::read_to_string(source.join("lib.rs")).unwrap();
        let (order, names, tests) = (listed(&lib), reexported(&lib), of_tests(&lib));
        for file in rust_files(&source) {
            let home = home(file.strip_prefix(&source).unwrap());
            if home == "lib" || home == "main" || file.ends_with("tests.rs") {
                continue;
            }
            let text = fs::read_to_string(&file).unwrap();
            let shown = file.strip_prefix(&src).unwrap().display();
            let mut arrows = arrows_up(&text, &home, &order, &names);
            arrows.retain(|arrow| {
                !tests
                    .iter()
                    .any(|it| arrow.ends_with(&format!(" know {it}")))
            });
            let arrows = arrows.into_iter();
            wrong.extend(arrows.map(|arrow| format!("src/{shown}:{arrow}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_files_use_one_another_in_a_circle() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for source in crates(&src) {
        let files = rust_files(&source).into_iter();
        let files = files.filter(|file| !file.ends_with("tests.rs") && !file.ends_with("main.rs"));
        let uses = files.map(|file| (module(file.strip_prefix(&source).unwrap()), read(&file)));
        let circles = Uses::of(uses).circles().into_iter();
        let shown = |circle: Vec<Module>| circle.iter().map(|it| it.join("::")).collect::<Vec<_>>();
        wrong.extend(circles.map(|circle| shown(circle).join(" <-> ")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_two_rooms_define_a_type_of_the_same_name_and_none_is_in_slices() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files: Vec<_> = all_rust_files(&src)
        .into_iter()
        .filter(|file| !file.ends_with("tests.rs"))
        .map(|file| (file.strip_prefix(&src).unwrap().to_owned(), read(&file)))
        .collect();
    let files = || files.iter().map(|(path, text)| (&**path, &**text));
    let wrong = [repeated(files()), in_slices(files())].concat();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_form_of_import_is_read() {
    let source = "\
use crate::region::RegionId;
use crate::{
    config::{PolicyRow, crate_like},
    policy,
};
//! [`crate::cli`]
let x = crate::pool::open(); // not crate::demo
let y = other_crate::server::z;
";
    let found: Vec<_> = imports(source);
    let names: Vec<_> = found.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["region", "config", "policy", "pool"]);
    assert_eq!(found[3].0, 7);
}

#[test]
fn an_arrow_up_is_caught_and_one_down_or_home_is_not() {
    let order = listed("pub mod region;\npub mod policy;\nmod cli;\n");
    let names = reexported("pub use cli::{Cli, Exit};\npub use region::R;\n");
    let wrong = |source: &str| arrows_up(source, "policy", &order, &names);
    assert_eq!(
        wrong("use crate::region::X;\nuse crate::policy::Y;").len(),
        0
    );
    assert_eq!(wrong("use crate::cli::Z;"), ["1: policy must not know cli"]);
    assert_eq!(wrong("use crate::R;").len(), 0);
    assert_eq!(
        wrong("use crate::{R, Exit};"),
        ["1: policy must not know cli"]
    );
    assert_eq!(
        wrong("\ncrate::absent()"),
        ["2: lib.rs does not list absent"]
    );
}

/// Returns the modules of `lib.rs`, in its order; those of tests last, which may use all others.
fn listed(lib: &str) -> Vec<String> {
    let (tests, others): (Vec<_>, Vec<_>) = lib.split_inclusive(";\n").partition(is_of_tests);
    let lines = others.iter().chain(&tests).flat_map(|item| item.lines());
    lines
        .filter_map(|line| line.strip_prefix("pub mod ").or(line.strip_prefix("mod ")))
        .map(|name| name.trim_end_matches(';').to_owned())
        .collect()
}

/// Returns the modules of `lib.rs` that only tests use; theirs may stand anywhere.
fn of_tests(lib: &str) -> Vec<String> {
    let tests = lib.split_inclusive(";\n").filter(is_of_tests);
    listed(&tests.collect::<String>())
}

fn is_of_tests(item: &&str) -> bool {
    item.contains("#[cfg(test)]")
}

/// Returns the module of `lib.rs` that a file belongs to: its folder, or the file itself.
fn home(relative: &Path) -> String {
    let first = relative.components().next().unwrap().as_os_str();
    first.to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// Returns the module of a file of a crate.
fn module(relative: &Path) -> Module {
    let path = relative.with_extension("");
    let segments = path
        .iter()
        .map(|segment| segment.to_str().unwrap().to_owned());
    let mut module: Module = segments.collect();
    if module
        .last()
        .is_some_and(|last| last == "mod" || last == "lib")
    {
        module.pop();
    }
    module
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap()
}

/// Returns the source files of all crates.
fn all_rust_files(src: &Path) -> Vec<PathBuf> {
    let files = crates(src).into_iter();
    files.flat_map(|source| rust_files(&source)).collect()
}

/// Returns the folder of each crate: `src` itself, and those in it with a `Cargo.toml`.
pub(crate) fn crates(src: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(src)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let inner = entries.filter(|path| path.join("Cargo.toml").exists());
    std::iter::once(src.to_owned()).chain(inner).collect()
}

/// Returns the source files of a crate, without those of crates in it.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.join("Cargo.toml").exists() {
            continue;
        }
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Returns the module of every name that `lib.rs` re-exports.
fn reexported(lib: &str) -> BTreeMap<String, String> {
    let uses = lib.split("pub use ").skip(1);
    let uses = uses.filter_map(|rest| rest.split(';').next()?.split_once("::"));
    let names = uses.flat_map(|(module, names)| {
        let names = names.split(|c| !is_word(c)).filter(|name| !name.is_empty());
        names.map(|name| (name.to_owned(), module.to_owned()))
    });
    names.collect()
}

/// Returns a line number and a reason for every import that the order forbids.
fn arrows_up(
    source: &str,
    home: &str,
    order: &[String],
    names: &BTreeMap<String, String>,
) -> Vec<String> {
    let place = |name: &str| order.iter().position(|listed| listed == name);
    let of_module = |(line, name): (usize, String)| match names.get(&name) {
        Some(module) => (line, module.clone()),
        None => (line, name),
    };
    let judge = |(line, name): (usize, String)| match (place(&name), place(home)) {
        (None, _) => Some(format!("{line}: lib.rs does not list {name}")),
        (Some(there), Some(here)) if there <= here => None,
        _ => Some(format!("{line}: {home} must not know {name}")),
    };
    let imports = imports(source).into_iter().map(of_module);
    imports.filter_map(judge).collect()
}

/// Returns the line and the first segment of every path that starts at the crate's root.
fn imports(source: &str) -> Vec<(usize, String)> {
    let code: Vec<_> = source.lines().map(without_comment).collect();
    let code = code.join("\n");
    let mut found = Vec::new();
    for (at, root) in code.match_indices("crate::") {
        if code[..at].ends_with(is_word) {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + root.len()..];
        let names = match rest.strip_prefix('{') {
            Some(group) => members(group),
            None => vec![first_word(rest)],
        };
        found.extend(names.into_iter().map(|name| (line, name)));
    }
    found
}

/// Returns the first word of every member of a `{…}` group that has just been opened.
fn members(group: &str) -> Vec<String> {
    let mut depth = 1;
    let mut starts = vec![0];
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => starts.push(at + 1),
            _ => {}
        }
        if depth == 0 {
            starts.retain(|&start| !group[start..at].trim().is_empty());
            break;
        }
    }
    starts
        .into_iter()
        .map(|start| first_word(group[start..].trim_start()))
        .collect()
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|&c| is_word(c)).collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with("//") {
        return "";
    }
    line.split_once(" //").map_or(line, |(code, _)| code)
}
