//! The policy table: for a path, the row with the longest literal that covers it.
//!
//! Rows are sorted by literal, and each knows the longest other literal that its own begins with.
//! A lookup is one binary search and a short walk up that chain, without allocation: every literal
//! that a path begins with begins also the greatest literal not above the path.

use std::fmt;

use crate::config::PolicyRow;
use crate::consistency::Consistency;
use crate::policy::{CacheControl, CacheControlError, PathPattern, PatternError};

/// Answers which policy row covers a path.
#[derive(Debug)]
pub struct PolicyTable {
    /// Sorted by literal; no two are equal.
    entries: Vec<Entry>,
}

impl PolicyTable {
    /// Compiles rows; their order does not matter.
    ///
    /// # Errors
    ///
    /// Names the row that makes no sense, or the two rows that tie.
    pub fn build(rows: &[PolicyRow]) -> Result<Self, PolicyError> {
        let mut rows = rows
            .iter()
            .map(Row::compile)
            .collect::<Result<Vec<_>, _>>()?;
        rows.sort_by(|a, b| a.literal().cmp(b.literal())); // stable: a tie names rows in file order
        let mut entries: Vec<Entry> = Vec::with_capacity(rows.len());
        for row in rows {
            let parent = parent(&entries, &row)?;
            entries.push(Entry { row, parent });
        }
        Ok(Self { entries })
    }

    /// Finds the row for a normalised path; a path that no row covers is strong and never stored.
    pub fn lookup(&self, path: &str) -> Option<&Row> {
        let above = self
            .entries
            .partition_point(|entry| entry.row.literal() <= path);
        chain(&self.entries, above.checked_sub(1)).find(|row| row.pattern.matches(path))
    }

    /// Returns every row, sorted by literal.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.entries.iter().map(|entry| &entry.row)
    }
}

#[derive(Debug)]
struct Entry {
    row: Row,
    /// The entry with the longest other literal that this one's begins with.
    parent: Option<usize>,
}

/// Holds one compiled policy row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pattern: PathPattern,
    floor: Consistency,
    cache_control: CacheControl,
    line: Option<usize>,
}

impl Row {
    fn compile(row: &PolicyRow) -> Result<Self, PolicyError> {
        let pattern = row.path.parse().map_err(|reason| PolicyError::Pattern {
            row: RowName::of(row),
            reason,
        })?;
        let cache_control = row
            .cache_control
            .as_deref()
            .map_or_else(|| Ok(CacheControl::no_store()), CacheControl::parse)
            .map_err(|reason| PolicyError::CacheControl {
                row: RowName::of(row),
                reason,
            })?;
        Ok(Self {
            pattern,
            floor: row.consistency,
            cache_control,
            line: row.line,
        })
    }

    /// Returns which paths the row covers.
    pub fn pattern(&self) -> &PathPattern {
        &self.pattern
    }

    /// Returns the least strict consistency a request can get.
    pub fn floor(&self) -> Consistency {
        self.floor
    }

    /// Returns the `Cache-Control` of successful answers.
    pub fn cache_control(&self) -> &CacheControl {
        &self.cache_control
    }

    /// Returns whether shared caches may keep answers to requests that state nothing.
    pub fn is_shared_cacheable(&self) -> bool {
        self.cache_control.is_public()
    }

    /// Returns what the row is called in messages.
    pub fn name(&self) -> RowName {
        RowName {
            path: self.pattern.to_string(),
            line: self.line,
        }
    }

    fn literal(&self) -> &str {
        self.pattern.literal()
    }
}

/// Names a row by its path and, if it comes from a file, its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowName {
    /// The pattern as written.
    pub path: String,
    /// The line of the file, counted from 1.
    pub line: Option<usize>,
}

impl RowName {
    fn of(row: &PolicyRow) -> Self {
        Self {
            path: row.path.clone(),
            line: row.line,
        }
    }
}

impl fmt::Display for RowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.path)?;
        match self.line {
            Some(line) => write!(f, " (line {line})"),
            None => Ok(()),
        }
    }
}

/// Says which row keeps the table from being built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The row's path is no pattern.
    #[error("policy {row}: {reason}")]
    Pattern {
        /// The row.
        row: RowName,
        /// What is wrong with its path.
        reason: PatternError,
    },
    /// The row's `cache_control` is no such header.
    #[error("policy {row}: {reason}")]
    CacheControl {
        /// The row.
        row: RowName,
        /// What is wrong with its value.
        reason: CacheControlError,
    },
    /// Two rows have the same literal, so neither is more specific.
    #[error("policies {first} and {second} tie: the same path without its star")]
    Tie {
        /// The row that comes first in the file.
        first: RowName,
        /// The other row.
        second: RowName,
    },
}

/// Finds the parent of a row among the entries, which all sort before it.
fn parent(entries: &[Entry], row: &Row) -> Result<Option<usize>, PolicyError> {
    let last = entries.len().checked_sub(1);
    let Some(before) = last.map(|last| &entries[last].row) else {
        return Ok(None);
    };
    if before.literal() == row.literal() {
        return Err(PolicyError::Tie {
            first: before.name(),
            second: row.name(),
        });
    }
    Ok(indices(entries, last).find(|&at| row.literal().starts_with(entries[at].row.literal())))
}

/// Walks from an entry to its parents, longest literal first.
fn chain(entries: &[Entry], from: Option<usize>) -> impl Iterator<Item = &Row> {
    indices(entries, from).map(|at| &entries[at].row)
}

fn indices(entries: &[Entry], from: Option<usize>) -> impl Iterator<Item = usize> {
    std::iter::successors(from, |&at| entries[at].parent)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::normalise;

    fn row(path: &str, line: usize) -> PolicyRow {
        PolicyRow {
            path: path.to_owned(),
            consistency: Consistency::EVENTUAL,
            cache_control: Some("public, max-age=300".to_owned()),
            line: Some(line),
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
            "policies \"/x/*\" (line 1) and \"/x*\" (line 3) tie: the same path without its star"
        );
        assert!(PolicyTable::build(&rows(&["/x", "/x"])).is_err());
        assert!(PolicyTable::build(&rows(&["/x", "/x/"])).is_ok());
    }

    #[test]
    fn a_row_that_makes_no_sense_is_named() {
        let refused = PolicyTable::build(&rows(&["/ok", "/*/x"])).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "policy \"/*/x\" (line 2): a star stands only at the end of a pattern"
        );
        let cache_control = Some("a\nb".to_owned());
        let refused = PolicyTable::build(&[PolicyRow {
            cache_control,
            ..row("/x", 7)
        }]);
        assert!(
            matches!(refused, Err(PolicyError::CacheControl { row, .. }) if row.line == Some(7))
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

    /// Looks a path up by trying every row.
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
}
