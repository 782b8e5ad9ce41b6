//! All samples → what is known of every node: pure.

use std::sync::Arc;
use std::time::Duration;

use crate::consistency::{SystemId, Timeline, TimelineHistory};
use crate::region::NodeId;
use crate::replication::condition::{Facts, History, Receiver};
use crate::replication::reachability::Reachability;
use crate::replication::sample::Sample;
use crate::replication::{FenceLog, MonitorSettings, NodeStatus};

/// The newest sample of every node and the fences of the primary.
#[derive(Debug)]
pub(super) struct Observations {
    nodes: Vec<Observed>,
    fences: Option<FenceLog>,
    /// How the fences' timeline came about.
    lineage: Option<Arc<TimelineHistory>>,
    max_lag: Duration,
}

#[derive(Debug)]
struct Observed {
    node: NodeId,
    reachability: Reachability,
    /// Whether the newest sample failed.
    missed: bool,
    /// The newest good sample; kept after its connection is lost, since lag and condition follow
    /// the hysteresis.
    sample: Option<Sample>,
    /// Whether the connection that the sample came from is still open. Without it the server may
    /// have crashed and reopened behind the sample under the same identity, so nothing is proven.
    connected: bool,
}

impl Observations {
    pub(super) fn new(nodes: impl IntoIterator<Item = NodeId>, settings: &MonitorSettings) -> Self {
        let observed = |node| Observed {
            node,
            reachability: Reachability::new(settings.fail_after, settings.pass_after),
            missed: false,
            sample: None,
            connected: false,
        };
        Self {
            nodes: nodes.into_iter().map(observed).collect(),
            fences: None,
            lineage: None,
            max_lag: settings.max_lag,
        }
    }

    /// Takes a good sample in.
    pub(super) fn sampled(&mut self, index: usize, sample: Sample) {
        let observed = &mut self.nodes[index];
        observed.reachability.pass();
        observed.missed = false;
        observed.connected = true;
        observed.sample = Some(sample.with_latest_timeline(observed.sample.as_ref()));
        if observed.node.is_primary() {
            self.fence(&sample);
        }
    }

    /// Takes in that a sample failed. It says nothing of the server's state: the old one ages.
    pub(super) fn missed(&mut self, index: usize) {
        let observed = &mut self.nodes[index];
        observed.reachability.fail();
        observed.missed = true;
    }

    /// Takes in that the monitor's connection is gone.
    pub(super) fn disconnected(&mut self, index: usize) {
        self.nodes[index].connected = false;
    }

    /// Takes a timeline's history in, unless another has begun meanwhile.
    pub(super) fn learned(&mut self, history: TimelineHistory) {
        let known = self.lineage.as_ref();
        if known.is_some_and(|known| known.present() == history.present()) {
            self.lineage = Some(Arc::new(history));
        }
    }

    /// Returns the history of the primary's timeline; none before its first sample.
    pub(super) fn lineage(&self) -> Option<Arc<TimelineHistory>> {
        self.lineage.clone()
    }

    /// Returns what is known of a node.
    pub(super) fn status(&self, index: usize) -> NodeStatus {
        let observed = &self.nodes[index];
        let reachable = observed.reachability.get();
        let unknown = NodeStatus {
            reachable,
            missed: observed.missed,
            ..NodeStatus::unknown(observed.node.clone())
        };
        let facts = self.facts(observed);
        let condition = facts.condition(self.max_lag);
        let Some(sample) = observed.sample else {
            return NodeStatus {
                condition,
                ..unknown
            };
        };
        let live = observed.connected.then_some(sample);
        NodeStatus {
            condition,
            identity: live.map(|sample| sample.identity),
            position: live.and_then(|sample| sample.position()),
            proven_at: live.and_then(|sample| self.comparable(&sample)?.proven_at(sample.lsn?)),
            lag: facts.lag.filter(|_| reachable == Some(true)),
            sampled_at: Some(sample.sent),
            round_trip: Some(sample.received.duration_since(sample.sent)),
            ..unknown
        }
    }

    fn facts(&self, observed: &Observed) -> Facts {
        let primary = observed.node.is_primary();
        let sample = observed.sample.as_ref();
        Facts {
            primary,
            reachable: observed.reachability.get(),
            in_recovery: sample.map(|sample| sample.in_recovery),
            history: sample.map_or(History::Unknown, |sample| self.history(sample)),
            receiver: sample.map_or(Receiver::Unknown, |sample| sample.receiver),
            lag: sample.and_then(|sample| self.lag(primary, sample)),
        }
    }

    fn lag(&self, primary: bool, sample: &Sample) -> Option<Duration> {
        if primary {
            return (!sample.in_recovery).then_some(Duration::ZERO);
        }
        Some(self.comparable(sample)?.lag(sample.lsn?, sample.sent))
    }

    /// Returns the fences if the sample is a replica's of the same history.
    fn comparable(&self, sample: &Sample) -> Option<&FenceLog> {
        let same = sample.in_recovery && self.history(sample) == History::Same;
        self.fences.as_ref().filter(|_| same)
    }

    fn history(&self, sample: &Sample) -> History {
        let (Some(fences), Some(position)) = (&self.fences, sample.position()) else {
            return History::Unknown;
        };
        let other = fences.history() != (position.system, position.timeline)
            || sample.in_recovery && fences.is_overtaken_by(position.lsn, sample.received);
        match other {
            true => History::Other,
            false => History::Same,
        }
    }

    /// Adds a fence. A new history starts a new log; an earlier timeline of the same system does
    /// not, since it belongs to a former primary.
    fn fence(&mut self, sample: &Sample) {
        let Some(position) = sample.position().filter(|_| !sample.in_recovery) else {
            return;
        };
        let history = (position.system, position.timeline);
        let known = self.fences.as_ref().map(FenceLog::history);
        if known.is_some_and(|known| is_superseded(history, known)) {
            return;
        }
        if known != Some(history) {
            self.fences = Some(FenceLog::new(position.system, position.timeline));
            let unread = TimelineHistory::unread(position.system, position.timeline);
            self.lineage = Some(Arc::new(unread));
        }
        if let Some(fences) = &mut self.fences {
            fences.push(sample.sent, sample.received, position.lsn);
        }
    }
}

impl Sample {
    /// Keeps the latest timeline a replica showed in this life: without a WAL receiver, the only
    /// one left to read is the control file's, which may be an earlier one.
    fn with_latest_timeline(self, before: Option<&Self>) -> Self {
        let same_life = |before: &&Self| self.in_recovery && before.identity == self.identity;
        let known = before.filter(same_life).and_then(|before| before.timeline);
        Self {
            timeline: self.timeline.max(known),
            ..self
        }
    }
}

fn is_superseded(history: (SystemId, Timeline), known: (SystemId, Timeline)) -> bool {
    history.0 == known.0 && history.1 < known.1
}

#[cfg(test)]
mod tests;
