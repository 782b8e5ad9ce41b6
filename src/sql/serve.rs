//! Serves requests with the statement of an endpoint.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::time::Instant;

use super::request::{SqlOutcome, SqlRequest};
use super::{Database, RequestValues, SqlError, SqlTarget};
use crate::auth::Claims;
use crate::cache::{
    CacheError, Fetched, FetchedBody, SharedRequest, entity_tag, has_precondition,
    precondition_holds,
};
use crate::http::{Account, JsonObject, Problem, Query, Timing};
use crate::regions::RegionRoute;
use tidegate_policy::Decision;

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
        Ok(match outcome.answer.body {
            Some(body) if !self.is_wanted(call.head, &body) => {
                Problem::from(CacheError::PreconditionFailed).into_response()
            }
            Some(body) => {
                let json = [(CONTENT_TYPE, JSON.clone())];
                (self.status, json, Body::from(body)).into_response()
            }
            None => Problem::from(SqlError::NoRow).into_response(),
        })
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
        let arguments = values.bind(&self.statement).map_err(SqlError::from)?;
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
        let arguments = values.bind(&self.statement).map_err(SqlError::from)?;
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
        Ok(Fetched {
            staleness: served.staleness,
            served,
            status: StatusCode::OK,
            headers: [(CONTENT_TYPE, JSON.clone())].into_iter().collect(),
            header_bytes: 0,
            body: FetchedBody::Whole(body),
        })
    }

    /// Whether the preconditions of a safe request, which knows the tag from a stored answer, allow
    /// this answer.
    fn is_wanted(&self, head: &Parts, body: &[u8]) -> bool {
        let counts = head.method.is_safe()
            && self.status == StatusCode::OK
            && has_precondition(&head.headers);
        !counts || precondition_holds(&head.headers, &entity_tag(body), None)
    }
}
