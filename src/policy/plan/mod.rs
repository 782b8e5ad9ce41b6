//! From a decision and what is known about the nodes to the steps to try, in order.

use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::Instant;

use crate::Decision;
use crate::Reason;
use tidegate_model::NodeId;
use tidegate_model::{Level, Lsn, RequestToken, WalPosition};
use tidegate_model::{NodeCondition, NodeStatus};
use tidegate_steering::{Ranked, Ranking, Standing};

/// How far a token may be ahead of every known position before waiting for it is pointless: about a
/// second of a busy primary's WAL, which is more than one sampling interval brings.
const WAIT_BYTES_MAX: u64 = 64 << 20;

/// One node as a plan sees it. Views are given by distance, nearest first, and the ranking's
/// candidates are their indices.
#[derive(Debug)]
pub struct NodeView<'a> {
    /// Its name.
    pub id: &'a NodeId,
    /// What the monitor knows about it.
    pub status: &'a NodeStatus,
}

impl NodeView<'_> {
    /// Whether it takes the writes, whatever its name.
    fn is_primary(&self) -> bool {
        self.status.acts_as_primary
    }
}

/// One node to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Index into the views.
    pub node: usize,
    /// Why this node was chosen, if no earlier step failed.
    pub reason: Reason,
    /// Whether it is used as the node that takes the writes.
    pub as_primary: bool,
    /// The position to wait for before the request is sent.
    pub wait_for: Option<Lsn>,
}

/// The steps to try, best first; empty when no node can honour the decision.
pub type NodePlan = SmallVec<[Step; 4]>;

/// Plans one request. `safe` is false for requests that may write.
#[must_use]
pub fn plan(
    decision: &Decision,
    safe: bool,
    views: &[NodeView<'_>],
    ranking: &Ranking,
    now: Instant,
) -> NodePlan {
    let planner = Planner {
        views,
        ranking,
        now,
    };
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
    ranking: &'a Ranking,
    now: Instant,
}

impl Planner<'_> {
    /// Only the primary.
    fn primary(&self, reason: Reason, token: RequestToken) -> NodePlan {
        let usable = |view: &NodeView<'_>| {
            view.is_primary() && serving(view) == Serving::Well && is_heir_of(view, token)
        };
        let node = self.views.iter().position(usable);
        node.map(|node| self.step(node, reason))
            .into_iter()
            .collect()
    }

    /// Nodes that do not lag, best first; then those that lag, the least stale first.
    fn eventual(&self) -> NodePlan {
        let lag = |node: usize| match serving(&self.views[node]) {
            Serving::Well => Some((Serving::Well, Duration::ZERO)),
            Serving::Behind => {
                let staleness = self.views[node].status.staleness(self.now);
                Some((Serving::Behind, staleness.unwrap_or(Duration::MAX)))
            }
            Serving::No => None,
        };
        let reason = |node, serving| match serving {
            Serving::Behind => Reason::ReplicaLagging,
            Serving::Well | Serving::No => self.reason_by_distance(node),
        };
        let order = self.in_order(lag);
        let steps = order.iter().map(|it| {
            let (serving, _) = it.quality;
            self.step(it.node, reason(it.node, serving))
        });
        steps.collect()
    }

    /// Replicas proven to be within the bound, best first; else the primary.
    fn bounded(&self, bound: Duration) -> NodePlan {
        self.proven(
            Some(bound),
            None,
            Reason::WithinBound,
            Reason::BoundUnproven,
        )
    }

    /// The best replica, after a wait if it is just behind; others that have reached the token;
    /// else the primary.
    fn session(&self, token: &WalPosition, bound: Option<Duration>) -> NodePlan {
        let has_it = |view: &NodeView<'_>| {
            !view.is_primary() && serving(view) != Serving::No && has_reached(view, token)
        };
        let unproven = match bound {
            // The bound is the reason for the primary, now or after the replica has answered.
            Some(_) if self.views.iter().any(has_it) => Reason::BoundUnproven,
            _ => Reason::TokenBehind,
        };
        let mut plan = self.proven(bound, Some(token), Reason::TokenReached, unproven);
        let serves = |node: usize| serving(&self.views[node]) != Serving::No;
        let best = self.in_order(|node| serves(node).then_some(()));
        if let Some(best) = best.first().map(|it| it.node)
            && plan.first().is_none_or(|first| first.node != best)
            && self.is_worth_waiting_for(&self.views[best], token)
        {
            let wait = Step {
                wait_for: Some(token.lsn),
                ..self.step(best, Reason::Waited)
            };
            plan.insert(0, wait);
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
    ) -> NodePlan {
        let order = self.in_order(|node| {
            let view = &self.views[node];
            let proven = serving(view) != Serving::No && self.satisfies(view, bound, token);
            proven.then_some(())
        });
        let reason = |node: usize| match self.views[node].is_primary() {
            true => self.reason_for_primary(unproven),
            false => proven,
        };
        let steps = order.iter();
        let steps = steps.map(|it| self.step(it.node, reason(it.node)));
        steps.collect()
    }

    fn satisfies(
        &self,
        view: &NodeView<'_>,
        bound: Option<Duration>,
        token: Option<&WalPosition>,
    ) -> bool {
        let within = |bound| view.status.staleness(self.now).is_some_and(|s| s <= bound);
        match view.is_primary() {
            true => token.is_none_or(|&token| is_heir_of(view, RequestToken::Verified(token))),
            false => bound.is_none_or(within) && token.is_none_or(|token| has_reached(view, token)),
        }
    }

    /// The nodes to try, one after the other: those for which `quality` returns `None` are left
    /// out, the others are ordered by quality, and those of the same quality best first. Failing
    /// nodes come last, since a small chance of an answer is better than a refusal. A replica on
    /// probation comes after all nodes that are trusted, except a primary that has strong requests
    /// and writes to serve. A node drained by an operator is left out unless it is the primary, which then comes last of all: only the
    /// primary can give some answers.
    fn in_order<Q: Ord>(&self, quality: impl Fn(usize) -> Option<Q>) -> InOrder<Q> {
        let mut order = InOrder::new();
        for ranked in self.ranking.best_first() {
            let node = ranked.candidate;
            if let (Some(resort), Some(quality)) = (self.resort(ranked), quality(node)) {
                let candidate = Candidate {
                    node,
                    resort,
                    quality,
                    on_probation: ranked.standing == Standing::OnProbation,
                };
                let is_before = |other: &Candidate<Q>| other.place() <= candidate.place();
                let before = order.iter().rposition(is_before);
                order.insert(before.map_or(0, |before| before + 1), candidate);
            }
        }
        self.spare_the_primary(&mut order);
        order
    }

    /// Moves replicas on probation before a primary that would serve in their place.
    fn spare_the_primary<Q: Ord>(&self, order: &mut InOrder<Q>) {
        let Some(mut spill) = order.iter().position(|it| self.is_spill(it.node)) else {
            return;
        };
        for late in spill + 1..order.len() {
            let (primary, replica) = (&order[spill], &order[late]);
            let alike = (primary.resort, &primary.quality) == (replica.resort, &replica.quality);
            if alike && replica.on_probation {
                order[spill..=late].rotate_right(1);
                spill += 1;
            }
        }
    }

    /// Whether a node is the primary, in place of a nearer replica.
    fn is_spill(&self, node: usize) -> bool {
        node > 0 && self.views[node].is_primary()
    }

    fn resort(&self, ranked: &Ranked) -> Option<Resort> {
        match ranked.standing {
            Standing::Trusted | Standing::OnProbation => Some(Resort::First),
            Standing::ProbeDue | Standing::Failed => Some(Resort::Late),
            Standing::Drained => {
                let is_primary = self.views[ranked.candidate].is_primary();
                is_primary.then_some(Resort::Last)
            }
        }
    }

    fn is_worth_waiting_for(&self, view: &NodeView<'_>, token: &WalPosition) -> bool {
        let known = |view: &NodeView<'_>| view.status.position.map(|position| position.lsn);
        let newest = self.views.iter().filter_map(known).max();
        !view.is_primary()
            && view
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

    /// The reason for a node that was chosen as the best one able to serve.
    fn reason_by_distance(&self, node: usize) -> Reason {
        match node {
            0 if self.views[0].is_primary() => Reason::NoReplica,
            0 => Reason::Fresh,
            _ if self.views[0].is_primary() => Reason::Fresh,
            _ => self.reason_for_primary(Reason::Fresh),
        }
    }

    /// Why the nearest replica does not serve; `otherwise` if it is well but cannot honour the
    /// decision.
    fn reason_for_primary(&self, otherwise: Reason) -> Reason {
        match self.views.first() {
            Some(nearest) if !nearest.is_primary() => match serving(nearest) {
                _ if self.ranking.of(0).standing != Standing::Trusted => Reason::ReplicaDown,
                Serving::No => Reason::ReplicaDown,
                Serving::Behind => Reason::ReplicaLagging,
                Serving::Well => otherwise,
            },
            _ => Reason::NoReplica,
        }
    }
}

/// Nodes to try, one after the other.
type InOrder<Q> = SmallVec<[Candidate<Q>; 4]>;

/// A node to try, and the reason for its place.
struct Candidate<Q> {
    node: usize,
    resort: Resort,
    quality: Q,
    on_probation: bool,
}

impl<Q: Ord> Candidate<Q> {
    fn place(&self) -> (Resort, &Q, bool) {
        (self.resort, &self.quality, self.on_probation)
    }
}

/// How late a node is tried, because of its recent behaviour rather than its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Resort {
    First,
    Late,
    Last,
}

/// Whether a node can be used at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Serving {
    Well,
    Behind,
    No,
}

fn serving(view: &NodeView<'_>) -> Serving {
    match view.status.condition {
        NodeCondition::Fresh => Serving::Well,
        _ if view.is_primary() => Serving::No,
        NodeCondition::Disconnected => Serving::Well,
        NodeCondition::Lagging => Serving::Behind,
        // Reachable, but its positions cannot be compared yet: it still serves some committed
        // state.
        NodeCondition::Unknown if view.status.position.is_some() => Serving::Behind,
        NodeCondition::Unknown
        | NodeCondition::Unreachable
        | NodeCondition::Diverged
        | NodeCondition::Promoted => Serving::No,
    }
}

/// Whether the primary is of the token's timeline or a later one. If the token's timeline is later,
/// a promotion has not been seen here yet, and this primary may be a former one.
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
