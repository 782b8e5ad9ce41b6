//! Where one request goes.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use smallvec::SmallVec;

use super::TrafficPolicy;
use super::plans::{Arm, TrialCounters};
use super::seen::count_locality;
use crate::http::{Problem, ProblemKind, Routed};
use tidegate_model::RegionId;
use tidegate_traffic::decide::RegionReason;
use tidegate_traffic::health::Outcome;

/// Where one request goes, and where it may go if that fails.
pub struct RegionRoute {
    pub(super) traffic: Arc<TrafficPolicy>,
    /// The decision, for headers, logs and metrics.
    pub routed: Arc<Routed>,
    /// The regions, best first.
    pub(super) order: SmallVec<[RegionId; 8]>,
    /// Whether no other region may serve it, whatever happens.
    pub is_bound: bool,
    /// How many of the regions that the policy names are nearer than the one that serves.
    pub(super) nearer: usize,
    /// In how many of the regions it may be tried although one may have acted on it.
    pub repeats_max: usize,
    /// The share of a region's requests that may be tried elsewhere, in millionths.
    pub budget: u32,
    /// Whether this gateway's region may serve it, whatever its state.
    pub may_be_here: bool,
    /// Whether this gateway serves it and asks no other, whatever happens (`else local`).
    pub is_here_only: bool,
    pub(super) compared: Option<Compared>,
}

/// What is counted of a request while a rollout is open.
#[derive(Clone)]
pub(super) struct Compared {
    pub(super) counters: Arc<TrialCounters>,
    /// The plan that was used, if they differ.
    pub(super) arm: Option<Arm>,
    /// The policy that was not used, which learns from the request too.
    pub(super) other: Arc<TrafficPolicy>,
}

impl RegionRoute {
    /// Returns a region's place in the order; none if it is not in it.
    #[must_use]
    pub fn rank(&self, region: &RegionId) -> Option<usize> {
        self.order.iter().position(|it| it == region)
    }

    /// Returns the regions that may serve it, best first.
    #[must_use]
    pub fn order(&self) -> &[RegionId] {
        &self.order
    }

    /// Returns what becomes of the decision if the chosen region cannot be asked and another is.
    #[must_use]
    pub fn moved_to(&self, region: &RegionId) -> Arc<Routed> {
        if self.routed.region.as_ref() == Some(region) {
            return Arc::clone(&self.routed);
        }
        Arc::new(Routed {
            region: Some(region.clone()),
            reason: RegionReason::NoTunnel,
            ..(*self.routed).clone()
        })
    }

    /// Records the end of an attempt at a node of a region. `took` is from the request's last byte
    /// to the head of the answer.
    pub fn sample(&self, region: &RegionId, node: &str, outcome: Outcome, took: Duration) {
        self.traffic.sample(region, node, outcome, took);
        if let Some(compared) = &self.compared {
            compared.other.sample(region, node, outcome, took);
        }
    }

    /// Counts the decision as it was carried out, and records how long the answer took since the request
    /// arrived, and whether it failed.
    pub fn acted_upon(&self, routed: &Routed, took: Duration, failed: bool) {
        if let Some(compared) = &self.compared {
            compared.counters.count(compared.arm, failed, took);
        }
        self.traffic.seen.decided(routed);
        self.traffic.seen.answered(routed, took);
        count_locality(self.nearer);
    }

    /// Returns the value of `Tidegate-Route`.
    #[must_use]
    pub fn field(&self) -> Option<HeaderValue> {
        route_field(&self.routed)
    }
}

/// What an endpoint can hand a request to.
pub trait Reaches {
    /// Returns whether it has a node in a region.
    fn has_node_in(&self, region: &RegionId) -> bool;

    /// Returns whether it may be handed to the gateways of other regions.
    fn has_fleet(&self) -> bool {
        false
    }
}

/// The policy lets no region serve a request.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the traffic policy lets no region serve this request now")]
pub struct NoRegion {
    /// The decision, for headers, logs and metrics.
    pub routed: Arc<Routed>,
    pub(super) status: u16,
}

impl From<NoRegion> for Problem {
    fn from(error: NoRegion) -> Self {
        let status = StatusCode::from_u16(error.status);
        let status = status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        Self::of(ProblemKind::NoRegion, error).with_status(status)
    }
}

/// Returns the value of `Tidegate-Route` for a decision.
#[must_use]
pub fn route_field(routed: &Routed) -> Option<HeaderValue> {
    let Routed {
        policy,
        proposed,
        region,
        reason,
    } = routed;
    // A token begins with a letter (RFC 9651 section 3.3.4).
    let is_token = policy.starts_with(|it: char| it.is_ascii_alphabetic());
    let quote = if is_token { "" } else { "\"" };
    let mut text = String::with_capacity(128);
    text.extend(["policy=", quote]);
    text.push_str(policy);
    text.push_str(quote);
    for (name, region) in [(", region=", region), (", proposed=", proposed)] {
        if let Some(region) = region {
            text.extend([name, region.as_str()]);
        }
    }
    text.extend([", reason=", reason.as_str()]);
    HeaderValue::try_from(text).ok()
}
