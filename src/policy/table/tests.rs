//! Tests of the policy table.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use tidegate_model::Consistency;
use tidegate_model::Place;
use tidegate_model::{PathPattern, normalise};

fn row(path: &str, line: usize) -> PolicyRow {
    let file = "policy.toml".into();
    PolicyRow {
        path: path.to_owned(),
        consistency: Consistency::EVENTUAL,
        cache_control: Some("public, max-age=300".to_owned()),
        session_cookie: false,
        rate_limit: None,
        cors: None,
        place: Place::Line {
            file,
            line,
            keys: Arc::default(),
        },
    }
}

fn rows(paths: &[&str]) -> Vec<PolicyRow> {
    paths
        .iter()
        .enumerate()
        .map(|(at, path)| row(path, at + 1))
        .collect()
}

fn table(paths: &[&str]) -> PolicyTable {
    PolicyTable::build(&rows(paths)).unwrap()
}

fn found(table: &PolicyTable, path: &str) -> Option<String> {
    table.lookup(path).map(|row| row.pattern().to_string())
}

#[test]
fn the_longest_literal_wins_whatever_the_order() {
    for order in [
        ["/*", "/public/*", "/public/docs/*"],
        ["/public/docs/*", "/*", "/public/*"],
    ] {
        let table = table(&order);
        assert_eq!(
            found(&table, "/public/docs/fees").as_deref(),
            Some("/public/docs/*")
        );
        assert_eq!(found(&table, "/public/doc").as_deref(), Some("/public/*"));
        assert_eq!(found(&table, "/elsewhere").as_deref(), Some("/*"));
    }
}

#[test]
fn a_longer_literal_that_does_not_cover_the_path_is_passed_over() {
    let table = table(&["/x*", "/xy", "/xy/z/*"]);
    assert_eq!(found(&table, "/xy/zz").as_deref(), Some("/x*"));
    assert_eq!(found(&table, "/xy").as_deref(), Some("/xy"));
    assert_eq!(found(&table, "/xy/z").as_deref(), Some("/xy/z/*"));
}

#[test]
fn a_path_that_no_row_covers_has_none() {
    let table = table(&["/public/*"]);
    for path in ["/", "/publicity", "/zebra", "/Public/x", "/account"] {
        assert_eq!(found(&table, path), None, "{path}");
    }
    assert_eq!(found(&PolicyTable::build(&[]).unwrap(), "/"), None);
}

#[test]
fn prefixes_that_are_no_whole_segments_cover_their_plurals() {
    let table = table(&["/api/v1/transaction*", "/api/v1/transfer*"]);
    let transactions = Some("/api/v1/transaction*");
    assert_eq!(
        found(&table, "/api/v1/transactions").as_deref(),
        transactions
    );
    assert_eq!(
        found(&table, "/api/v1/transactions/7").as_deref(),
        transactions
    );
    assert_eq!(found(&table, "/api/v1/trans"), None);
}

#[test]
fn a_tie_names_both_rows() {
    let tie = PolicyTable::build(&rows(&["/x/*", "/y", "/x*"])).unwrap_err();
    assert_eq!(
        tie.to_string(),
        "policy.toml:3: path = \"/x*\": it ties with \"/x/*\" (policy.toml:1): the paths differ only in the star"
    );
    assert!(PolicyTable::build(&rows(&["/x", "/x"])).is_err());
    assert!(PolicyTable::build(&rows(&["/x", "/x/"])).is_ok());
}

#[test]
fn a_row_that_makes_no_sense_is_named() {
    let refused = PolicyTable::build(&rows(&["/ok", "/*/x"])).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "policy.toml:2: path = \"/*/x\": a star is allowed only at the end of a pattern"
    );
    let cache_control = Some("a\nb".to_owned());
    let refused = PolicyTable::build(&[PolicyRow {
        cache_control,
        ..row("/x", 7)
    }]);
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.starts_with("policy.toml:7: cache_control = "),
        "{refused}"
    );
}

#[test]
fn a_row_without_cache_control_is_not_stored() {
    let silent = PolicyRow {
        cache_control: None,
        ..row("/x", 1)
    };
    let table = PolicyTable::build(&[silent]).unwrap();
    let row = table.lookup("/x").unwrap();
    assert_eq!(row.cache_control().header(), "no-store, private");
    assert!(!row.is_shared_cacheable());
}

/// Looks up a path by trying every row.
fn longest_match<'a>(table: &'a PolicyTable, path: &str) -> Option<&'a Row> {
    table
        .rows()
        .filter(|row| row.pattern().matches(path))
        .max_by_key(|row| row.pattern().literal().len())
}

fn any_table() -> impl Strategy<Value = PolicyTable> {
    let path = "(/[ab]{1,3}){1,3}";
    let pattern = (
        path,
        prop_oneof![Just(""), Just("/*"), Just("*"), Just("/")],
    );
    proptest::collection::vec(pattern, 0..20).prop_map(|patterns| {
        let mut rows: Vec<_> = patterns
            .iter()
            .map(|(p, end)| row(&format!("{p}{end}"), 1))
            .collect();
        rows.push(row("/*", 1));
        let literal = |row: &PolicyRow| {
            row.path
                .parse::<PathPattern>()
                .unwrap()
                .literal()
                .to_owned()
        };
        rows.sort_by_key(literal);
        rows.dedup_by_key(|row| literal(row));
        PolicyTable::build(&rows).unwrap()
    })
}

/// Escapes the characters of a path that the mask selects.
fn escaped(path: &str, mask: u64) -> String {
    let escape = |(at, c): (usize, char)| match c {
        '/' => "/".to_owned(),
        _ if mask >> (at % 64) & 1 == 1 => format!("%{:02x}", u32::from(c)),
        _ => c.to_string(),
    };
    path.chars().enumerate().map(escape).collect()
}

proptest! {
    #[test]
    fn lookup_finds_what_trying_every_row_finds(
        table in any_table(), path in "(/[abc]{0,4}){1,4}",
    ) {
        prop_assert_eq!(table.lookup(&path), longest_match(&table, &path));
    }

    #[test]
    fn no_spelling_of_a_path_gets_another_policy(
        table in any_table(), path in "(/[ab]{1,4}){1,4}/?", mask: u64,
    ) {
        let raw = escaped(&path, mask);
        let spelled = normalise(&raw).unwrap();
        prop_assert_eq!(table.lookup(&spelled), table.lookup(&path));
    }
}

#[test]
fn a_floor_above_eventual_cannot_be_public() {
    let strict = PolicyRow {
        consistency: Consistency::SESSION,
        ..row("/x/*", 4)
    };
    let refused = PolicyTable::build(&[strict]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "policy.toml:4: cache_control = \"public, max-age=300\": it must not say `public`: a shared \
         cache cannot honour the floor `session`"
    );
}

#[test]
fn a_row_with_a_session_cookie_stores_nothing() {
    let with = |cache_control: Option<&str>| {
        PolicyTable::build(&[PolicyRow {
            cache_control: cache_control.map(str::to_owned),
            session_cookie: true,
            rate_limit: None,
            cors: None,
            ..row("/app/*", 4)
        }])
    };
    for stored in ["public, max-age=300", "private, max-age=60", "max-age=1"] {
        assert_eq!(
            with(Some(stored)).unwrap_err().to_string(),
            format!(
                "policy.toml:4: cache_control = \"{stored}\": with session_cookie answers are never \
                 stored: it must be absent or contain no-store"
            )
        );
    }
    for never in [None, Some("no-store"), Some("private, No-Store")] {
        let table = with(never).unwrap();
        assert!(table.lookup("/app").unwrap().session_cookie());
    }
}
