//! Why a request that was handed on gets no answer.

use super::End;
use crate::http::{Problem, ProblemKind};
use tidegate_model::RegionId;

/// Why a request that was handed on gets no answer.
#[derive(Debug, thiserror::Error)]
pub enum HandOnError {
    /// No gateway has taken it, or it may be sent again.
    #[error("no gateway of {0} has served the request")]
    Unavailable(RegionId),
    /// It may have taken effect.
    #[error(
        "the request was handed to {0} but no answer arrived: it is unknown whether it took effect"
    )]
    Unknown(RegionId),
    /// It was not answered in time.
    #[error("{0} took too long to answer")]
    Deadline(RegionId),
}

impl HandOnError {
    /// Makes the error of a request that has ended in a region, if it has no answer.
    #[must_use]
    pub fn of(end: End, region: &RegionId) -> Self {
        let region = region.clone();
        match end {
            End::Answer | End::Unavailable => Self::Unavailable(region),
            End::Unknown => Self::Unknown(region),
            End::Deadline => Self::Deadline(region),
        }
    }
}

impl From<HandOnError> for Problem {
    fn from(error: HandOnError) -> Self {
        let kind = match error {
            HandOnError::Unavailable(_) => ProblemKind::NoNode,
            HandOnError::Unknown(_) => ProblemKind::OutcomeUnknown,
            HandOnError::Deadline(_) => ProblemKind::Deadline,
        };
        Self::of(kind, error)
    }
}
