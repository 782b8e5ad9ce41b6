//! What a request needs beyond itself; put together by the gateway.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::Shedding;
use super::cached::Landing;
use super::hedge::Won;
use super::origin::Origin;
use super::{DecisionCounters, Pseudonym, Spill, Suspicion};
use crate::auth::Verifier;
use crate::cache::ResponseCache;
use crate::endpoint::Routes;
use crate::http::ServerSettings;
use crate::postgres::monitor::{Knowledge, Monitor};
use crate::postgres::pool::Node;
use crate::upstream::Upstream;
use tidegate_model::RegionId;
use tidegate_model::{TokenKeys, WalPosition, X_CONSISTENCY_TOKEN, session_cookie};
use tidegate_policy::ConsistencySettings;
use tidegate_policy::Decision;
use tidegate_policy::{NodeView, Plan, plan};
use tidegate_steering::{Ranking, SecondTries, SharedSelector};
use tidegate_telemetry::names;

/// Shared by all requests of one process.
pub struct Services {
    /// The region of this process.
    pub region: RegionId,
    /// What this process is called in `Via`.
    pub pseudonym: Pseudonym,
    /// Policies and endpoints; a reload swaps them whole, by [`Services::swap_routes`].
    pub routes: Arc<ArcSwap<Routes>>,
    /// Held while a node of an upstream is drained and while tables are swapped: a drain goes either
    /// to the tables that are copied from or to those that are in force.
    pub swap: Mutex<()>,
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
    /// Puts other tables in force, with the drains of the present ones.
    pub fn swap_routes(&self, next: Routes) {
        let _swapping = self.swap.lock().unwrap_or_else(PoisonError::into_inner);
        next.upstreams.keep_drains(&self.routes.load().upstreams);
        self.routes.store(Arc::new(next));
    }

    /// Takes a node of an upstream out of the order or back in; none when there is no such node.
    pub fn drain_upstream(
        &self,
        upstream: &str,
        node: &str,
        drained: bool,
        now: Instant,
    ) -> Option<(Arc<Upstream>, usize)> {
        let _swapping = self.swap.lock().unwrap_or_else(PoisonError::into_inner);
        let routes = self.routes.load();
        let upstream = routes.upstreams.get(upstream)?;
        let index = upstream.nodes().iter().position(|it| it.name == node)?;
        upstream.selector().drain(index, drained, now);
        Some((Arc::clone(upstream), index))
    }

    /// Plans one request by what is known at one moment.
    pub(super) fn plan(
        &self,
        decision: &Decision,
        safe: bool,
        known: &Knowledge,
        ranking: &Ranking,
    ) -> Plan {
        let views: SmallVec<[_; 4]> = self
            .nodes
            .iter()
            .map(|node| NodeView {
                id: &node.id,
                status: known.status(&node.id),
            })
            .collect();
        plan(decision, safe, &views, ranking, Instant::now())
    }

    /// Gives a client the position that it has seen by now.
    pub(super) fn give_token(
        &self,
        headers: &mut HeaderMap,
        decision: &Decision,
        seen: &WalPosition,
    ) {
        let token = self.tokens.sign(seen);
        if decision.session_cookie
            && let Ok(cookie) = session_cookie(&token)
        {
            headers.append(SET_COOKIE, cookie);
        }
        if let Ok(token) = HeaderValue::try_from(token) {
            headers.insert(&X_CONSISTENCY_TOKEN, token);
        }
    }

    /// Begins the counters of second tries at zero, so that a first one shows as an increase.
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
    }
}
