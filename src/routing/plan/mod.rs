//! A decision and what is known of the nodes → the steps to try, in order.

use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::Instant;

use crate::consistency::{Level, Lsn, RequestToken, WalPosition};
use crate::policy::Decision;
use crate::region::NodeId;
use crate::replication::{Condition, NodeStatus};
use crate::routing::Reason;

/// How far a token may be ahead of everything known before waiting for it is pointless. A second
/// or so of a busy primary's WAL: more than one sampling interval brings.
const WAIT_BYTES_MAX: u64 = 64 << 20;

/// One node as a plan sees it. Views are given nearest first.
#[derive(Debug)]
pub struct NodeView<'a> {
    /// Its name.
    pub id: &'a NodeId,
    /// What the monitor knows of it.
    pub status: &'a NodeStatus,
}

impl NodeView<'_> {
    /// Whether it takes the writes, whatever its name is.
    fn is_primary(&self) -> bool {
        self.status.acts_as_primary
    }
}

/// One node to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Index into the views.
    pub node: usize,
    /// Why this node, if no earlier step failed.
    pub reason: Reason,
    /// Whether it is asked as the one that takes the writes.
    pub as_primary: bool,
    /// The position to wait for before asking it.
    pub wait_for: Option<Lsn>,
}

/// The steps to try, best first; empty when no node can honour the decision.
pub type Plan = SmallVec<[Step; 4]>;

/// Plans one request. `safe` is false for requests that may write.
#[must_use]
pub fn plan(decision: &Decision, safe: bool, views: &[NodeView<'_>], now: Instant) -> Plan {
    let planner = Planner { views, now };
    let bound = decision.consistency.max_staleness;
    match (safe, decision.consistency.level, decision.token) {
        (false, _, token) => planner.primary(Reason::Write, token),
        (_, Level::Strong, token) => planner.primary(Reason::Strong, token),
        (_, _, token @ RequestToken::Unverifiable) => {
            planner.primary(Reason::TokenUnverifiable, token)
        }
        (_, _, RequestToken::Verified(token)) => planner.session(&token, bound),
        (_, Level::Session | Level::Bounded | Level::Eventual, RequestToken::None) => match bound {
            Some(bound) => planner.bounded(bound),
            None => planner.eventual(),
        },
    }
}

struct Planner<'a> {
    views: &'a [NodeView<'a>],
    now: Instant,
}

impl Planner<'_> {
    /// The primary or nothing.
    fn primary(&self, reason: Reason, token: RequestToken) -> Plan {
        let usable = |view: &NodeView<'_>| {
            view.is_primary() && serving(view) == Serving::Well && is_heir_of(view, token)
        };
        let node = self.views.iter().position(usable);
        node.map(|node| self.step(node, reason))
            .into_iter()
            .collect()
    }

    /// Nodes that serve, nearest first; then those that lag, the least stale first.
    fn eventual(&self) -> Plan {
        let mut plan = Plan::new();
        let mut lagging: SmallVec<[usize; 4]> = SmallVec::new();
        for (node, view) in self.views.iter().enumerate() {
            match serving(view) {
                Serving::Well => plan.push(self.step(node, self.reason_by_distance(node))),
                Serving::Behind => lagging.push(node),
                Serving::No => {}
            }
        }
        let unproven = Duration::MAX;
        lagging.sort_by_key(|&node| {
            self.views[node]
                .status
                .staleness(self.now)
                .unwrap_or(unproven)
        });
        plan.extend(
            lagging
                .into_iter()
                .map(|node| self.step(node, Reason::ReplicaLagging)),
        );
        plan
    }

    /// Replicas proven to be within the bound, nearest first; else the primary.
    fn bounded(&self, bound: Duration) -> Plan {
        self.proven(
            Some(bound),
            None,
            Reason::WithinBound,
            Reason::BoundUnproven,
        )
    }

    /// The nearest replica, after a wait where it is just behind; others that have reached the
    /// token; else the primary.
    fn session(&self, token: &WalPosition, bound: Option<Duration>) -> Plan {
        let mut plan = self.proven(
            bound,
            Some(token),
            Reason::TokenReached,
            Reason::TokenBehind,
        );
        if plan.first().is_none_or(|first| first.node != 0) && self.is_worth_waiting_for(token) {
            plan.insert(
                0,
                Step {
                    node: 0,
                    reason: Reason::Waited,
                    as_primary: false,
                    wait_for: Some(token.lsn),
                },
            );
        }
        plan
    }

    /// Nodes that satisfy bound and token; the primary of the token's timeline or a later one
    /// satisfies both by itself.
    fn proven(
        &self,
        bound: Option<Duration>,
        token: Option<&WalPosition>,
        proven: Reason,
        unproven: Reason,
    ) -> Plan {
        let mut plan = Plan::new();
        for (node, view) in self.views.iter().enumerate() {
            let within = |bound| view.status.staleness(self.now).is_some_and(|s| s <= bound);
            let satisfied = match view.is_primary() {
                true => token.is_none_or(|&token| is_heir_of(view, RequestToken::Verified(token))),
                false => {
                    bound.is_none_or(within) && token.is_none_or(|token| has_reached(view, token))
                }
            };
            match serving(view) {
                Serving::No => {}
                Serving::Well | Serving::Behind if !satisfied => {}
                Serving::Well | Serving::Behind if view.is_primary() => {
                    plan.push(self.step(node, self.reason_for_primary(unproven)));
                }
                Serving::Well | Serving::Behind => plan.push(self.step(node, proven)),
            }
        }
        plan
    }

    fn is_worth_waiting_for(&self, token: &WalPosition) -> bool {
        let Some(nearest) = self.views.first() else {
            return false;
        };
        let known = |view: &NodeView<'_>| view.status.position.map(|position| position.lsn);
        let newest = self.views.iter().filter_map(known).max();
        !nearest.is_primary()
            && serving(nearest) != Serving::No
            && nearest
                .status
                .position
                .is_some_and(|position| comparable(&position, token))
            && newest.is_some_and(|newest| token.lsn.0.saturating_sub(newest.0) <= WAIT_BYTES_MAX)
    }

    fn step(&self, node: usize, reason: Reason) -> Step {
        Step {
            node,
            reason,
            as_primary: self.views[node].is_primary(),
            wait_for: None,
        }
    }

    /// Why a node serves that was chosen for being the nearest that can.
    fn reason_by_distance(&self, node: usize) -> Reason {
        match node {
            0 if self.views[0].is_primary() => Reason::NoReplica,
            0 => Reason::Fresh,
            _ if self.views[0].is_primary() => Reason::Fresh,
            _ => self.reason_for_primary(Reason::Fresh),
        }
    }

    /// Why the nearest replica does not serve; `otherwise` when it could have but was not enough.
    fn reason_for_primary(&self, otherwise: Reason) -> Reason {
        match self.views.first() {
            Some(nearest) if !nearest.is_primary() => match serving(nearest) {
                Serving::No => Reason::ReplicaDown,
                Serving::Behind => Reason::ReplicaLagging,
                Serving::Well => otherwise,
            },
            _ => Reason::NoReplica,
        }
    }
}

/// Whether a node can be asked at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Serving {
    Well,
    Behind,
    No,
}

fn serving(view: &NodeView<'_>) -> Serving {
    match view.status.condition {
        Condition::Fresh => Serving::Well,
        _ if view.is_primary() => Serving::No,
        Condition::Disconnected => Serving::Well,
        Condition::Lagging => Serving::Behind,
        // Reached, but nothing can be compared yet: some committed state all the same.
        Condition::Unknown if view.status.position.is_some() => Serving::Behind,
        Condition::Unknown | Condition::Unreachable | Condition::Diverged | Condition::Promoted => {
            Serving::No
        }
    }
}

/// Whether the primary is of the token's timeline or a later one. If the token's is the later, a
/// promotion was not seen here yet, and this primary may be a former one.
fn is_heir_of(view: &NodeView<'_>, token: RequestToken) -> bool {
    let (RequestToken::Verified(token), Some(position)) = (token, view.status.position) else {
        return true;
    };
    position.system != token.system || position.timeline >= token.timeline
}

fn has_reached(view: &NodeView<'_>, token: &WalPosition) -> bool {
    view.status
        .position
        .is_some_and(|position| comparable(&position, token) && position.lsn >= token.lsn)
}

/// Positions are ordered only within one cluster and one timeline.
fn comparable(position: &WalPosition, token: &WalPosition) -> bool {
    position.system == token.system && position.timeline == token.timeline
}

#[cfg(test)]
mod tests;
