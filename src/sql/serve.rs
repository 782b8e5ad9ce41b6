//! Serves requests with the statement of an endpoint.

use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, LINK};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::request::{SqlOutcome, SqlRequest};
use super::{Argument, Database, LastRow, RequestValues, SqlError, SqlTarget};
use crate::auth::Claims;
use crate::cache::{
    CacheError, Fetched, FetchedBody, SharedRequest, entity_tag, precondition_holds,
};
use crate::http::{Account, JsonObject, NotSent, Problem, Query, Timing};
use crate::regions::RegionRoute;
use tidegate_policy::Decision;
use tidegate_policy::http_cache::lists_tag;

static JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A request that is routed, allowed and completely read.
pub struct SqlCall<'a> {
    /// Its head.
    pub head: &'a Parts,
    /// The values of its path template.
    pub path_values: &'a [(String, String)],
    /// Its body, if the statement reads it.
    pub body: Option<&'a [u8]>,
    /// The claims of its JWT, if the endpoint requires one.
    pub claims: Option<&'a Claims>,
    /// Its decision.
    pub decision: &'a Decision,
    /// Where the traffic policy sends it, if there is one.
    pub route: Option<&'a RegionRoute>,
    /// How long the nodes may take, all tries included.
    pub time: Duration,
}

impl SqlTarget {
    /// Binds the request's values, runs the statement and answers with its rows.
    ///
    /// # Errors
    /// The problem to answer.
    pub async fn serve(
        &self,
        database: &Database,
        call: &SqlCall<'_>,
        account: &mut Account,
    ) -> Result<Response, Problem> {
        let outcome = self.run(database, call, &mut account.timing).await?;
        account.served = Some(outcome.served);
        account.seen = outcome.seen;
        let Some(body) = outcome.answer.body else {
            return Ok(Problem::from(SqlError::NoRow).into_response());
        };
        let mut headers = self.fields(&call.head.uri, outcome.answer.last)?;
        let not_sent = NotSent::new(body.len(), &headers);
        let is_tagged = self.is_read && self.status == StatusCode::OK;
        let answer = match is_tagged {
            true => conditional(&call.head.headers, &mut headers, body),
            false => Ok((self.status, body)),
        };
        Ok(match answer {
            Ok((status @ StatusCode::NOT_MODIFIED, _)) => {
                (status, headers, Extension(not_sent)).into_response()
            }
            Ok((status, body)) => (status, headers, Body::from(body)).into_response(),
            Err(error) => Problem::from(error).into_response(),
        })
    }

    /// Returns the fields that describe an answer.
    fn fields(&self, uri: &Uri, last: Option<LastRow>) -> Result<HeaderMap, SqlError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, JSON.clone());
        if let (Some(page), Some(last)) = (&self.page, last) {
            headers.insert(LINK, page.link(uri, last.cursor.as_deref())?);
        }
        Ok(headers)
    }

    async fn run(
        &self,
        database: &Database,
        call: &SqlCall<'_>,
        timing: &mut Timing,
    ) -> Result<SqlOutcome, Problem> {
        let query = Query::parse(call.head.uri.query().unwrap_or_default())?;
        let body = call.body.map(JsonObject::parse).transpose()?;
        let not_a_string = |body: &JsonObject<'_>| {
            let mut names = self.body_strings.iter();
            names.find(|name| body.is_other_than_string(name)).cloned()
        };
        if let Some(name) = body.as_ref().and_then(not_a_string) {
            return Err(SqlError::NotAString(name).into());
        }
        let values = RequestValues {
            path: call.path_values,
            query: &query,
            body: body.as_ref(),
            claims: call.claims.map(|Claims(claims)| claims),
            headers: &call.head.headers,
        };
        let local = self.local.as_ref().map(|local| local.bind(&values));
        let local = local.transpose().map_err(SqlError::from)?;
        let arguments = self.bind(&values, &call.head.uri)?;
        let request = SqlRequest {
            database,
            target: self,
            decision: call.decision,
            route: call.route,
            arguments: &arguments,
            local: local.as_ref(),
            safe: call.head.method.is_safe(),
            deadline: Instant::now() + call.time,
        };
        Ok(request.answer(timing).await?)
    }

    /// Runs the statement for an answer that the response cache may store.
    ///
    /// # Errors
    /// The problem to answer.
    pub async fn fetch(
        &self,
        database: &Database,
        shared: &SharedRequest,
        time: Duration,
        timing: &mut Timing,
    ) -> Result<Fetched, Problem> {
        let deadline = Instant::now() + time;
        let headers = HeaderMap::new();
        let query = Query::parse(shared.uri.query().unwrap_or_default())?;
        let values = RequestValues {
            path: &shared.path_values,
            query: &query,
            body: None,
            claims: None,
            headers: &headers,
        };
        let local = self.local.as_ref().map(|local| local.bind(&values));
        let local = local.transpose().map_err(SqlError::from)?;
        let arguments = self.bind(&values, &shared.uri)?;
        let request = SqlRequest {
            database,
            target: self,
            decision: &shared.decision,
            route: shared.route.as_deref(),
            arguments: &arguments,
            local: local.as_ref(),
            safe: true,
            deadline,
        };
        let SqlOutcome { answer, served, .. } = request.answer(timing).await?;
        let body = answer.body.ok_or(SqlError::NoRow)?;
        let headers = self.fields(&shared.uri, answer.last)?;
        Ok(Fetched {
            no_transform: false,
            staleness: served.staleness,
            served,
            status: StatusCode::OK,
            header_bytes: headers.get(LINK).map_or(0, HeaderValue::len),
            headers,
            body: FetchedBody::Whole(body),
        })
    }

    fn bind<'a>(
        &self,
        values: &RequestValues<'a>,
        uri: &Uri,
    ) -> Result<SmallVec<[Argument<'a>; 8]>, SqlError> {
        let mut arguments = values.bind(&self.statement)?;
        if let Some(page) = &self.page {
            page.check(uri)?;
            page.bind(values, &mut arguments)?;
        }
        Ok(arguments)
    }
}

/// Tags an answer to a read, and evaluates the conditions of the request by it: 304 without a body where the
/// client has these bytes.
fn conditional(
    request: &HeaderMap,
    headers: &mut HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Bytes), CacheError> {
    let tag = entity_tag(&body);
    if !precondition_holds(request, &tag, None) {
        return Err(CacheError::PreconditionFailed);
    }
    let has_it = lists_tag(request, Some(&tag));
    headers.insert(ETAG, tag);
    if has_it {
        headers.remove(CONTENT_TYPE);
        return Ok((StatusCode::NOT_MODIFIED, Bytes::new()));
    }
    Ok((StatusCode::OK, body))
}
