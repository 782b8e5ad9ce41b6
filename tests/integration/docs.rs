//! The documentation cannot become outdated: its links, metrics, problem types and configuration
//! are compared with the files, the code and the binary.

mod checks;
mod client;
mod configuration;
mod page;
mod start;
mod way;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use checks::{absent, assert_none, broken_links, metrics, target, too_long, unknown_metrics};
use page::Page;
use tidegate::http::ProblemKind;

use crate::world::BINARY;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The files that name what operators and clients see.
const METRIC_NAMES: &str = "src/telemetry/names.rs";
/// The pages that must name all of it.
const METRICS_PAGE: &str = "docs/observability.md";
const PROBLEMS_PAGE: &str = "docs/endpoints.md";

const README_LINES_MAX: usize = 200;

/// Variables that blocks of TOML refer to.
const VARIABLES: [(&str, &str); 5] = [
    ("TOKEN_SECRET", "a-token-secret-for-tests"),
    ("REGION", "eu-west-1"),
    ("DATABASE_URL", "postgres://primary/app"),
    ("AP_REPLICA_URL", "postgres://replica/app"),
    ("APP_US_URL", "http://10.1.0.5:3000"),
];

/// Roles of the database that a runbook names: no metrics.
const ROLES: [&str; 2] = [": tidegate_a", ": tidegate_b"];

#[test]
fn every_link_leads_somewhere() {
    let mut faults = Vec::new();
    for (path, text) in pages() {
        faults.extend(broken_links(&path, &text, read));
    }
    assert_none(&faults);
}

#[test]
fn every_page_can_be_reached() {
    let pages = pages();
    let links = pages.iter().flat_map(|(path, text)| {
        let links = Page::parse(text).links.into_iter();
        links.map(|link| target(path, &link).0)
    });
    let linked: BTreeSet<_> = links.collect();
    let unlinked = pages.iter().map(|(path, _)| path);
    let unlinked = unlinked.filter(|path| path.starts_with("docs") && !linked.contains(*path));
    assert_eq!(unlinked.collect::<Vec<_>>(), Vec::<&PathBuf>::new());
}

#[test]
fn metrics_are_documented_and_exist() {
    let known = metrics(&file(METRIC_NAMES));
    let mut faults = absent(&known, &metrics(&file(METRICS_PAGE)), METRICS_PAGE);
    for (path, text) in current_pages() {
        let unknown = unknown_metrics(&known, &text, &path).into_iter();
        faults.extend(unknown.filter(|fault| !ROLES.iter().any(|role| fault.ends_with(role))));
    }
    assert_none(&faults);
}

#[test]
fn problem_types_are_documented_and_exist() {
    let known = ProblemKind::ALL.map(|kind| kind.name().to_owned());
    let known = BTreeSet::from(known);
    let documented = Page::parse(&file(PROBLEMS_PAGE)).problems;
    let mut faults = absent(&known, &documented, PROBLEMS_PAGE);
    for (path, text) in current_pages() {
        let named = Page::parse(&text).problems;
        faults.extend(absent(
            &named,
            &known,
            &format!("{} names what", path.display()),
        ));
    }
    assert_none(&faults);
}

#[test]
fn every_block_of_toml_is_a_valid_configuration() {
    for (path, text) in current_pages() {
        for toml in Page::parse(&text).toml {
            if let Err(why) = check(&toml) {
                panic!("{}: {why}\n{toml}", path.display());
            }
        }
    }
}

#[test]
fn configuration_keys_in_prose_exist() {
    for (path, text) in current_pages() {
        for (section, key) in Page::parse(&text).keys {
            let known = keys(&section).contains(&key);
            assert!(known, "{}: there is no {section} {key}", path.display());
        }
    }
}

#[test]
fn every_configuration_key_is_shown() {
    let (mut shown, mut code) = (BTreeSet::new(), BTreeSet::new());
    for (_, text) in current_pages() {
        let page = Page::parse(&text);
        for toml in page.toml {
            shown.extend(keys_in(&toml::from_str(&toml).unwrap()));
        }
        code.extend(page.code);
    }
    for section in keys("") {
        let table = [format!("[{section}]"), format!("[[{section}]]")].map(|header| keys(&header));
        let known: BTreeSet<_> = table.into_iter().flatten().collect();
        if known.is_empty() {
            assert!(code.contains(&section), "{section} is not documented");
        }
        for key in known {
            let name = format!("{section}.{key}");
            assert!(shown.contains(&name), "no block of TOML shows {name}");
        }
    }
}

#[test]
fn the_readme_is_short() {
    assert_none(&too_long(&file("README.md"), README_LINES_MAX));
}

#[test]
fn a_key_that_does_not_exist_is_found() {
    for (toml, why) in [
        (
            "[server]\nconnection_max = 1",
            "unknown field `connection_max`",
        ),
        ("[serve]", "unknown field `serve`"),
        (
            "[[policy]]\nconsistency = \"strong\"",
            "missing field `path`",
        ),
        ("[cache]\nbytes_max = \"${NO_SUCH}\"", "bytes_max"),
    ] {
        let told = check(toml).unwrap_err();
        assert!(told.contains(why), "{told}");
    }
    assert!(keys("[spill]").contains("concurrency_max"));
    assert!(!keys("[spill]").contains("connections_max"));
    assert!(keys("[[endpoint]]").contains("sql"));
    let shown = keys_in(&toml::from_str("a = 1\n[b]\nc = { d = 1 }\n[[e]]\nf = 1").unwrap());
    let expected = ["a", "b", "b.c", "b.c.d", "e", "e.f"];
    assert_eq!(shown, expected.map(str::to_owned).into());
}

/// The pages by their paths: README, changelog, and all of `docs/` and `infra/`.
fn pages() -> Vec<(PathBuf, String)> {
    let mut paths = vec![PathBuf::from("README.md"), PathBuf::from("CHANGELOG.md")];
    let mut folders = vec![PathBuf::from("docs"), PathBuf::from("infra")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(Path::new(ROOT).join(&folder)).unwrap() {
            let path = folder.join(entry.unwrap().file_name());
            if Path::new(ROOT).join(&path).is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path);
            }
        }
    }
    assert!(paths.len() > 10, "where are the pages? {paths:?}");
    paths
        .into_iter()
        .map(|path| (path.clone(), read(&path).unwrap()))
        .collect()
}

/// Pages that describe the current state: the changelog may name what was removed.
fn current_pages() -> impl Iterator<Item = (PathBuf, String)> {
    pages()
        .into_iter()
        .filter(|(path, _)| *path != Path::new("CHANGELOG.md"))
}

/// The text of a file, empty for a folder; none when it does not exist.
fn read(path: &Path) -> Option<String> {
    let path = Path::new(ROOT).join(path);
    match path.is_dir() {
        true => Some(String::new()),
        false => fs::read_to_string(path).ok(),
    }
}

fn file(path: &str) -> String {
    read(Path::new(path)).unwrap_or_else(|| panic!("{path} does not exist"))
}

/// Runs `tidegate check` on a configuration file.
/// Where the pages keep the certificates of a fleet.
const FLEET_FILES: &str = "/etc/tidegate/fleet";

pub(crate) fn check(toml: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tidegate.toml");
    let own = format!("{ROOT}/tests/integration/tls");
    let with_files = ["tls/cert.pem", "tls/key.pem", "internal-roots.pem"]
        .iter()
        .zip(["server.pem", "server_key.pem", "root.pem"])
        .fold(toml.to_owned(), |toml, (named, file)| {
            toml.replace(&format!("/etc/tidegate/{named}"), &format!("{own}/{file}"))
        });
    let fleet = folder.path().join("fleet");
    let with_files = match toml.contains(FLEET_FILES) {
        true => {
            let mut certificates = Command::new(BINARY);
            certificates.args(["fleet", "certificates", "--regions", "eu-west-1", "--out"]);
            assert!(certificates.arg(&fleet).output().unwrap().status.success());
            with_files.replace(FLEET_FILES, fleet.to_str().unwrap())
        }
        false => with_files,
    };
    fs::write(&path, with_files).unwrap();
    let mut command = Command::new(BINARY);
    command
        .env_clear()
        .envs(VARIABLES)
        .arg("check")
        .arg("--config")
        .arg(&path);
    let output = command.output().unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

/// The keys of a section, by its header: what is expected in place of one that does not exist.
/// None when there is no such section.
fn keys(header: &str) -> BTreeSet<String> {
    let told = check(&format!("{header}\n\"?\" = 0\n")).unwrap_err();
    let Some((_, expected)) = told.split_once("unknown field `?`, expected ") else {
        return BTreeSet::new();
    };
    expected
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The keys that a configuration sets, dotted.
fn keys_in(table: &toml::Table) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for (key, value) in table {
        keys.insert(key.clone());
        let tables = match value {
            toml::Value::Table(table) => vec![table],
            toml::Value::Array(values) => values.iter().filter_map(|it| it.as_table()).collect(),
            _ => Vec::new(),
        };
        for table in tables {
            keys.extend(
                keys_in(table)
                    .into_iter()
                    .map(|below| format!("{key}.{below}")),
            );
        }
    }
    keys
}
