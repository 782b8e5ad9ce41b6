//! The house rule on dependencies: what a manifest declares is used by a source file of its crate.

use std::fs;
use std::path::{Path, PathBuf};

use crate::arrows::{crates, rust_files};

#[test]
fn every_dependency_is_used_by_a_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut unused = Vec::new();
    for source in crates(&root.join("src")) {
        let own = [source.join("Cargo.toml"), root.join("Cargo.toml")];
        let manifest = own.into_iter().find(|it| it.exists()).unwrap();
        let declared: toml::Table = fs::read_to_string(&manifest).unwrap().parse().unwrap();
        let files = rust_files(&source);
        let tests = rust_files(&root.join("tests"));
        for (section, files) in [
            ("dependencies", files.clone()),
            ("dev-dependencies", [files, tests].concat()),
        ] {
            let names = declared.get(section).and_then(toml::Value::as_table);
            let names = names.into_iter().flat_map(toml::Table::keys);
            let shown = manifest.strip_prefix(root).unwrap().display();
            let names = names.filter(|name| !is_used(name, &files));
            unused.extend(names.map(|name| format!("{shown}: {section}.{name}")));
        }
    }
    assert!(unused.is_empty(), "{}", unused.join("\n"));
}

fn is_used(dependency: &str, files: &[PathBuf]) -> bool {
    let name = dependency.replace('-', "_");
    files
        .iter()
        .any(|file| names(&fs::read_to_string(file).unwrap(), &name))
}

/// Whether a text has a path that begins with a name.
fn names(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '/' | '`');
        let begins = !text[..at].ends_with(inside);
        let rest = &text[at + name.len()..];
        begins && (rest.starts_with("::") || rest.starts_with(';') || rest.starts_with(" as "))
    })
}

#[test]
fn a_name_counts_only_as_the_begin_of_a_path() {
    for used in [
        "use toml;",
        "use toml::Table;",
        "x: toml::Value",
        "use toml as t;",
    ] {
        assert!(names(used, "toml"), "{used}");
    }
    for other in [
        "//! [`toml::Table`]",
        "use my_toml::X;",
        "crate::toml::X",
        "the toml is",
    ] {
        assert!(!names(other, "toml"), "{other}");
    }
}
