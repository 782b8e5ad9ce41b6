//! What an operator can want of a region, and why it is not done.

use std::time::Duration;

use axum::body::Body;
use hyper::client::conn::http2::SendRequest;
use tidegate_model::RegionId;

use crate::http::{Problem, ProblemKind};

/// What an operator wants of a region.
#[derive(Clone, Debug)]
pub struct DrainOrder {
    /// The region.
    pub region: RegionId,
    /// For how long it is drained; none ends its drain.
    pub time: Duration,
    /// Even if no other region would be well.
    pub force: bool,
}

/// How a drain is carried out.
#[derive(Debug)]
pub(super) enum DrainWay {
    /// It is this gateway's own region, and done.
    Done,
    /// A gateway of the region is to be asked.
    Ask {
        /// Over which connection.
        connection: SendRequest<Body>,
        /// The version of the region's drain as it is known before.
        version: u32,
    },
}

/// Why a region is not drained.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DrainError {
    /// There is no such region.
    #[error("the fleet has no region {0}")]
    Unknown(RegionId),
    /// No other would be left.
    #[error("no other region would be well and undrained; force=true drains it all the same")]
    Last,
    /// It does not list this gateway's region.
    #[error("{0} does not list this gateway's region among its peers")]
    Unlisted(RegionId),
    /// It cannot be asked.
    #[error("no gateway of {0} can be reached; if one has refused, this gateway's log says so")]
    Unreachable(RegionId),
}

impl From<DrainError> for Problem {
    fn from(error: DrainError) -> Self {
        let kind = match error {
            DrainError::Unknown(_) => ProblemKind::NotFound,
            DrainError::Last | DrainError::Unlisted(_) => ProblemKind::Conflict,
            DrainError::Unreachable(_) => ProblemKind::NoNode,
        };
        Self::of(kind, error)
    }
}
