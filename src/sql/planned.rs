//! A request with its plan.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::time::Duration;

use super::SqlError;
use super::database::Member;
use super::reconnect::LeaseKind;
use super::request::{SqlOutcome, SqlRequest};
use super::spill_budget::Share;
use super::verdict::Terms;
use crate::postgres::monitor::Knowledge;
use tidegate_model::Level;
use tidegate_policy::{Decision, Reason, Step};
use tidegate_steering::Ranking;

/// A request with its plan: everything in it is decided from what was known at one moment.
pub(super) struct PlannedRequest<'a> {
    pub(super) request: &'a SqlRequest<'a>,
    /// With the token expressed in terms of `known`.
    pub(super) decision: Decision,
    pub(super) known: Arc<Knowledge>,
    pub(super) ranking: Arc<Ranking>,
}

/// Why a step gave no answer.
#[derive(Debug)]
pub(super) enum StepError {
    /// The node cannot prove what the request needs; the next step has its own reason.
    Unproven,
    /// The node was not contacted, because other requests need it more; the next step has its own
    /// reason.
    Refused(SqlError),
    /// The node failed without executing anything; the next step may succeed.
    Next(SqlError),
    /// The client gets this.
    Final(SqlError),
}

/// The result of a step.
pub(super) type StepResult = Result<SqlOutcome, StepError>;

/// One step while it is tried.
pub(super) struct Try {
    pub(super) step: Step,
    pub(super) reason: Reason,
    /// Whether another node has answered first, so that the answer of this one is not awaited.
    pub(super) beaten: AtomicBool,
}

impl Try {
    pub(super) fn new(step: Step, reason: Reason) -> Self {
        Self {
            step,
            reason,
            beaten: AtomicBool::new(false),
        }
    }
}

impl PlannedRequest<'_> {
    /// Whether the primary serves in place of a nearer replica.
    pub(super) fn is_spill(&self, step: &Step) -> bool {
        let strong = self.decision.consistency.level == Level::Strong;
        // Nodes are listed by distance: none is nearer than the first.
        self.request.safe && !strong && step.as_primary && step.node > 0
    }

    /// The kind of connection that the step uses at first.
    pub(super) fn first_lease(&self, step: &Step) -> LeaseKind {
        if self.request.local.is_some() {
            // Only then is what it sets shown to be gone before another request uses the session.
            return LeaseKind::Exclusive;
        }
        let quickness = &self.request.target.quickness;
        let pace = quickness.of(step.node, self.round_trip(step));
        LeaseKind::first(self.request.safe, pace)
    }

    /// What the step takes out of the spill budget on a connection of a kind.
    pub(super) fn spill_share(&self, step: &Step, kind: LeaseKind) -> Share {
        let spill = &self.request.database.spill;
        let round_trip = spill.distance(self.round_trip(step));
        let work = self.request.target.quickness.mean(step.node);
        let work = work.map(|it| it.saturating_sub(spill.own_delay()));
        Share::of(work, round_trip, kind != LeaseKind::Shared)
    }

    /// The distance to the node of a step.
    pub(super) fn round_trip(&self, step: &Step) -> Duration {
        self.ranking.of(step.node).latency
    }

    /// The error when there is no node to ask.
    pub(super) fn no_node(&self) -> SqlError {
        match self.decision.consistency.level {
            Level::Strong => SqlError::NoPrimary,
            Level::Session | Level::Bounded | Level::Eventual => SqlError::NoNode,
        }
    }

    pub(super) fn terms(&self) -> Terms {
        Terms {
            safe: self.request.safe,
            level: self.decision.consistency.level,
        }
    }

    pub(super) fn member(&self, step: &Step) -> &Member {
        &self.request.database.members[step.node]
    }
}
