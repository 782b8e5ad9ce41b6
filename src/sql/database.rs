//! The nodes of the database, and the state that all requests to them share.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::{Instant, timeout};

use super::address::DatabaseAddress;
use super::positions::Positions;
use super::role::{AskedAs, is_as_asked, newest_seen};
use super::{ActiveProbes, Spill};
use crate::postgres::monitor::{Knowledge, Monitor};
use crate::postgres::pool::Node;
use crate::regions::{RegionNode, RegionRoute};
use tidegate_model::{Lsn, NodeId, NodeStatus, RegionId, RequestToken, WalPosition};
use tidegate_policy::{Decision, NodePlan, NodeView, Reason, Step, plan};
use tidegate_steering::{Ranking, SecondTries, SharedSelector, Standing, Won};
use tidegate_telemetry::names;

/// The database that SQL endpoints run their statements on.
pub struct Database {
    /// The nodes, nearest first; plans, rankings and the selector refer to them by index.
    pub members: Vec<Member>,
    /// What is known about them.
    pub monitor: Arc<Monitor>,
    /// Determines the order in which they are tried.
    pub selector: Arc<SharedSelector>,
    /// Limits the reads that the primary serves in place of replicas.
    pub spill: Spill,
    pub(super) probes: ActiveProbes,
    positions: Positions,
    session_wait: Duration,
}

/// One node of the database.
pub struct Member {
    /// Its pool.
    pub node: Arc<Node>,
    /// Its name in logs and metrics.
    pub name: Arc<str>,
    /// How often a request to it may also be sent to another node.
    pub(super) second_tries: SecondTries,
    pub(super) address: DatabaseAddress,
}

/// The settings of a database.
#[derive(Debug, Clone, Copy)]
pub struct DatabaseSettings {
    /// The share of the requests to a node that may also be sent to another node.
    pub retry_budget: f64,
    /// Most reads that the primary serves in place of replicas at a time.
    pub spill_concurrency: usize,
    /// How long a request waits for a replica to replay its token's position.
    pub session_wait: Duration,
    /// How long the primary's position may take that an application's client is to see.
    pub position_patience: Duration,
}

impl Database {
    /// Assembles a database; its counters begin at zero, so that a first retry shows as an
    /// increase.
    #[must_use]
    pub fn new(
        nodes: &[Arc<Node>],
        monitor: Arc<Monitor>,
        selector: Arc<SharedSelector>,
        settings: DatabaseSettings,
    ) -> Self {
        let now = Instant::now();
        let member = |node: &Arc<Node>| Member {
            node: Arc::clone(node),
            name: node.id.as_str().into(),
            second_tries: SecondTries::new(settings.retry_budget, now),
            address: DatabaseAddress::from(node.server()),
        };
        let members: Vec<_> = nodes.iter().map(member).collect();
        members.iter().for_each(Member::begin_counters);
        Self {
            members,
            spill: Spill::new(settings.spill_concurrency),
            probes: ActiveProbes::new(nodes, &monitor, &selector),
            positions: Positions::new(settings.position_patience),
            session_wait: settings.session_wait,
            monitor,
            selector,
        }
    }

    /// Returns how long a request waits for a replica to replay its token's position.
    #[must_use]
    pub fn session_wait(&self) -> Duration {
        self.session_wait
    }

    /// Returns the nodes as their regions are judged by them.
    pub fn region_nodes(&self) -> impl Iterator<Item = RegionNode> {
        let members = self.members.iter().enumerate();
        members.filter_map(|(candidate, member)| {
            let node = &member.node;
            Some(RegionNode {
                region: node.region.clone()?,
                selector: Arc::clone(&self.selector),
                candidate,
                is_checked: true,
                database: Some((Arc::clone(&self.monitor), node.id.clone())),
            })
        })
    }

    /// Plans one request by what is known at one moment.
    pub(super) fn plan(
        &self,
        decision: &Decision,
        safe: bool,
        known: &Knowledge,
        ranking: &Ranking,
    ) -> NodePlan {
        let members = self.members.iter();
        let views: SmallVec<[_; 4]> = members
            .map(|Member { node, .. }| NodeView {
                id: &node.id,
                status: known.status(&node.id),
            })
            .collect();
        plan(decision, safe, &views, ranking, Instant::now())
    }

    /// Orders the replicas of a plan that can honour the request equally well by the traffic policy's
    /// order of regions; all other steps keep their places.
    pub(super) fn prefer(&self, plan: &mut NodePlan, route: &RegionRoute, ranking: &Ranking) {
        let is_equal = |step: &Step| {
            let standing = ranking.of(step.node).standing;
            !step.as_primary
                && step.wait_for.is_none()
                && step.reason != Reason::ReplicaLagging
                && matches!(standing, Standing::Trusted | Standing::OnProbation)
        };
        let rank = |step: &Step| {
            let region = self.members[step.node].node.region.as_ref();
            let rank = region.and_then(|region| route.rank(region));
            rank.unwrap_or(usize::MAX)
        };
        arrange(plan, is_equal, rank);
    }

    /// Waits until a node has replayed a position, for `session_wait` at most; returns whether it has.
    pub(crate) async fn reaches(&self, node: &NodeId, lsn: Lsn) -> bool {
        let at_last = |status: &NodeStatus| status.position.is_some_and(|at| at.lsn >= lsn);
        let started = Instant::now();
        let reached = self.monitor.wait_for(node, at_last);
        let reached = timeout(self.session_wait, reached).await;
        metrics::histogram!(names::SESSION_WAIT).record(started.elapsed().as_secs_f64());
        reached.is_ok()
    }

    /// Gives the best replica time to reach the position of a read's token, if it is in a region whose
    /// replica is read from.
    pub async fn wait_for_token(
        &self,
        decision: &Decision,
        is_read_from: impl Fn(&RegionId) -> bool,
    ) {
        let known = self.monitor.knowledge();
        let ranking = self.selector.ranking(Instant::now());
        let plan = self.plan(decision, true, &known, &ranking);
        let Some(first) = plan.first() else { return };
        let node = &self.members[first.node].node;
        if let Some(lsn) = first.wait_for
            && node.region.as_ref().is_some_and(is_read_from)
        {
            self.reaches(&node.id, lsn).await;
        }
    }

    /// Asks the primary for a position that covers all that was committed there before. None if it does not
    /// answer in time, or is not the primary any more.
    pub async fn insert_position(&self) -> Option<WalPosition> {
        let known = self.monitor.knowledge();
        let primary = known.primary().filter(|_| known.reaches_primary())?;
        let mut members = self.members.iter();
        let member = members.find(|member| member.node.id == primary.node)?;
        let asked = AskedAs {
            primary: true,
            current: false,
            safe: false,
            timeline: known.timeline,
        };
        let newest = || self.monitor.knowledge().timeline;
        let is_meant = |shown| is_as_asked(asked, Some(shown), newest);
        let shown = self.positions.ask(&member.node, is_meant).await?;
        newest_seen(RequestToken::None, shown, primary.position, None)
    }

    /// Returns the regions whose replica can honour a decision now, and until when it is proven to;
    /// for good where there is no bound. Where no replica is known to, only the primary can.
    #[must_use]
    pub fn replica_regions(
        &self,
        decision: &Decision,
        safe: bool,
    ) -> Vec<(RegionId, Option<Instant>)> {
        let known = self.monitor.knowledge();
        let ranking = self.selector.ranking(Instant::now());
        let plan = self.plan(decision, safe, &known, &ranking);
        let ready = plan.iter().filter(|step| {
            !step.as_primary && step.wait_for.is_none() && step.reason != Reason::ReplicaLagging
        });
        let bound = decision.consistency.max_staleness;
        let region_until = |step: &Step| {
            let node = &self.members[step.node].node;
            let until = match bound {
                Some(bound) => Some(known.status(&node.id).proven_at? + bound),
                None => None,
            };
            Some((node.region.clone()?, until))
        };
        ready.filter_map(region_until).collect()
    }
}

/// Sorts those steps that are equal by their rank; the others keep their places.
fn arrange(plan: &mut NodePlan, is_equal: impl Fn(&Step) -> bool, rank: impl Fn(&Step) -> usize) {
    let places: SmallVec<[usize; 4]> = (0..plan.len()).filter(|at| is_equal(&plan[*at])).collect();
    let mut steps: NodePlan = places.iter().map(|at| plan[*at]).collect();
    steps.sort_by_key(rank);
    for (at, step) in places.into_iter().zip(steps) {
        plan[at] = step;
    }
}

impl Member {
    /// Takes a second try from the retry budget of this node, which failed or is slow.
    pub(super) fn grants_second_try(&self) -> bool {
        let granted = self.second_tries.grant(Instant::now());
        if !granted {
            metrics::counter!(names::RETRY_BUDGET_SPENT, "node" => self.label()).increment(1);
        }
        granted
    }

    /// Counts a request that continues with another node after this one failed.
    pub(super) fn count_retry(&self) {
        metrics::counter!(names::RETRIES, "node" => self.label()).increment(1);
    }

    /// Counts a request that was also sent to another node because this one was slow.
    pub(super) fn count_hedge(&self, won: Won) {
        metrics::counter!(names::HEDGES, "node" => self.label(), "won" => won.as_str())
            .increment(1);
    }

    fn begin_counters(&self) {
        metrics::counter!(names::RETRIES, "node" => self.label()).increment(0);
        metrics::counter!(names::RETRY_BUDGET_SPENT, "node" => self.label()).increment(0);
        for won in Won::ALL {
            let won = won.as_str();
            metrics::counter!(names::HEDGES, "node" => self.label(), "won" => won).increment(0);
        }
    }

    fn label(&self) -> String {
        self.name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_equal_steps_change_places() {
        let step = |node, as_primary| Step {
            node,
            reason: Reason::Fresh,
            as_primary,
            wait_for: None,
        };
        let mut plan: NodePlan = [
            step(0, false),
            step(1, true),
            step(2, false),
            step(3, false),
        ]
        .into_iter()
        .collect();
        // The last one is not as good as the others.
        let is_equal = |step: &Step| !step.as_primary && step.node != 3;
        arrange(&mut plan, is_equal, |step| 9 - step.node);
        let nodes: Vec<_> = plan.iter().map(|step| step.node).collect();
        assert_eq!(nodes, [2, 1, 0, 3]);
    }
}
