//! Checks of a page: pure, so that tests show that each can fail.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::page::Page;

pub(super) fn broken_links(
    path: &Path,
    text: &str,
    read: impl Fn(&Path) -> Option<String>,
) -> Vec<String> {
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
pub(super) fn target<'a>(page: &Path, link: &'a str) -> (PathBuf, &'a str) {
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
pub(super) fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names = words.filter(|word| word.starts_with("tidegate_") && *word != "tidegate_");
    names.map(str::to_owned).collect()
}

/// Metrics that do not exist; the series of a histogram count as existing.
pub(super) fn unknown_metrics(known: &BTreeSet<String>, text: &str, path: &Path) -> Vec<String> {
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

/// The wanted names that are missing.
pub(super) fn absent(
    wanted: &BTreeSet<String>,
    found: &BTreeSet<String>,
    place: &str,
) -> Vec<String> {
    let absent = wanted.difference(found);
    absent.map(|name| format!("{place}: {name}")).collect()
}

pub(super) fn too_long(text: &str, lines_max: usize) -> Vec<String> {
    let lines = text.lines().count();
    let fault = (lines > lines_max).then(|| format!("{lines} lines are more than {lines_max}"));
    fault.into_iter().collect()
}

/// Fails with all errors.
pub(super) fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

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
    let known = ["gone", "no-node"].map(str::to_owned).into();
    let documented = Page::parse("503 `no-node`, 404 `no-where`").problems;
    assert_eq!(absent(&known, &documented, "x.md"), ["x.md: gone"]);
    assert_eq!(absent(&documented, &known, "x.md"), ["x.md: no-where"]);
}

#[test]
fn a_line_too_much_is_found() {
    assert_none(&too_long("a\nb\n", 2));
    assert_eq!(too_long("a\nb\nc\n", 2), ["3 lines are more than 2"]);
}
