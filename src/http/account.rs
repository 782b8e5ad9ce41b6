//! How an answer was produced.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;

use super::cache_status::{CacheResult, CacheStatus};
use tidegate_model::{Level, RegionId, WalPosition};
use tidegate_policy::{Decision, Reason};
use tidegate_traffic::decide::RegionReason;

/// A response with the account of how it was produced.
#[derive(Debug)]
pub struct Accounted {
    /// A problem is in its extensions, and has no body yet.
    pub response: Response,
    /// The account, if the request reached an endpoint.
    pub account: Option<Account>,
}

impl From<Response> for Accounted {
    fn from(response: Response) -> Self {
        Self {
            response,
            account: None,
        }
    }
}

/// Everything known about one request when its response is sent.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// The decision, if the request could be understood.
    pub decision: Option<Decision>,
    /// The node that served, if one did.
    pub served: Option<Served>,
    /// The position that the client has now seen, if the answer has to carry a token.
    pub seen: Option<WalPosition>,
    /// Whether that was due and could not be had.
    pub position_missed: bool,
    /// Upper bound of the age of a stored answer's data now.
    pub stored_age: Option<Duration>,
    /// The result of the response cache, if it was involved.
    pub cache: Option<CacheStatus>,
    /// The trace that was started for it.
    pub trace: Option<String>,
    /// Where the traffic policy sent it, if there is one.
    pub routed: Option<Arc<Routed>>,
    /// Whether another region's gateway has answered, which has described its answer.
    pub handed_on: bool,
    /// Where the time went.
    pub timing: Timing,
}

/// Where the traffic policy sent a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Routed {
    /// The policy that governs it.
    pub policy: Arc<str>,
    /// Where it would have gone with every region well.
    pub proposed: Option<RegionId>,
    /// Where it was sent; none if no region may serve it.
    pub region: Option<RegionId>,
    /// Why.
    pub reason: RegionReason,
}

impl Account {
    /// Returns the part that headers, access line and metrics need.
    #[must_use]
    pub fn view(&self) -> AccountView<'_> {
        let staleness = self.served.as_ref().and_then(|it| it.staleness);
        AccountView {
            decision: self.decision.as_ref(),
            served: self.served.as_ref(),
            staleness: self.stored_age.or(staleness),
            cache: self.cache,
            trace: self.trace.as_deref(),
            routed: self.routed.as_deref(),
            handed_on: self.handed_on,
            position_missed: self.position_missed,
            timing: Some(self.timing),
        }
    }
}

/// The data for headers, access line and metrics of one answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct AccountView<'a> {
    /// The decision, if the request could be understood.
    pub decision: Option<&'a Decision>,
    /// The node that made the answer, now or when it was stored.
    pub served: Option<&'a Served>,
    /// Upper bound of the age of the data now.
    pub staleness: Option<Duration>,
    /// The result of the response cache, if it was involved.
    pub cache: Option<CacheStatus>,
    /// The trace that was started for it.
    pub trace: Option<&'a str>,
    /// Where the traffic policy sent it, if there is one.
    pub routed: Option<&'a Routed>,
    /// Whether another region's gateway has answered, which has described its answer.
    pub handed_on: bool,
    /// Whether an application's client should have a token, and no position could be had.
    pub position_missed: bool,
    /// Where the time went, if the request reached an endpoint.
    pub timing: Option<Timing>,
}

impl AccountView<'_> {
    /// Returns whether a node was contacted for this request itself.
    #[must_use]
    pub fn asked_a_node(&self) -> bool {
        let result = self.cache.map(CacheStatus::result);
        matches!(
            result,
            None | Some(CacheResult::Miss | CacheResult::Revalidated | CacheResult::Bypass)
        )
    }

    /// Returns the region whose gateway has answered this request, or the one it has waited for, if that is
    /// another one and what it has answered is described here. What was stored earlier is this region's own.
    #[must_use]
    pub fn fetched_from(&self) -> Option<&RegionId> {
        let is_new = matches!(self.cache, Some(CacheStatus::Forwarded { .. }));
        self.served?.gateway.as_ref().filter(|_| is_new)
    }

    /// Returns the effective level.
    #[must_use]
    pub fn level(&self) -> Option<Level> {
        self.decision.map(|decision| decision.consistency.level)
    }
}

/// The node that served a request, and how.
#[derive(Debug, Clone)]
pub struct Served {
    /// The node's name in logs and metrics.
    pub node: Arc<str>,
    /// Its region, if configured.
    pub region: Option<RegionId>,
    /// The region whose gateway has asked it, if that is another one.
    pub gateway: Option<RegionId>,
    /// Its role.
    pub role: NodeRole,
    /// The upstream that it belongs to, if any.
    pub upstream: Option<Arc<str>>,
    /// Why it was chosen; `None` for the first node of an upstream.
    pub reason: Option<Reason>,
    /// Proven upper bound of the answer's age at that time; `None` if nothing is proven.
    pub staleness: Option<Duration>,
}

/// The role of a node that served: the closed set of `node` in `Consistency-Status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeRole {
    /// The database server that takes the writes, whatever its name is.
    Primary,
    /// Another database server.
    Replica,
    /// An application.
    Upstream,
}

/// The time that one request spent in each stage.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timing {
    /// Deciding, authenticating and planning.
    pub route: Duration,
    /// Waiting for a token's position and for a connection.
    pub wait: Duration,
    /// The database.
    pub db: Duration,
    /// The application behind the path, until the head of its answer.
    pub upstream: Duration,
    /// The part of that in which the request's body was still arriving.
    pub upload: Duration,
    /// The gateways of other regions that were asked, until the heads of their answers.
    pub hand_on: Duration,
}

impl Timing {
    /// Adds the time that a part of the request took.
    pub fn add(&mut self, part: &Self) {
        self.route += part.route;
        self.wait += part.wait;
        self.db += part.db;
        self.upstream += part.upstream;
        self.upload += part.upload;
        self.hand_on += part.hand_on;
    }
}
