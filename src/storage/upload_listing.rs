//! Listing uploads in the order of their keys and ids: pages of rows become uploads and common prefixes.

use super::StorageError;
use super::listing::{ListQuery, Step, successor};
use super::multipart::{BegunUpload, Uploads};

/// Rows that are read at once where most of them may belong to a common prefix.
const PAGE_ROWS: usize = 1_001;
/// Comes after every id, in every collation.
const LAST_ID: &str = "zz";

/// What is listed.
#[derive(Debug, Clone, Default)]
pub(super) struct UploadQuery {
    /// The keys; of the one that they come after, there may be more uploads.
    pub(super) keys: ListQuery,
    /// Only uploads of that key after this one; without it, none of them.
    pub(super) after_id: Option<String>,
}

/// One answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct UploadPage {
    pub(super) uploads: Vec<BegunUpload>,
    pub(super) common_prefixes: Vec<String>,
    /// If there are more, what was listed last: a key with the id of its upload, or a common prefix.
    pub(super) next: Option<(String, Option<String>)>,
}

impl UploadQuery {
    fn take(&self, page: &mut UploadPage, upload: BegunUpload) -> Step {
        let common = self.keys.common_prefix(&upload.key).map(str::to_owned);
        if let Some(common) = &common
            && (*common == self.keys.after || page.common_prefixes.last() == Some(common))
        {
            return successor(common).map_or(Step::Full, Step::Jump);
        }
        if page.uploads.len() + page.common_prefixes.len() >= self.keys.max {
            let upload = page.uploads.last();
            let upload = upload.map(|it| (it.key.clone(), Some(it.id.clone())));
            let prefix = page.common_prefixes.last().map(|it| (it.clone(), None));
            page.next = upload.max(prefix);
            return Step::Full;
        }
        match common {
            Some(common) => {
                let jump = successor(&common);
                page.common_prefixes.push(common);
                jump.map_or(Step::Full, Step::Jump)
            }
            None => {
                page.uploads.push(upload);
                Step::Next
            }
        }
    }
}

/// Lists the uploads of a repository.
pub(super) async fn list_uploads(
    uploads: &Uploads<'_>,
    repository: &str,
    query: &UploadQuery,
) -> Result<UploadPage, StorageError> {
    let mut page = UploadPage::default();
    let keys = &query.keys;
    if keys.max == 0 {
        return Ok(page);
    }
    let most = match keys.delimiter.is_empty() {
        true => keys.max + 1,
        false => PAGE_ROWS,
    };
    let after_id = query.after_id.as_deref().unwrap_or(LAST_ID);
    let mut after = (keys.after.clone(), after_id.to_owned());
    loop {
        let from = (after.0.as_str(), after.1.as_str());
        let limit = i64::try_from(most).unwrap_or(i64::MAX);
        let rows = uploads.list(repository, &keys.prefix, from, limit).await?;
        let is_last = rows.len() < most;
        let mut jump: Option<String> = None;
        for upload in rows {
            let is_skipped = jump.as_ref().is_some_and(|jump| upload.key < *jump);
            after = (upload.key.clone(), upload.id.clone());
            if is_skipped {
                continue;
            }
            match query.take(&mut page, upload) {
                Step::Next => jump = None,
                Step::Jump(to) => jump = Some(to),
                Step::Full => return Ok(page),
            }
        }
        if is_last {
            return Ok(page);
        }
        if let Some(jump) = jump {
            // With every upload of that key.
            after = (jump, String::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(query: &UploadQuery, all: &[(&str, &str)]) -> UploadPage {
        let mut page = UploadPage::default();
        let mut jump = String::new();
        let after_id = query.after_id.as_deref().unwrap_or(LAST_ID);
        for (key, id) in all {
            if **key < *jump || (*key, *id) <= (query.keys.after.as_str(), after_id) {
                continue;
            }
            let upload = BegunUpload {
                id: (*id).to_owned(),
                key: (*key).to_owned(),
                started: 0,
            };
            match query.take(&mut page, upload) {
                Step::Next => jump.clear(),
                Step::Jump(to) => jump = to,
                Step::Full => break,
            }
        }
        page
    }

    #[test]
    fn pages_of_uploads_and_common_prefixes_go_on_where_they_ended() {
        let all = [
            ("a", "1"),
            ("a", "2"),
            ("b/1", "3"),
            ("b/2", "4"),
            ("c", "5"),
        ];
        for max in 1..=5 {
            let mut query = UploadQuery::default();
            query.keys.delimiter = "/".to_owned();
            query.keys.max = max;
            let mut seen = Vec::new();
            loop {
                let page = listed(&query, &all);
                assert!(page.uploads.len() + page.common_prefixes.len() <= max);
                let uploads = page.uploads.iter().map(|it| it.id.clone());
                seen.extend(uploads.chain(page.common_prefixes.clone()));
                let Some((key, id)) = page.next else { break };
                (query.keys.after, query.after_id) = (key, id);
            }
            seen.sort_unstable();
            assert_eq!(seen, ["1", "2", "5", "b/"], "{max}");
        }
    }

    #[test]
    fn without_a_delimiter_every_upload_is_listed() {
        let mut query = UploadQuery::default();
        query.keys.max = 2;
        let page = listed(&query, &[("a/1", "1"), ("a/1", "2"), ("b", "3")]);
        assert_eq!(page.common_prefixes, [""; 0]);
        assert_eq!(page.next, Some(("a/1".to_owned(), Some("2".to_owned()))));
    }
}
