//! The policy table as the CDN reads it: `tidegate check --edge-policy` prints `infra/edge-policy.json`.
//!
//! Terraform makes a cache behaviour of each cached row, so the CDN and the gateway cannot disagree.

use std::cmp::Reverse;
use std::time::Duration;

use serde::Serialize;

use tidegate_policy::{Lifetime, PolicyTable, Row};

/// Prints every row as pretty JSON, longest literal first, which is the order the CDN has to match in.
pub(super) fn edge_policy(table: &PolicyTable) -> String {
    let mut rows: Vec<&Row> = table.rows().collect();
    rows.sort_by_key(|row| Reverse(row.pattern().literal().len())); // stable: ties stay sorted by literal
    let policy = EdgePolicy {
        rows: rows.into_iter().map(EdgeRow::of).collect(),
    };
    // Strings, numbers and flags always serialise.
    let mut json = serde_json::to_string_pretty(&policy).unwrap_or_default();
    json.push('\n');
    json
}

#[derive(Serialize)]
struct EdgePolicy {
    rows: Vec<EdgeRow>,
}

/// Holds one row; seconds are 0 if nothing may be stored.
#[derive(Serialize)]
struct EdgeRow {
    path: String,
    cdn_paths: Vec<String>,
    consistency: String,
    cache_control: String,
    cached: bool,
    /// The age up to which a shared cache uses an answer without revalidation: `s-maxage`, else
    /// `max-age`.
    max_age: u64,
    stale_while_revalidate: u64,
    /// Whether the CDN must pass the session's cookie on; such a row is never cached.
    session_cookie: bool,
    /// Whether answers depend on the request's `Origin`, which belongs to the CDN's cache key.
    varies_by_origin: bool,
}

impl EdgeRow {
    fn of(row: &Row) -> Self {
        let lifetime = row.cache_control().shared_lifetime();
        let kept = |of: fn(Lifetime) -> Duration| lifetime.map_or(0, |it| of(it).as_secs());
        Self {
            path: row.pattern().to_string(),
            cdn_paths: cdn_paths(row),
            consistency: row.floor().level.to_string(),
            cache_control: row.cache_control().as_written().to_owned(),
            cached: row.is_shared_cacheable(),
            max_age: kept(|it| it.fresh),
            stale_while_revalidate: kept(|it| it.while_revalidate),
            session_cookie: row.session_cookie(),
            varies_by_origin: row.cors().is_some_and(|cors| cors.varies()),
        }
    }
}

/// The paths that a pattern covers, in the CDN's syntax, in which `/x/*` does not cover `/x`.
fn cdn_paths(row: &Row) -> Vec<String> {
    let pattern = row.pattern().to_string();
    let literal = row.pattern().literal();
    if pattern.ends_with("/*") && !literal.is_empty() {
        vec![literal.to_owned(), pattern]
    } else {
        vec![pattern]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_model::Consistency;
    use tidegate_policy::PolicyRow;

    fn row(path: &str, cache_control: &str) -> PolicyRow {
        PolicyRow {
            path: path.to_owned(),
            consistency: Consistency::EVENTUAL,
            cache_control: Some(cache_control.to_owned()),
            session_cookie: false,
            rate_limit: None,
            cors: None,
            place: tidegate_model::Place::Name("test"),
        }
    }

    fn printed(rows: &[PolicyRow]) -> Vec<serde_json::Value> {
        let json = edge_policy(&PolicyTable::build(rows).unwrap());
        let policy: serde_json::Value = serde_json::from_str(&json).unwrap();
        policy["rows"].as_array().unwrap().clone()
    }

    fn rows(rows: &[(&str, &str)]) -> Vec<serde_json::Value> {
        let rows: Vec<_> = rows.iter().map(|(path, rule)| row(path, rule)).collect();
        printed(&rows)
    }

    #[test]
    fn a_row_with_all_below_it_names_itself_too() {
        let found = |path| rows(&[(path, "no-store")])[0]["cdn_paths"].clone();
        assert_eq!(found("/x/*"), serde_json::json!(["/x", "/x/*"]));
        assert_eq!(found("/x*"), serde_json::json!(["/x*"]));
        assert_eq!(found("/x"), serde_json::json!(["/x"]));
        assert_eq!(found("/*"), serde_json::json!(["/*"]));
    }

    #[test]
    fn rows_that_carry_the_session_in_a_cookie_say_so() {
        let with_cookie = PolicyRow {
            session_cookie: true,
            ..row("/with", "no-store")
        };
        let printed = printed(&[with_cookie, row("/no", "no-store")]);
        let told: Vec<_> = printed.iter().map(|row| &row["session_cookie"]).collect();
        assert_eq!(told, [true, false]);
    }

    #[test]
    fn the_longest_literal_comes_first() {
        let rows = rows(&[("/*", "public"), ("/a/b/*", "public"), ("/a/*", "public")]);
        let paths: Vec<_> = rows.iter().map(|row| row["path"].clone()).collect();
        assert_eq!(paths, ["/a/b/*", "/a/*", "/*"]);
    }

    #[test]
    fn only_public_rows_have_a_lifetime() {
        let rows = rows(&[
            ("/a", "Public, MAX-AGE=300, stale-while-revalidate=\"60\""),
            ("/b", "private, max-age=300"),
            ("/c", "public"),
            (
                "/d",
                "public, max-age=5, s-maxage=60, stale-while-revalidate=30",
            ),
            (
                "/e",
                "public, max-age=300, stale-while-revalidate=60, must-revalidate",
            ),
            ("/f", "public, max-age=300, no-cache"),
            ("/g", "public, x=\"max-age=5, max-age=7\", max-age=300"),
        ]);
        let of = |row: &serde_json::Value| {
            (
                row["cached"].as_bool().unwrap(),
                row["max_age"].as_u64().unwrap(),
                row["stale_while_revalidate"].as_u64().unwrap(),
            )
        };
        assert_eq!(of(&rows[0]), (true, 300, 60));
        assert_eq!(of(&rows[1]), (false, 0, 0));
        assert_eq!(of(&rows[2]), (true, 0, 0));
        assert_eq!(of(&rows[3]), (true, 60, 30));
        assert_eq!(of(&rows[4]), (true, 300, 0));
        assert_eq!(of(&rows[5]), (true, 0, 0));
        assert_eq!(of(&rows[6]), (true, 300, 0));
    }
}
