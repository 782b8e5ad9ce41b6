//! What a request needs beyond itself; put together by the gateway.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Shedding;
use super::cached::Landing;
use super::hedge::Won;
use super::origin::Origin;
use super::{DecisionCounters, Spill, Suspicion};
use crate::auth::Verifier;
use crate::cache::ResponseCache;
use crate::config::{ConsistencySettings, ServerSettings};
use crate::consistency::TokenKeys;
use crate::pool::Node;
use crate::region::RegionId;
use crate::replication::Monitor;
use crate::steering::{SecondTries, SharedSelector};
use crate::target::Routes;
use crate::telemetry::names;

/// Shared by all requests of one process.
pub struct Services {
    /// The region of this process.
    pub region: RegionId,
    /// Policies and endpoints; a reload swaps them whole.
    pub routes: ArcSwap<Routes>,
    /// The nodes, nearest first.
    pub nodes: Vec<Arc<Node>>,
    /// Answers kept in memory; none when it is turned off.
    pub cache: Option<Arc<ResponseCache<Origin, Landing>>>,
    /// What is known of them.
    pub monitor: Arc<Monitor>,
    /// The places for requests in flight.
    pub shedding: Shedding,
    /// Which of them is asked first; its candidates are their indices.
    pub selector: Arc<SharedSelector>,
    /// How often a request to each of them may be sent elsewhere as well.
    pub second_tries: Vec<SecondTries>,
    /// Looks closer at those that are slow.
    pub suspicion: Suspicion,
    /// What was decided how often.
    pub decisions: DecisionCounters,
    /// What the primary may do for the others.
    pub spill: Spill,
    /// Signs and verifies consistency tokens.
    pub tokens: TokenKeys,
    /// Verifies JWTs.
    pub verifier: Verifier,
    /// `[server]`.
    pub server: ServerSettings,
    /// `[consistency]`.
    pub consistency: ConsistencySettings,
}

impl Services {
    /// Begins the counters of second tries and of spill at zero, so that a first one shows as an
    /// increase.
    pub fn begin_counters(&self) {
        for node in &self.nodes {
            let label = || node.id.to_string();
            metrics::counter!(names::RETRIES, "node" => label()).increment(0);
            metrics::counter!(names::RETRY_BUDGET_SPENT, "node" => label()).increment(0);
            for won in Won::ALL {
                let won = won.as_str();
                metrics::counter!(names::HEDGES, "node" => label(), "won" => won).increment(0);
            }
        }
        for result in ["served", "refused"] {
            metrics::counter!(names::SPILL, "result" => result).increment(0);
        }
        metrics::gauge!(names::SPILL_ACTIVE).set(0.0);
    }
}
