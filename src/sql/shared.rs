//! The part of a request that determines an answer which any client may receive: the path, and the query
//! parameters that the statement and its settings read. Nothing else of a request reaches such an answer, so
//! that a parameter that nothing reads can neither fill the cache nor bypass it.

use std::borrow::Cow;

use http::Uri;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::{SqlError, SqlTarget};
use crate::http::Query;

/// What a path cannot contain as it is.
const NOT_IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}');

/// The part of one request.
#[derive(Debug)]
pub struct SharedPart<'a> {
    /// The parameters that it has of those that are read, sorted by name, in one spelling of each value.
    pub parameters: Vec<(&'a str, Cow<'a, str>)>,
    /// Its path and those parameters, as they were sent.
    pub uri: Uri,
}

/// Returns the part of a request that determines its answer; `path` is normalised. `None` if no other
/// client may receive the answer.
///
/// # Errors
/// A limit or a length that the endpoint's pages refuse, whatever is stored.
pub fn shared_part<'a>(
    target: &'a SqlTarget,
    (uri, path): (&Uri, &str),
    query: &'a Query<'a>,
) -> Result<Option<SharedPart<'a>>, SqlError> {
    let Some(names) = &target.shared_parameters else {
        return Ok(None);
    };
    let limit = match &target.page {
        Some(page) => {
            page.check(uri)?;
            Some((page.limit(), page.rows(query)?))
        }
        None => None,
    };
    let value = |name: &'a String| {
        let value = query.get(name)?;
        let value = match limit {
            // `020` is 20.
            Some((limit, rows)) if limit == name => Cow::Owned(rows.to_string()),
            Some(_) | None => Cow::Borrowed(value),
        };
        Some((name.as_str(), value))
    };
    let parameters = names.iter().filter_map(value).collect();
    let uri = shared_uri(uri, path, names);
    Ok(uri.map(|uri| SharedPart { parameters, uri }))
}

/// Returns a normalised path, and the parameters of a query that are read.
fn shared_uri(uri: &Uri, path: &str, names: &[String]) -> Option<Uri> {
    let is_read = |pair: &&str| {
        let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
        let name = name.replace('+', " ");
        let name = percent_decode_str(&name).decode_utf8_lossy();
        !pair.is_empty() && names.iter().any(|read| *read == name)
    };
    let query = uri.query().unwrap_or_default();
    let read: Vec<&str> = query.split('&').filter(is_read).collect();
    let path = utf8_percent_encode(path, NOT_IN_PATH);
    let target = match read.is_empty() {
        true => path.to_string(),
        false => format!("{path}?{}", read.join("&")),
    };
    target.parse().ok()
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};
    use tidegate_model::normalise;

    use super::*;
    use crate::sql::{PageConfig, SqlConfig, SqlPlace};

    fn target(statement: &str, page: Option<PageConfig>) -> SqlTarget {
        let sql = SqlConfig {
            status: StatusCode::OK,
            statement: statement.to_owned(),
            single: false,
            body_strings: Vec::new(),
            settings: Vec::new(),
            role: None,
            roles: None,
            page,
        };
        let place = SqlPlace {
            method: &Method::GET,
            template: "/x/{id}",
            is_open: true,
        };
        SqlTarget::compile(place, &sql).unwrap()
    }

    fn paged() -> SqlTarget {
        let page = PageConfig {
            cursor: "after".to_owned(),
            column: "id".to_owned(),
            limit: "limit".to_owned(),
            default: 20,
            max: 100,
        };
        let sql = "select id from t where id > :query.after::int limit :query.limit";
        target(sql, Some(page))
    }

    /// `name=value` of each parameter, and the URI.
    fn part(target: &SqlTarget, uri: &str) -> Result<(String, String), String> {
        let uri: Uri = uri.parse().unwrap();
        let query = Query::parse(uri.query().unwrap_or_default()).unwrap();
        let path = normalise(uri.path()).unwrap();
        let part = shared_part(target, (&uri, &path), &query);
        let part = part.map_err(|error| error.to_string())?.unwrap();
        let pairs = part.parameters.iter();
        let pairs: Vec<_> = pairs
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        Ok((pairs.join(" "), part.uri.to_string()))
    }

    #[test]
    fn only_what_is_read_is_a_part_of_it() {
        let target = target("select :query.b, :path.id, :query.a", None);
        for (uri, pairs, shared) in [
            ("/x/1", "", "/x/1"),
            ("/x/1?c=1&&d", "", "/x/1"),
            ("/x/1?b=2&c=1&a=1", "a=1 b=2", "/x/1?b=2&a=1"),
            ("/x/1?%61=%31&c", "a=1", "/x/1?%61=%31"),
            ("/x/%31%3F%25?a", "a=", "/x/1%3F%25?a"),
            ("http://host/x/caf%C3%A9", "", "/x/caf%C3%A9"),
        ] {
            let expected = (pairs.to_owned(), shared.to_owned());
            assert_eq!(part(&target, uri), Ok(expected), "{uri}");
        }
    }

    #[test]
    fn a_limit_counts_as_a_number_and_is_judged_for_every_request() {
        let target = paged();
        for uri in ["/x/1?limit=7&after=1", "/x/1?x&after=1&limit=007"] {
            assert_eq!(part(&target, uri).unwrap().0, "after=1 limit=7", "{uri}");
        }
        assert!(part(&target, "/x/1?limit=101").is_err());
        let long = format!("/x/1?x={}", "y".repeat(4_000));
        assert!(part(&target, &long).is_err(), "its link would be too long");
    }
}
