//! Listing keys in the order of their bytes: pages of rows become keys and common prefixes.

use tidegate_model::WalPosition;
use tokio_postgres::types::Type;

use super::StorageError;
use super::index::Index;
use super::owed::Owed;
use super::prepared::Values;
use super::registry::unsigned;

/// Rows that are read at once.
const PAGE_ROWS: i64 = 1_001;
/// Keys and common prefixes of one answer.
pub(super) const KEYS_MAX: usize = 1_000;

/// What is listed.
#[derive(Debug, Clone, Default)]
pub(super) struct ListQuery {
    pub(super) prefix: String,
    pub(super) delimiter: String,
    /// Only what comes after it.
    pub(super) after: String,
    /// Keys and common prefixes at most.
    pub(super) max: usize,
}

/// A listed object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) etag: String,
    /// Seconds since 1970.
    pub(super) modified: i64,
}

/// One answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) entries: Vec<Entry>,
    pub(super) common_prefixes: Vec<String>,
    /// The last key or common prefix, if there are more.
    pub(super) next: Option<String>,
    /// A position that covers all that was read, if there is one.
    pub(super) position: Option<WalPosition>,
}

/// What to do after a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Take the next row.
    Next,
    /// Continue at this key: all rows before it belong to a common prefix that was listed.
    Jump(String),
    /// The answer is full.
    Full,
}

impl ListQuery {
    /// The first key after all those that begin with the prefix; nothing if there can be none.
    fn end(&self) -> Option<String> {
        successor(&self.prefix)
    }

    /// The common prefix that a key is listed under.
    pub(super) fn common_prefix<'a>(&self, key: &'a str) -> Option<&'a str> {
        let rest = key.get(self.prefix.len()..)?;
        if self.delimiter.is_empty() {
            return None;
        }
        let at = rest.find(&self.delimiter)?;
        key.get(..self.prefix.len() + at + self.delimiter.len())
    }

    fn take(&self, page: &mut Page, entry: Entry) -> Step {
        let common = self.common_prefix(&entry.key).map(str::to_owned);
        if let Some(common) = &common
            && (*common == self.after || page.common_prefixes.last() == Some(common))
        {
            return successor(common).map_or(Step::Full, Step::Jump);
        }
        let listed = page.entries.len() + page.common_prefixes.len();
        if listed >= self.max {
            let last = page.entries.last().map(|it| it.key.clone());
            page.next = page.common_prefixes.last().cloned().max(last);
            return Step::Full;
        }
        match common {
            Some(common) => {
                let jump = successor(&common);
                page.common_prefixes.push(common);
                jump.map_or(Step::Full, Step::Jump)
            }
            None => {
                page.entries.push(entry);
                Step::Next
            }
        }
    }
}

/// The first text after all those that begin with this one, in the order of bytes.
pub(super) fn successor(text: &str) -> Option<String> {
    let mut text = text.to_owned();
    while let Some(last) = text.pop() {
        // Between these two lie the surrogates, which no text has.
        let next = match last {
            '\u{D7FF}' => Some('\u{E000}'),
            last => char::from_u32(u32::from(last) + 1),
        };
        if let Some(next) = next {
            text.push(next);
            return Some(text);
        }
    }
    None
}

/// The later of two positions; none if they lie on branches of which nothing is known here.
fn later(one: Option<WalPosition>, other: Option<WalPosition>) -> Option<WalPosition> {
    let (one, other) = (one?, other?);
    let is_comparable = (one.system, one.timeline) == (other.system, other.timeline);
    let later = match one.lsn < other.lsn {
        true => other,
        false => one,
    };
    is_comparable.then_some(later)
}

impl Index {
    /// Lists the keys of a repository.
    pub(super) async fn list(
        &self,
        owed: Owed,
        repository: &str,
        query: &ListQuery,
    ) -> Result<Page, StorageError> {
        let mut page = Page::default();
        if query.max == 0 {
            return Ok(page);
        }
        let end = query.end();
        // Keys from here on; the one equal to `after` is left out.
        let mut from = query.after.clone().max(query.prefix.clone());
        let mut is_first = true;
        loop {
            let (rows, position) = self.page(owed, repository, &from, end.as_deref()).await?;
            page.position = match std::mem::take(&mut is_first) {
                true => position,
                false => later(page.position, position),
            };
            let is_last = rows.len() < usize::try_from(PAGE_ROWS).unwrap_or_default();
            let mut jump: Option<String> = None;
            for entry in rows {
                let is_skipped = jump.as_ref().is_some_and(|jump| entry.key < *jump)
                    || (!query.after.is_empty() && entry.key <= query.after);
                from.clone_from(&entry.key);
                if is_skipped {
                    continue;
                }
                match query.take(&mut page, entry) {
                    Step::Next => jump = None,
                    Step::Jump(to) => jump = Some(to),
                    Step::Full => return Ok(page),
                }
            }
            if is_last {
                return Ok(page);
            }
            // `from` itself has been seen: the first key after it differs by at least a character.
            from = match jump {
                Some(jump) => jump,
                None => format!("{from}\u{1}"),
            };
        }
    }

    async fn page(
        &self,
        owed: Owed,
        repository: &str,
        from: &str,
        end: Option<&str>,
    ) -> Result<(Vec<Entry>, Option<WalPosition>), StorageError> {
        let sql = "select o.key, v.size, v.etag, floor(extract(epoch from v.modified))::bigint \
             from tidegate.storage_object o join tidegate.storage_version v on v.id = o.version \
             where o.repository = $1 and o.key >= $2 and ($3::text is null or o.key < $3) \
             order by o.key limit $4";
        let values: Values<'_> = &[
            (&repository, Type::TEXT),
            (&from, Type::TEXT),
            (&end, Type::TEXT),
            (&PAGE_ROWS, Type::INT8),
        ];
        let shown = self.database.read(owed, sql, values).await?;
        let entry = |row: &tokio_postgres::Row| {
            Ok(Entry {
                key: row.try_get(0)?,
                size: unsigned(Some(row.try_get(1)?)).unwrap_or_default(),
                etag: row.try_get(2)?,
                modified: row.try_get(3)?,
            })
        };
        let entries: Result<_, StorageError> = shown.rows.iter().map(entry).collect();
        Ok((entries?, shown.position))
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::{Lsn, SystemId, Timeline};

    use super::*;

    #[test]
    fn the_position_of_a_list_covers_all_its_pages() {
        let at = |timeline, lsn| {
            Some(WalPosition {
                system: SystemId(1),
                timeline: Timeline(timeline),
                lsn: Lsn(lsn),
            })
        };
        assert_eq!(later(at(1, 5), at(1, 7)), at(1, 7));
        assert_eq!(later(at(1, 7), at(1, 5)), at(1, 7));
        assert_eq!(later(at(1, 7), at(2, 5)), None);
        assert_eq!(later(at(1, 7), None), None);
    }

    fn listed(query: &ListQuery, keys: &[&str]) -> Page {
        let mut page = Page::default();
        let mut jump = String::new();
        for key in keys {
            if **key < *jump || (!query.after.is_empty() && **key <= *query.after) {
                continue;
            }
            let entry = Entry {
                key: (*key).to_owned(),
                size: 1,
                etag: String::new(),
                modified: 0,
            };
            match query.take(&mut page, entry) {
                Step::Next => jump.clear(),
                Step::Jump(to) => jump = to,
                Step::Full => break,
            }
        }
        page
    }

    fn query(prefix: &str, delimiter: &str, after: &str, max: usize) -> ListQuery {
        ListQuery {
            prefix: prefix.to_owned(),
            delimiter: delimiter.to_owned(),
            after: after.to_owned(),
            max,
        }
    }

    #[test]
    fn what_shares_a_prefix_up_to_the_delimiter_is_listed_once() {
        let page = listed(&query("", "/", "", 9), &["a", "b/1", "b/2", "b/c/3", "d"]);
        let keys: Vec<_> = page.entries.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(keys, ["a", "d"]);
        assert_eq!(page.common_prefixes, ["b/"]);
        assert_eq!(page.next, None);
    }

    #[test]
    fn a_page_that_ends_with_a_common_prefix_continues_after_all_of_it() {
        let keys = ["a/1", "a/2", "b"];
        let page = listed(&query("", "/", "", 1), &keys);
        assert_eq!(page.next.as_deref(), Some("a/"));
        let rest = listed(&query("", "/", "a/", 1), &keys);
        assert_eq!(rest.entries[0].key, "b");
        assert_eq!((rest.common_prefixes.len(), rest.next), (0, None));
    }

    #[test]
    fn a_full_page_with_nothing_after_it_is_the_last() {
        assert_eq!(listed(&query("", "", "", 2), &["a", "b"]).next, None);
        let page = listed(&query("", "", "", 2), &["a", "b", "c"]);
        assert_eq!(page.next.as_deref(), Some("b"));
    }

    #[test]
    fn the_successor_is_the_next_in_the_order_of_bytes() {
        assert_eq!(successor("a/").as_deref(), Some("a0"));
        assert_eq!(successor("\u{D7FF}").as_deref(), Some("\u{E000}"));
        assert_eq!(successor("a\u{10FFFF}").as_deref(), Some("b"));
        assert_eq!(successor("\u{10FFFF}"), None);
        assert_eq!(successor(""), None);
    }
}
