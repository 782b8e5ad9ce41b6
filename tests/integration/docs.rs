//! The documentation cannot go stale: its links, metrics, problem types and configuration are held
//! against the files, the code and the binary.

mod page;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use page::Page;

use crate::world::BINARY;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The files that name what operators and clients see.
const METRIC_NAMES: &str = "src/telemetry/names.rs";
const PROBLEM_TYPES: &str = "src/error/kind.rs";
/// The pages that must name all of it.
const METRICS_PAGE: &str = "docs/observability.md";
const PROBLEMS_PAGE: &str = "docs/endpoints.md";

const README_LINES_MAX: usize = 200;

/// Variables that blocks of TOML refer to.
const VARIABLES: [(&str, &str); 4] = [
    ("REGION", "eu-west-1"),
    ("DATABASE_URL", "postgres://primary/app"),
    ("AP_REPLICA_URL", "postgres://replica/app"),
    ("APP_US_URL", "http://10.1.0.5:3000"),
];

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
        faults.extend(unknown_metrics(&known, &text, &path));
    }
    assert_none(&faults);
}

#[test]
fn problem_types_are_documented_and_exist() {
    let known = problem_types(&file(PROBLEM_TYPES));
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

// Each of these checks can fail.

#[test]
fn a_link_into_nothing_is_found() {
    let read = |path: &Path| match path.to_str().unwrap() {
        "docs/there.md" => Some("# A heading".to_owned()),
        "src/lib.rs" => Some(String::new()),
        _ => None,
    };
    let broken = |link: &str| {
        let text = format!("# Here\n[x]({link})");
        broken_links(Path::new("docs/page.md"), &text, read)
    };
    for good in [
        "there.md",
        "there.md#a-heading",
        "#here",
        "../src/lib.rs",
        "https://nowhere.example/#x",
    ] {
        assert_none(&broken(good));
    }
    for bad in [
        "here.md",
        "there.md#another",
        "#there",
        "../lib.rs",
        "../../src/lib.rs",
    ] {
        assert_eq!(broken(bad), [format!("docs/page.md: {bad}")]);
    }
}

#[test]
fn a_metric_that_only_one_side_has_is_found() {
    let known = metrics("pub const A: &str = \"tidegate_a_total\"; \"tidegate_b_seconds\"");
    let page = "`tidegate_a_total`, `tidegate_b_seconds_bucket`, tidegate_c and tidegate_*";
    assert_eq!(
        unknown_metrics(&known, page, Path::new("x.md")),
        ["x.md: tidegate_c"]
    );
    let faults = absent(&known, &metrics(page), "x.md");
    assert_eq!(faults, ["x.md: tidegate_b_seconds"]);
}

#[test]
fn a_problem_type_that_only_one_side_has_is_found() {
    let known = problem_types("const A: Kind = kind(\n    \"no-node\", kind(\"gone\", kind(name");
    assert_eq!(known, ["gone", "no-node"].map(str::to_owned).into());
    let documented = Page::parse("503 `no-node`, 404 `no-where`").problems;
    assert_eq!(absent(&known, &documented, "x.md"), ["x.md: gone"]);
    assert_eq!(absent(&documented, &known, "x.md"), ["x.md: no-where"]);
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

#[test]
fn a_line_too_much_is_found() {
    assert_none(&too_long("a\nb\n", 2));
    assert_eq!(too_long("a\nb\nc\n", 2), ["3 lines are more than 2"]);
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

/// Those that describe the present: the changelog may name what is gone.
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

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn broken_links(path: &Path, text: &str, read: impl Fn(&Path) -> Option<String>) -> Vec<String> {
    let page = Page::parse(text);
    let leads_somewhere = |link: &&String| {
        let (file, anchor) = target(path, link);
        let anchors = match file == path {
            true => Some(page.anchors.clone()),
            false => read(&file).map(|text| Page::parse(&text).anchors),
        };
        anchors.is_some_and(|anchors| anchor.is_empty() || anchors.contains(anchor))
    };
    let relative = page.links.iter().filter(|link| !link.contains("://"));
    let broken = relative.filter(|link| !leads_somewhere(link));
    broken
        .map(|link| format!("{}: {link}", path.display()))
        .collect()
}

/// The file and the anchor that a link of a page leads to.
fn target<'a>(page: &Path, link: &'a str) -> (PathBuf, &'a str) {
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    if file.is_empty() {
        return (page.to_owned(), anchor);
    }
    let mut target = page.parent().unwrap_or(Path::new("")).to_owned();
    for component in Path::new(file).components() {
        match component {
            Component::ParentDir if target.pop() => {}
            other => target.push(other),
        }
    }
    (target, anchor)
}

/// The names of metrics in a text.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names = words.filter(|word| word.starts_with("tidegate_") && *word != "tidegate_");
    names.map(str::to_owned).collect()
}

/// Those that do not exist; the series of a histogram do.
fn unknown_metrics(known: &BTreeSet<String>, text: &str, path: &Path) -> Vec<String> {
    let of_histogram = |name: &str| {
        let mut endings = ["_bucket", "_sum", "_count"].into_iter();
        endings.any(|ending| {
            name.strip_suffix(ending)
                .is_some_and(|base| known.contains(base))
        })
    };
    let named = metrics(text).into_iter();
    let unknown = named.filter(|name| !known.contains(name) && !of_histogram(name));
    unknown
        .map(|name| format!("{}: {name}", path.display()))
        .collect()
}

/// The problem types in source: the first argument of every `kind(…)`, where it is a literal.
fn problem_types(source: &str) -> BTreeSet<String> {
    let calls = source.split("kind(").skip(1);
    let literals = calls.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split_once('"'));
    literals.map(|(name, _)| name.to_owned()).collect()
}

/// What one side has and the other lacks.
fn absent(wanted: &BTreeSet<String>, found: &BTreeSet<String>, place: &str) -> Vec<String> {
    let absent = wanted.difference(found);
    absent.map(|name| format!("{place}: {name}")).collect()
}

fn too_long(text: &str, lines_max: usize) -> Vec<String> {
    let lines = text.lines().count();
    let fault = (lines > lines_max).then(|| format!("{lines} lines are more than {lines_max}"));
    fault.into_iter().collect()
}

/// Asks `tidegate check` about a configuration file.
fn check(toml: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tidegate.toml");
    fs::write(&path, toml).unwrap();
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
