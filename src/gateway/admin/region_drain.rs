//! `POST /admin/regions/{region}/drain?for=30m` and `…/undrain`: takes a region out of the fleet's
//! decisions for some time, or back in. Any gateway of the fleet can be asked.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;

use super::AdminState;
use super::described::described;
use super::drain::{has_any, named};
use crate::endpoint::RouteError;
use crate::http::{Problem, ProblemKind, Query};
use crate::peers::DrainOrder;
use tidegate_model::RegionId;

/// For how long a region can be drained.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The query of a drain cannot be used.
#[derive(Debug, thiserror::Error)]
enum InvalidOrder {
    #[error("`for` must be a duration from 1s to 24h, such as 30m")]
    Time,
    #[error("`force` must be true or false")]
    Force,
    #[error("the parameters of a drain are `for` and `force`")]
    Unknown,
    #[error("a region is undrained until it is drained again; there is no parameter")]
    Undrain,
}

impl From<InvalidOrder> for Problem {
    fn from(error: InvalidOrder) -> Self {
        Self::of(ProblemKind::InvalidParameter, error)
    }
}

/// Takes a region out.
pub(super) async fn drain(
    State(state): State<Arc<AdminState>>,
    region: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    match order(query.as_deref().unwrap_or_default()) {
        Ok(order) => set(&state, &named(region), order, &headers).await,
        Err(problem) => described(problem, &headers),
    }
}

/// Takes it back in.
pub(super) async fn undrain(
    State(state): State<Arc<AdminState>>,
    region: Result<Path<String>, PathRejection>,
    query: RawQuery,
    headers: HeaderMap,
) -> Response {
    if has_any(&query) {
        return described(InvalidOrder::Undrain, &headers);
    }
    set(&state, &named(region), (Duration::ZERO, false), &headers).await
}

/// For how long, and whether also if no other region is left.
fn order(query: &str) -> Result<(Duration, bool), Problem> {
    let query = Query::parse(query)?;
    let known = ["for", "force"].into_iter();
    // One that is misspelt was meant to change something.
    if query.len() > known.filter(|name| query.get(name).is_some()).count() {
        return Err(InvalidOrder::Unknown.into());
    }
    let time = query.get("for").map(humantime::parse_duration);
    let time = match time {
        Some(Ok(time)) if (SHORTEST..=LONGEST).contains(&time) => time,
        _ => return Err(InvalidOrder::Time.into()),
    };
    match query.get("force") {
        None | Some("false") => Ok((time, false)),
        Some("true") => Ok((time, true)),
        Some(_) => Err(InvalidOrder::Force.into()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_has_one_time_within_its_bounds_and_every_other_query_is_a_problem() {
        let minute = Duration::from_secs(60);
        for (query, ordered) in [
            ("for=1m", (minute, false)),
            ("for=1m&force=true", (minute, true)),
            ("force=false&for=1m", (minute, false)),
        ] {
            assert_eq!(order(query).unwrap(), ordered, "{query}");
        }
        for query in [
            "",
            "for=0s",
            "for=25h",
            "for=1m&for=2m",
            "for=%ff",
            "for=1m&force=",
            "for=1m&force=yes",
            "for=1m&x=1",
            "for=1m&Force=true",
            "for=1m&force=true&x",
        ] {
            let problem = order(query).unwrap_err();
            assert_eq!(problem.kind(), ProblemKind::InvalidParameter, "{query}");
        }
    }
}
