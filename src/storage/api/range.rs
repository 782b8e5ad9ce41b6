//! Which statistics are asked for: repositories and buckets by id or name, and a time.

use std::collections::HashSet;

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;
use jiff::Timestamp;
use serde::Deserialize;

use crate::http::{Problem, ProblemKind};
use crate::storage::inventory::Inventory;

/// Ids and names of one parameter.
const NAMES_MAX: usize = 1_000;

/// What a client asks for. What is absent is not restricted.
#[derive(Default)]
pub(super) struct Wanted {
    repositories: Option<Vec<String>>,
    buckets: Option<Vec<String>>,
    /// RFC 3339, as the database reads it.
    pub(super) start: Option<String>,
    /// The same; not included.
    pub(super) end: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Parameters {
    repo_id: Option<String>,
    bucket_id: Option<String>,
    start: Option<String>,
    end: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for Wanted {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let parameters = Query::<Parameters>::try_from_uri(&parts.uri);
        let Query(given) = parameters.map_err(|error| refused(error.body_text()))?;
        Ok(Self {
            repositories: names("repoId", given.repo_id)?,
            buckets: names("bucketId", given.bucket_id)?,
            start: time("start", given.start)?,
            end: time("end", given.end)?,
        })
    }
}

fn refused(why: String) -> Problem {
    Problem::new(ProblemKind::InvalidParameter, why)
}

fn names(parameter: &str, given: Option<String>) -> Result<Option<Vec<String>>, Problem> {
    let Some(given) = given else {
        return Ok(None);
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let is_name = |name: &String| (1..=64).contains(&name.len()) && name.bytes().all(is_plain);
    let names: Vec<_> = given.split(',').map(str::to_owned).collect();
    match names.len() <= NAMES_MAX && names.iter().all(is_name) {
        true => Ok(Some(names)),
        false => Err(refused(format!(
            "{parameter}: expected ids or names, separated by commas"
        ))),
    }
}

fn time(parameter: &str, given: Option<String>) -> Result<Option<String>, Problem> {
    let read = |text: String| {
        let time = text.parse::<Timestamp>().ok();
        // The years that RFC 3339 has, without 0, which the database does not read. The last day is not whole: it
        // has not begun everywhere.
        let time = time.map(|time| time.to_string());
        let time = time.filter(|time| !time.starts_with('-') && !time.starts_with("0000-"));
        time.ok_or_else(|| {
            refused(format!(
                "{parameter}: expected a time as RFC 3339 has it, from 0001-01-01T00:00:00Z to 9999-12-30T22:00:00Z"
            ))
        })
    };
    given.map(read).transpose()
}

impl Wanted {
    /// The ids of the buckets that are asked for.
    pub(super) fn buckets(&self, inventory: &Inventory) -> Option<Vec<String>> {
        let id = |name: &String| {
            let found = inventory.index_of(name);
            match found.or_else(|| inventory.named(name)) {
                Some(index) => inventory.buckets[index].row.id.clone(),
                None => name.clone(),
            }
        };
        self.buckets
            .as_ref()
            .map(|names| names.iter().map(id).collect())
    }

    /// The ids of the buckets that are asked for, themselves or as members or mirrors of repositories.
    pub(super) fn buckets_of_any(&self, inventory: &Inventory) -> Option<Vec<String>> {
        let buckets = self.buckets(inventory);
        let Some(repositories) = self.repositories(inventory) else {
            return buckets;
        };
        let mut used = HashSet::new();
        for repository in &inventory.repositories {
            if repositories.contains(&repository.row.id) {
                let mirror = repository.row.policy.mirror.as_ref();
                let mirror = mirror.and_then(|mirror| inventory.named(&mirror.to));
                used.extend(repository.members.iter().copied().chain(mirror));
            }
        }
        let ids = used
            .into_iter()
            .map(|index| &inventory.buckets[index].row.id);
        let ids = ids.filter(|id| is_wanted(buckets.as_ref(), id));
        Some(ids.cloned().collect())
    }

    /// The ids of the repositories that are asked for.
    pub(super) fn repositories(&self, inventory: &Inventory) -> Option<Vec<String>> {
        let id = |name: &String| {
            let mut all = inventory.repositories.iter();
            let is_id = all.any(|repository| repository.row.id == *name);
            let named = inventory.repository(name).filter(|_| !is_id);
            named.map_or(name.clone(), |repository| repository.row.id.clone())
        };
        let names = self.repositories.as_ref();
        names.map(|names| names.iter().map(id).collect())
    }
}

/// Nothing is asked for beside what the path says.
pub(super) struct Nothing;

impl<S: Sync> FromRequestParts<S> for Nothing {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match parts.uri.query().unwrap_or_default() {
            "" => Ok(Self),
            _ => Err(refused("there are no parameters here".to_owned())),
        }
    }
}

/// Whether something is asked for, by its id.
pub(super) fn is_wanted(wanted: Option<&Vec<String>>, id: &str) -> bool {
    wanted.is_none_or(|wanted| wanted.iter().any(|it| it == id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_rfc_3339_and_names_are_plain() {
        let text = |text: &str| Some(text.to_owned());
        let read = time("start", text("2026-11-27T10:00:00+01:00")).unwrap();
        assert_eq!(read.as_deref(), Some("2026-11-27T09:00:00Z"));
        for wrong in [
            "yesterday",
            "2026-11-27",
            "2026-13-01T00:00:00Z",
            "1'; --",
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "0001-01-01T00:00:00+01:00",
            "-000001-01-01T00:00:00Z",
            "+010000-01-01T00:00:00Z",
        ] {
            let refused = time("start", text(wrong)).unwrap_err();
            let refused = refused.to_string();
            assert!(refused.starts_with("start: ") && refused.contains("9999-12-30T22:00:00Z"));
        }
        for edge in ["0001-01-01T00:00:00Z", "9999-12-30T22:00:00Z"] {
            let read = time("start", text(edge)).unwrap();
            assert_eq!(read.as_deref(), Some(edge));
        }
        let read = names("bucketId", text("a-b,c.d")).unwrap();
        assert_eq!(read, Some(vec!["a-b".to_owned(), "c.d".to_owned()]));
        assert_eq!(names("bucketId", None).unwrap(), None);
        for wrong in ["", "a b", ",", "a,,b", "a'--", "é", &"x".repeat(65)] {
            assert!(names("bucketId", text(wrong)).is_err(), "{wrong}");
        }
    }
}
