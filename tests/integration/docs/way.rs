//! The request's way in `docs/architecture.md`: its functions exist, and it stays short.

use std::collections::BTreeSet;

use super::file;

const PAGE: &str = "docs/architecture.md";

/// Files that the way may pass, and how often it may go back to one that it left.
const FILES_MAX: usize = 25;
const RETURNS_MAX: usize = 5;

/// One line of the list: a file and what is called in it.
type Stop = (String, Vec<String>);

#[test]
fn the_requests_way_is_short_and_its_functions_exist() {
    let way = way(&file(PAGE));
    let absent: Vec<_> = way.iter().flat_map(absent).collect();
    assert!(absent.is_empty(), "{}", absent.join("\n"));
    let (files, returns) = (files(&way).len(), returns(&way));
    assert!(way.len() > FILES_MAX / 2, "the list is not read");
    assert!(files <= FILES_MAX, "{files} files");
    assert!(returns <= RETURNS_MAX, "{returns} returns");
}

fn way(page: &str) -> Vec<Stop> {
    let (_, list) = page
        .split_once("<!-- the request's way -->")
        .expect("it begins");
    let (list, _) = list
        .split_once("<!-- the end of the request's way -->")
        .expect("it ends");
    let lines = list.lines().filter(|line| !line.is_empty());
    let stop = |line: &str| {
        let mut names = line.split('`').skip(1).step_by(2).map(str::to_owned);
        (names.next().expect("a line names a file"), names.collect())
    };
    lines.map(stop).collect()
}

fn files(way: &[Stop]) -> BTreeSet<&str> {
    way.iter().map(|(path, _)| path.as_str()).collect()
}

/// How often a file comes again after another one.
fn returns(way: &[Stop]) -> usize {
    let mut left = BTreeSet::new();
    let mut returns = 0;
    for stops in way.windows(2) {
        let (from, to) = (&stops[0].0, &stops[1].0);
        if from != to {
            left.insert(from);
            returns += usize::from(left.contains(to));
        }
    }
    returns
}

/// The functions that a file lacks, and those of a type that it has no `impl` of.
fn absent((path, functions): &Stop) -> Vec<String> {
    let source = file(&format!("src/{path}"));
    let is_there = |function: &&String| {
        let (of, name) = function.rsplit_once("::").unwrap_or(("", function));
        let is_fn = |line: &str| {
            let rest = line.split_once(&format!("fn {name}")).map(|(_, rest)| rest);
            rest.is_some_and(|rest| rest.starts_with(['(', '<']))
        };
        let is_impl = |line: &str| {
            let words = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
            line.starts_with("impl") && words.into_iter().any(|word| word == of)
        };
        source.lines().any(is_fn) && (of.is_empty() || source.lines().any(is_impl))
    };
    let absent = functions.iter().filter(|function| !is_there(function));
    absent
        .map(|function| format!("{path} has no {function}"))
        .collect()
}

#[test]
fn returns_are_counted_and_names_that_are_gone_are_found() {
    let page = "<!-- the request's way -->\n1. `a`: `x`, `y`\n2. `b`: `z`\n3. `b`: `v`\n4. `a`: `w`\n\
                <!-- the end of the request's way -->";
    let way = way(page);
    assert_eq!(way[0].1, ["x", "y"]);
    assert_eq!((files(&way).len(), returns(&way)), (2, 1));
    let stop = |function: &str| ("lib.rs".to_owned(), vec![function.to_owned()]);
    assert_eq!(absent(&stop("Gone::new")), ["lib.rs has no Gone::new"]);
    let stop = (
        "http/serve.rs".to_owned(),
        vec!["Connections::open".to_owned()],
    );
    assert!(absent(&stop).is_empty());
}
