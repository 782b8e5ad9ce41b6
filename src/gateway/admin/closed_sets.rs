//! The words that members of answers are chosen from, for their schemas.

use serde_json::Value;

use crate::http::{CacheResult, ProblemKind};
use crate::regions::REGION_STATES;
use tidegate_model::{Level, NodeCondition};
use tidegate_steering::BreakerState;
use tidegate_traffic::decide::RegionReason;

/// Those of a member that is never null.
pub(super) fn words<const N: usize>(words: [&'static str; N]) -> Vec<Value> {
    words.map(Value::from).to_vec()
}

/// Those of a member that may be null.
pub(super) fn or_null(mut words: Vec<Value>) -> Vec<Value> {
    words.push(Value::Null);
    words
}

pub(super) fn conditions() -> Vec<Value> {
    NodeCondition::ALL.map(|it| it.to_string().into()).to_vec()
}

pub(super) fn breakers() -> Vec<Value> {
    words(BreakerState::ALL.map(BreakerState::as_str))
}

pub(super) fn levels() -> Vec<Value> {
    words(Level::ALL.map(Level::as_str))
}

pub(super) fn problems() -> Vec<Value> {
    words(ProblemKind::ALL.map(ProblemKind::name))
}

pub(super) fn problem_types() -> Vec<Value> {
    let types = ProblemKind::ALL.map(ProblemKind::uri);
    types.into_iter().map(Value::from).collect()
}

pub(super) fn cache_results() -> Vec<Value> {
    words(CacheResult::ALL.map(CacheResult::as_str))
}

pub(super) fn region_reasons() -> Vec<Value> {
    words(RegionReason::ALL.map(RegionReason::as_str))
}

pub(super) fn standings() -> Vec<Value> {
    words(["trusted", "on-probation", "probe-due", "failed", "drained"])
}

pub(super) fn region_states() -> Vec<Value> {
    words(REGION_STATES)
}

pub(super) fn reasons() -> Vec<Value> {
    words([
        "fresh",
        "within-bound",
        "token-reached",
        "waited",
        "strong",
        "write",
        "no-replica",
        "replica-lagging",
        "replica-down",
        "bound-unproven",
        "token-behind",
        "token-unverifiable",
        "retry",
        "hedge",
    ])
}

pub(super) fn methods() -> Vec<Value> {
    words([
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other",
    ])
}
