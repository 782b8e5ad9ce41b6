//! `POST /admin/regions/{region}/drain?for=30m` and `…/undrain`: takes a region out of the fleet's
//! decisions for some time, or back in. Any gateway of the fleet can be asked.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use serde::Deserialize;

use super::AdminState;
use super::described::described;
use crate::endpoint::RouteError;
use crate::http::{Problem, ProblemKind};
use crate::peers::DrainOrder;
use tidegate_model::RegionId;

/// For how long a region can be drained.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The query of a drain.
#[derive(Deserialize)]
pub(super) struct DrainQuery {
    #[serde(rename = "for")]
    time: Option<String>,
    #[serde(default)]
    force: bool,
}

/// The time of a drain cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("`for` must be a duration from 1s to 24h, such as 30m")]
struct InvalidTime;

impl From<InvalidTime> for Problem {
    fn from(error: InvalidTime) -> Self {
        Self::of(ProblemKind::InvalidParameter, error)
    }
}

/// Takes a region out.
pub(super) async fn drain(
    State(state): State<Arc<AdminState>>,
    Path(region): Path<String>,
    Query(query): Query<DrainQuery>,
    headers: HeaderMap,
) -> Response {
    let time = query.time.as_deref().map(humantime::parse_duration);
    match time {
        Some(Ok(time)) if (SHORTEST..=LONGEST).contains(&time) => {
            set(&state, &region, (time, query.force), &headers).await
        }
        _ => described(InvalidTime, &headers),
    }
}

/// Takes it back in.
pub(super) async fn undrain(
    State(state): State<Arc<AdminState>>,
    Path(region): Path<String>,
    headers: HeaderMap,
) -> Response {
    set(&state, &region, (Duration::ZERO, false), &headers).await
}

/// Answers with the region as the fleet sees it afterwards.
async fn set(
    state: &AdminState,
    region: &str,
    (time, force): (Duration, bool),
    headers: &HeaderMap,
) -> Response {
    let region = region.parse::<RegionId>();
    let (Some(fleet), Ok(region)) = (&state.fleet, region) else {
        return described(RouteError::NotFound, headers);
    };
    tracing::info!(%region, ?time, force, "an operator drains or undrains a region");
    let order = DrainOrder {
        region,
        time,
        force,
    };
    match fleet.drain(order).await {
        Ok(region) => Json(region).into_response(),
        Err(error) => described(error, headers),
    }
}
