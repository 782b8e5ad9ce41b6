//! `POST /admin/cache/purge?prefix=/public/`: forgets stored answers.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use schemars::JsonSchema;
use serde::Serialize;

use super::AdminState;
use super::described::described;
use crate::http::{Problem, ProblemKind, Query};
use tidegate_model::normalise;

const NO_PREFIX: &str =
    "the only parameter is prefix, and it is required: prefix=/public/, or prefix=/ for everything";

const ESCAPED: &str = "prefix is the start of a path that is decoded already";

/// What was purged.
#[derive(Serialize, JsonSchema)]
pub(super) struct Purged {
    /// How many answers there were.
    purged: usize,
}

/// Removes every stored answer whose normalised path starts with `prefix`, in this process only,
/// and answers how many there were.
pub(super) async fn purge(
    State(state): State<Arc<AdminState>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let prefix = prefix(query.as_deref().unwrap_or_default());
    match prefix {
        Ok(prefix) => {
            let cache = state.cache.as_ref();
            let purged = cache.map_or(0, |cache| cache.purge(&prefix));
            tracing::info!(
                prefix,
                purged,
                "answers were purged from the response cache"
            );
            Json(Purged { purged }).into_response()
        }
        Err(problem) => described(problem, &headers),
    }
}

fn prefix(query: &str) -> Result<String, Problem> {
    let query = Query::parse(query)?;
    let prefix = query.get("prefix").filter(|_| query.len() == 1);
    let prefix = prefix.ok_or_else(|| Problem::new(ProblemKind::InvalidParameter, NO_PREFIX))?;
    // No path starts with anything else: nothing would be purged, and the operator would not notice.
    match normalise(prefix)? == prefix {
        true => Ok(prefix.to_owned()),
        false => Err(Problem::new(ProblemKind::InvalidParameter, ESCAPED)),
    }
}
