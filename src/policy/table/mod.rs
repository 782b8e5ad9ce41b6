//! The policy table: for a path, the row with the longest literal that covers it.
//!
//! Rows are sorted by literal, and each refers to the longest other literal that is a prefix of its
//! own. A lookup is one binary search and a short walk up that chain, without allocation: every
//! literal that is a prefix of a path is also a prefix of the greatest literal not above the path.

use crate::PolicyRow;
use crate::Row;
use tidegate_model::ConfigError;

/// Finds the policy row that covers a path.
#[derive(Debug)]
pub struct PolicyTable {
    /// Sorted by literal; no two are equal.
    entries: Vec<Entry>,
    /// The common prefix of all literals.
    common: Box<str>,
    /// The next bytes of each literal, so that a search mostly reads one short array and only ends
    /// among the entries themselves.
    starts: Vec<u64>,
}

impl PolicyTable {
    /// Compiles rows; their order does not matter.
    ///
    /// # Errors
    ///
    /// Names the row that is invalid, or the two rows that tie.
    pub fn build(rows: &[PolicyRow]) -> Result<Self, ConfigError> {
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
        let common = common(&entries);
        let behind = |entry: &Entry| start(entry.row.literal(), common.len());
        let starts = entries.iter().map(behind).collect();
        Ok(Self {
            entries,
            common,
            starts,
        })
    }

    /// Finds the row for a normalised path; a path that no row covers is strong and never stored.
    pub fn lookup(&self, path: &str) -> Option<&Row> {
        let above = self.above(path);
        chain(&self.entries, above.checked_sub(1)).find(|row| row.pattern().matches(path))
    }

    /// The number of literals that are not above a path; 0 if no literal can be a prefix of it.
    fn above(&self, path: &str) -> usize {
        if !path.starts_with(&*self.common) {
            return 0;
        }
        let wanted = start(path, self.common.len());
        let below = self.starts.partition_point(|start| *start < wanted);
        let starts = &self.starts[below..];
        let alike = match starts {
            // A linear walk suffices: few literals share that many bytes.
            [first, second, ..] if *second != wanted => usize::from(*first == wanted),
            _ => starts.partition_point(|start| *start == wanted),
        };
        let alike = &self.entries[below..below + alike];
        below + alike.partition_point(|entry| entry.row.literal() <= path)
    }

    /// Returns every row, sorted by literal.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.entries.iter().map(|entry| &entry.row)
    }
}

#[derive(Debug)]
struct Entry {
    row: Row,
    /// The entry with the longest other literal that is a prefix of this one's.
    parent: Option<usize>,
}

/// The common prefix of the sorted literals, which is that of the first and the last.
fn common(entries: &[Entry]) -> Box<str> {
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
        return Box::default();
    };
    let (first, last) = (first.row.literal(), last.row.literal());
    let pairs = first.char_indices().zip(last.chars());
    let differs = pairs.into_iter().find(|((_, a), b)| a != b);
    let length = differs.map_or(first.len().min(last.len()), |((at, _), _)| at);
    first[..length].into()
}

/// The eight bytes after the common prefix, as a number that sorts as they do: no path has a NUL.
fn start(text: &str, common: usize) -> u64 {
    let rest = &text.as_bytes()[common..];
    let mut bytes = [0; 8];
    let length = rest.len().min(bytes.len());
    bytes[..length].copy_from_slice(&rest[..length]);
    u64::from_be_bytes(bytes)
}

/// Finds the parent of a row among the entries, which all sort before it.
fn parent(entries: &[Entry], row: &Row) -> Result<Option<usize>, ConfigError> {
    let last = entries.len().checked_sub(1);
    let Some(before) = last.map(|last| &entries[last].row) else {
        return Ok(None);
    };
    if before.literal() == row.literal() {
        let (first, place) = (before.pattern(), before.place());
        let why = format!("it ties with \"{first}\" ({place}): the paths differ only in the star");
        let path = row.pattern().to_string();
        return Err(ConfigError::of_key(row.place(), "path", &path, why));
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
mod tests;
