//! Pages of an answer: the statement is given a limit that is one higher than the client's, and the row too
//! many shows that there is a next page, which `Link` names by the last row's value of one column.

use std::fmt;

use http::header::LINK;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use percent_encoding::{
    AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode,
};

use super::place::SqlPlace;
use super::{
    Argument, PageConfig, Parameter, ParameterSource, RequestValues, SqlConfig, SqlStatement,
};
use crate::http::Query;

/// Most rows of a page: an answer is held in memory as a whole.
pub const PAGE_ROWS_MAX: u32 = 10_000;

/// Longest `Link`, and longest value of the cursor in it: heads of answers are bounded in what is between here and
/// the client. The rest is for the request's path and query.
const LINK_BYTES_MAX: usize = 4 << 10;
const CURSOR_BYTES_MAX: usize = 1 << 10;

/// What follows the URI in `Link`.
const LINK_END: &str = ">; rel=\"next\"";

/// What ends a URI in `Link`, beside what no request target contains.
const ENDS_URI: &AsciiSet = &CONTROLS.add(b'<').add(b'>').add(b'"').add(b' ');

/// The pages of an endpoint.
#[derive(Debug)]
pub struct Page {
    config: PageConfig,
    /// The place of the limit among the parameters of the statement.
    limit: usize,
}

/// Such as `pages of 20 to 100 rows by id`.
impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PageConfig {
            column,
            default,
            max,
            ..
        } = &self.config;
        write!(f, "pages of {default} to {max} rows by {column}")
    }
}

/// Why an endpoint cannot have pages.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The endpoint is no plain list.
    #[error("it goes with `GET` and the status 200, and not with `single`")]
    NotAList,
    /// The statement does not read a parameter.
    #[error("the sql does not use `:query.{0}`")]
    Unread(String),
    /// Both are the same parameter.
    #[error("`cursor` and `limit` are both `{0}`")]
    Same(String),
    /// The limits do not fit.
    #[error("expected `default` from 1 to `max`, and `max` up to {PAGE_ROWS_MAX}")]
    Limits(u32, u32),
    /// The name of the column cannot be quoted.
    #[error("`{0}` is not the name of a column")]
    Column(String),
}

impl PageError {
    /// Returns the part of the configuration that cannot be used.
    #[must_use]
    pub fn value(&self) -> String {
        match self {
            Self::NotAList => String::new(),
            Self::Unread(name) | Self::Same(name) | Self::Column(name) => name.clone(),
            Self::Limits(default, max) => format!("{default}, {max}"),
        }
    }
}

/// A limit that a request cannot have.
#[derive(Debug, thiserror::Error)]
#[error("query parameter \"{name}\" must be a whole number from 1 to {max}")]
pub struct LimitError {
    name: String,
    max: u32,
}

/// A request whose path and query leave no room in a link to the next page.
#[derive(Debug, thiserror::Error)]
#[error("path and query are too long for a link to the next page")]
pub struct TooLongForLink;

/// A last row without a usable value: its page has a next one that cannot be named.
#[derive(Debug, thiserror::Error)]
#[error(
    "a page has a next one, but the cursor's column `{0}` is null or too long in its last row, or has the same \
     value in the next"
)]
pub struct CursorError(String);

impl Page {
    /// Checks the pages of an endpoint against its statement; `None` if it has none.
    pub(super) fn compile(
        place: SqlPlace<'_>,
        sql: &SqlConfig,
        statement: &SqlStatement,
    ) -> Result<Option<Self>, PageError> {
        let Some(config) = sql.page.clone() else {
            return Ok(None);
        };
        if *place.method != Method::GET || sql.status != StatusCode::OK || sql.single {
            return Err(PageError::NotAList);
        }
        let PageConfig { default, max, .. } = config;
        if !(1..=max).contains(&default) || max > PAGE_ROWS_MAX {
            return Err(PageError::Limits(default, max));
        }
        if config.cursor == config.limit {
            return Err(PageError::Same(config.cursor));
        }
        if config.column.is_empty() || config.column.contains(['\0', '"']) {
            return Err(PageError::Column(config.column));
        }
        let number_of = |name: &String| {
            let is_it = |it: &Parameter| it.source == ParameterSource::Query && it.name == *name;
            let number = statement.parameters().iter().position(is_it);
            number.ok_or_else(|| PageError::Unread(name.clone()))
        };
        number_of(&config.cursor)?;
        let limit = number_of(&config.limit)?;
        Ok(Some(Self { config, limit }))
    }

    /// Makes the statement answer with pages.
    pub(super) fn divide(&self, statement: SqlStatement) -> SqlStatement {
        statement.in_pages(&self.config.column, self.limit)
    }

    /// The query parameter with the rows of a page.
    pub(super) fn limit(&self) -> &str {
        &self.config.limit
    }

    /// Returns the rows of a request's page.
    pub(super) fn rows(&self, query: &Query<'_>) -> Result<u32, LimitError> {
        let PageConfig {
            limit,
            default,
            max,
            ..
        } = &self.config;
        let refused = || LimitError {
            name: limit.clone(),
            max: *max,
        };
        let rows = match query.get(limit) {
            None => *default,
            Some(text) => text
                .parse()
                .ok()
                .filter(|_| !text.starts_with('+'))
                .ok_or_else(refused)?,
        };
        match (1..=*max).contains(&rows) {
            true => Ok(rows),
            false => Err(refused()),
        }
    }

    /// Binds the limit of a request, one higher.
    pub(super) fn bind(
        &self,
        values: &RequestValues<'_>,
        arguments: &mut [Argument<'_>],
    ) -> Result<(), LimitError> {
        let rows = self.rows(values.query)?;
        arguments[self.limit] = Argument::owned((rows + 1).to_string());
        Ok(())
    }

    /// Refuses a request whose answer could not have a link.
    pub(super) fn check(&self, uri: &Uri) -> Result<(), TooLongForLink> {
        match self.text(uri, "").len() <= LINK_BYTES_MAX - CURSOR_BYTES_MAX {
            true => Ok(()),
            false => Err(TooLongForLink),
        }
    }

    /// Returns the link to the page after a row: the same path and query, with another cursor.
    pub(super) fn link(&self, uri: &Uri, last: Option<&str>) -> Result<HeaderValue, CursorError> {
        let unusable = || CursorError(self.config.column.clone());
        let last = utf8_percent_encode(last.ok_or_else(unusable)?, NON_ALPHANUMERIC).to_string();
        if last.len() > CURSOR_BYTES_MAX {
            return Err(unusable());
        }
        HeaderValue::try_from(self.text(uri, &last)).map_err(|_not_a_value| unusable())
    }

    /// Gives a stored answer the link of one request: its own path and query, and the stored cursor.
    pub fn relink(&self, uri: &Uri, headers: &mut HeaderMap) {
        let last = headers.get(LINK).and_then(|link| self.cursor_in(link));
        if let Some(link) = last.and_then(|last| self.link(uri, Some(&last)).ok()) {
            headers.insert(LINK, link);
        }
    }

    /// Returns the cursor in a link of this form; it is the last parameter.
    fn cursor_in(&self, link: &HeaderValue) -> Option<String> {
        let target = link.to_str().ok()?.strip_prefix('<')?;
        let (_, query) = target.strip_suffix(LINK_END)?.split_once('?')?;
        let (name, value) = query.rsplit('&').next()?.split_once('=')?;
        let decoded = |text| percent_decode_str(text).decode_utf8().ok();
        (decoded(name)? == self.config.cursor.as_str()).then_some(())?;
        Some(decoded(value)?.into_owned())
    }

    fn text(&self, uri: &Uri, last: &str) -> String {
        let cursor = &self.config.cursor;
        let is_other = |pair: &&str| {
            let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
            let name = name.replace('+', " ");
            !pair.is_empty() && percent_decode_str(&name).decode_utf8_lossy() != cursor.as_str()
        };
        let kept = uri.query().unwrap_or_default().split('&').filter(is_other);
        let next = format!("{}={last}", utf8_percent_encode(cursor, NON_ALPHANUMERIC));
        let query: Vec<&str> = kept.chain([next.as_str()]).collect();
        let target = format!("{}?{}", uri.path(), query.join("&"));
        format!("<{}{LINK_END}", utf8_percent_encode(&target, ENDS_URI))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQL: &str =
        "select id from t where id > :query.after::int order by id limit :query.limit";

    fn config() -> PageConfig {
        PageConfig {
            cursor: "after".to_owned(),
            column: "id".to_owned(),
            limit: "limit".to_owned(),
            default: 20,
            max: 100,
        }
    }

    fn page(sql: &str, page: PageConfig) -> Result<Page, String> {
        let sql = SqlConfig {
            status: StatusCode::OK,
            statement: sql.to_owned(),
            single: false,
            body_strings: Vec::new(),
            settings: Vec::new(),
            role: None,
            roles: None,
            page: Some(page),
        };
        let place = SqlPlace {
            method: &Method::GET,
            template: "/x",
            is_open: true,
        };
        let statement = SqlStatement::parse(&sql.statement, false).unwrap();
        let page = Page::compile(place, &sql, &statement);
        page.map(Option::unwrap).map_err(|error| error.to_string())
    }

    #[test]
    fn the_limit_is_bound_one_higher_and_bounded() {
        let page = page(SQL, config()).unwrap();
        let bound = |query: &str| {
            let query = Query::parse(query).unwrap();
            let values = RequestValues {
                path: &[],
                query: &query,
                body: None,
                claims: None,
                headers: &http::HeaderMap::new(),
            };
            let mut arguments = [Argument::text("0"), Argument::text("unbound")];
            let bound = page.bind(&values, &mut arguments);
            bound
                .map(|()| arguments[1].shown().unwrap().to_owned())
                .ok()
        };
        assert_eq!(bound("").as_deref(), Some("21"));
        assert_eq!(bound("limit=1").as_deref(), Some("2"));
        assert_eq!(bound("limit=100").as_deref(), Some("101"));
        for limit in ["0", "101", "-1", "+1", "", "x", "4294967296"] {
            assert_eq!(bound(&format!("limit={limit}")), None, "{limit}");
        }
    }

    #[test]
    fn the_link_repeats_path_and_query_with_another_cursor() {
        let page = page(SQL, config()).unwrap();
        let link = |uri: &'static str, last| {
            let link = page.link(&Uri::from_static(uri), last);
            link.map(|link| link.to_str().unwrap().to_owned()).ok()
        };
        for (uri, last, expected) in [
            ("/x", "7", "</x?after=7>; rel=\"next\""),
            (
                "/x?limit=2&after=5&y",
                "7",
                "</x?limit=2&y&after=7>; rel=\"next\"",
            ),
            (
                "/x?%61fter=5&after_=1",
                "a&b>",
                "</x?after_=1&after=a%26b%3E>; rel=\"next\"",
            ),
            (
                "http://host/x?a=1",
                "é",
                "</x?a=1&after=%C3%A9>; rel=\"next\"",
            ),
        ] {
            assert_eq!(link(uri, Some(last)).as_deref(), Some(expected), "{uri}");
        }
        assert_eq!(link("/x", None), None, "NULL");
        let long = "x".repeat(CURSOR_BYTES_MAX + 1);
        assert!(page.link(&Uri::from_static("/x"), Some(&long)).is_err());
        // What is accepted has room for every cursor that is.
        let of = |length| Uri::try_from(format!("/x?{}", "x".repeat(length))).unwrap();
        let most = (0..LINK_BYTES_MAX)
            .rev()
            .map(of)
            .find(|uri| page.check(uri).is_ok());
        let link = page.link(&most.unwrap(), Some(&long[1..])).unwrap();
        assert_eq!(link.len(), LINK_BYTES_MAX);
    }

    #[test]
    fn a_stored_link_becomes_that_of_each_request() {
        let page = page(SQL, config()).unwrap();
        let relinked = |stored: &str, uri: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, stored.parse().unwrap());
            page.relink(&Uri::from_static(uri), &mut headers);
            headers[LINK].to_str().unwrap().to_owned()
        };
        let stored = page.link(&Uri::from_static("/x?limit=2"), Some("a&b>é"));
        let stored = stored.unwrap().to_str().unwrap().to_owned();
        assert_eq!(
            relinked(&stored, "/%78?from=mail&limit=02&after=1"),
            "</%78?from=mail&limit=02&after=a%26b%3E%C3%A9>; rel=\"next\""
        );
        // A link that is not of this form stays: without it the page would seem to be the last.
        for other in [
            "</x?after=1>; rel=\"prev\"",
            "</x?aft=1>; rel=\"next\"",
            "x",
        ] {
            assert_eq!(relinked(other, "/x"), other);
        }
        let mut last = HeaderMap::new();
        page.relink(&Uri::from_static("/x"), &mut last);
        assert!(last.is_empty());
    }

    #[test]
    fn a_page_needs_both_parameters_of_a_list() {
        let error = |sql, config| page(sql, config).unwrap_err();
        let unread = "select 1 as id limit :query.limit";
        assert_eq!(
            error(unread, config()),
            "the sql does not use `:query.after`"
        );
        let unread = "select :query.after as id";
        assert_eq!(
            error(unread, config()),
            "the sql does not use `:query.limit`"
        );
        for (default, max) in [(0, 100), (20, 19), (1, PAGE_ROWS_MAX + 1)] {
            let limits = PageConfig {
                default,
                max,
                ..config()
            };
            assert!(error(SQL, limits).starts_with("expected `default`"));
        }
    }
}
