//! A node as its region is judged by it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::postgres::monitor::Monitor;
use tidegate_model::{NodeId, RegionId};
use tidegate_steering::{SharedSelector, Standing};
use tidegate_traffic::health::Quantities;

/// A node of the database or of an upstream.
pub struct RegionNode {
    /// Where it is.
    pub region: RegionId,
    /// What knows whether it answers.
    pub selector: Arc<SharedSelector>,
    /// Its index there.
    pub candidate: usize,
    /// Whether something other than requests looks at it: a check, or the monitor.
    pub is_checked: bool,
    /// What knows how far it is behind, if it is a node of the database.
    pub database: Option<(Arc<Monitor>, NodeId)>,
}

/// What a node is good for at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answering {
    /// It answers, usually within this time.
    Within(Duration),
    /// It does not answer.
    No,
    /// It is drained by an operator.
    Drained,
}

impl RegionNode {
    pub(super) fn answering(&self, now: Instant) -> Answering {
        let ranking = self.selector.ranking(now);
        let ranked = ranking.of(self.candidate);
        match ranked.standing {
            Standing::Trusted | Standing::OnProbation => Answering::Within(ranked.latency),
            // Nothing but a request can find out.
            Standing::ProbeDue if !self.is_checked => Answering::Within(ranked.latency),
            Standing::ProbeDue | Standing::Failed => Answering::No,
            Standing::Drained => Answering::Drained,
        }
    }

    /// Returns how far it is behind, in microseconds; 0 if it is not a replica.
    pub(super) fn lag(&self) -> u64 {
        let Some((monitor, node)) = &self.database else {
            return 0;
        };
        let status = monitor.status(node);
        if status.acts_as_primary {
            return 0;
        }
        let micros = |lag: Duration| u64::try_from(lag.as_micros()).unwrap_or(u64::MAX);
        let unknown = Quantities::LAG_UNKNOWN;
        status.lag.map_or(unknown, micros)
    }
}
