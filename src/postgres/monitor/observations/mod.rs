//! From all samples to what is known about every node: pure.

use std::sync::Arc;
use std::time::Duration;

use crate::postgres::monitor::facts::{Facts, History, Receiver};
use crate::postgres::monitor::promotion::Promotion;
use crate::postgres::monitor::reachability::Reachability;
use crate::postgres::monitor::roles::{Acting, Contender, Roles};
use crate::postgres::monitor::sample::Sample;
use crate::postgres::monitor::{FenceLog, MonitorSettings};
use tidegate_model::NodeId;
use tidegate_model::NodeStatus;
use tidegate_model::ServerIdentity;
use tidegate_model::{Timeline, TimelineHistory};

/// The newest sample of every node and the fences of the primary.
#[derive(Debug)]
pub(super) struct Observations {
    nodes: Vec<Observed>,
    roles: Roles,
    fences: Option<FenceLog>,
    /// The server that the fences came from.
    fenced: Option<ServerIdentity>,
    /// The history of the fences' timeline.
    lineage: Option<Arc<TimelineHistory>>,
    /// The one before it and the newest that was known completely: a history that was observed can
    /// follow from either.
    earlier_lineages: [Option<Arc<TimelineHistory>>; 2],
    settings: MonitorSettings,
}

#[derive(Debug)]
struct Observed {
    node: NodeId,
    reachability: Reachability,
    /// Whether any sample has been attempted.
    attempted: bool,
    /// Whether the newest sample failed.
    missed: bool,
    /// The newest good sample; kept after its connection is lost, since lag and condition follow
    /// the hysteresis.
    sample: Option<Sample>,
    /// Whether the connection that the sample came from is still open. Without it the server may
    /// have crashed and restarted at a position before the sample with the same identity, so
    /// nothing is proven.
    connected: bool,
    /// The promotion during which this life of the server was monitored.
    promotion: Option<Promotion>,
}

impl Observations {
    pub(super) fn new(nodes: impl IntoIterator<Item = NodeId>, settings: &MonitorSettings) -> Self {
        let observed = |node| Observed::new(node, settings);
        Self {
            nodes: nodes.into_iter().map(observed).collect(),
            roles: Roles::default(),
            fences: None,
            fenced: None,
            lineage: None,
            earlier_lineages: [None, None],
            settings: settings.clone(),
        }
    }

    /// Records a good sample.
    pub(super) fn sampled(&mut self, index: usize, sample: Sample) {
        let observed = &mut self.nodes[index];
        let before = observed.sample;
        let sample = sample.with_latest_timeline(before.as_ref());
        if before.is_some_and(|before| sample.succeeds(&before)) {
            // The failures belonged to another server.
            let MonitorSettings {
                fail_after,
                pass_after,
                ..
            } = self.settings;
            observed.reachability = Reachability::new(fail_after, pass_after);
        }
        observed.reachability.pass();
        observed.attempted = true;
        observed.missed = false;
        observed.connected = true;
        observed.promotion = Promotion::seen(before.as_ref(), &sample, observed.promotion);
        observed.sample = Some(sample);
        self.settle(Some(index));
    }

    /// Records that a sample failed. That says nothing about the server's state: the old one ages.
    pub(super) fn missed(&mut self, index: usize) {
        let observed = &mut self.nodes[index];
        observed.reachability.fail();
        observed.attempted = true;
        observed.missed = true;
        self.settle(None);
    }

    /// Records that the monitor's connection is lost.
    pub(super) fn disconnected(&mut self, index: usize) {
        self.nodes[index].connected = false;
    }

    /// Records a timeline's history, unless another one has begun meanwhile.
    pub(super) fn learned(&mut self, history: TimelineHistory) {
        let known = self.lineage.as_ref();
        if known.is_some_and(|known| known.present() == history.present()) {
            self.set_lineage(history);
        }
    }

    /// Returns the history of the primary's timeline; none before its first sample.
    pub(super) fn lineage(&self) -> Option<Arc<TimelineHistory>> {
        self.lineage.clone()
    }

    /// Returns which node takes the writes.
    pub(super) fn acting(&self) -> Acting {
        self.roles.acting()
    }

    /// Returns the highest timeline that any server of the cluster was ever seen on.
    pub(super) fn highest(&self) -> Option<Timeline> {
        self.roles.highest()
    }

    /// Returns the reason for a node's condition, if the node itself shows it.
    pub(super) fn reason(&self, index: usize) -> &'static str {
        let observed = &self.nodes[index];
        let sample = observed.sample.as_ref();
        let reason = sample.and_then(|sample| self.divergence(observed, sample));
        reason.unwrap_or_default()
    }

    /// Returns what is known about a node.
    pub(super) fn status(&self, index: usize) -> NodeStatus {
        let observed = &self.nodes[index];
        let acts_as_primary = self.roles.acting() == Acting::Node(index);
        let reachable = observed.reachability.get();
        let facts = self.facts(observed, acts_as_primary);
        let unknown = NodeStatus {
            condition: facts.condition(self.settings.max_lag),
            acts_as_primary,
            reachable,
            missed: observed.missed,
            ..NodeStatus::unknown(observed.node.clone())
        };
        let Some(sample) = observed.sample else {
            return unknown;
        };
        let live = observed.connected.then_some(sample);
        let proven_at = |sample: Sample| self.comparable(observed, &sample)?.proven_at(sample.lsn?);
        NodeStatus {
            identity: live.map(|sample| sample.identity),
            last_identity: Some(sample.identity),
            position: live.and_then(|sample| sample.position()),
            proven_at: live.and_then(proven_at),
            lag: facts.lag.filter(|_| reachable == Some(true)),
            sampled_at: Some(sample.sent),
            round_trip: Some(sample.received.duration_since(sample.sent)),
            ..unknown
        }
    }

    fn facts(&self, observed: &Observed, primary: bool) -> Facts {
        let sample = observed.sample.as_ref();
        let history = |sample| self.history(observed, sample);
        let lag = |sample: &Sample| match primary {
            true => Some(Duration::ZERO),
            false => Some(
                self.comparable(observed, sample)?
                    .lag(sample.lsn?, sample.sent),
            ),
        };
        Facts {
            primary,
            settled: self.nodes.iter().all(|node| node.attempted),
            reachable: observed.reachability.get(),
            in_recovery: sample.map(|sample| sample.in_recovery),
            history: sample.map_or(History::Unknown, history),
            receiver: sample.map_or(Receiver::Unknown, |sample| sample.receiver),
            lag: sample.and_then(lag),
        }
    }

    /// Returns the fences if the sample is from a replica of the same history.
    fn comparable(&self, observed: &Observed, sample: &Sample) -> Option<&FenceLog> {
        let same = sample.in_recovery && self.history(observed, sample) == History::Same;
        self.fences.as_ref().filter(|_| same)
    }

    fn history(&self, observed: &Observed, sample: &Sample) -> History {
        if self.divergence(observed, sample).is_some() {
            return History::Other;
        }
        let fences = self.fences.as_ref().map(FenceLog::history);
        let position = sample.position().map(|at| (at.system, at.timeline));
        match fences.is_some() && fences == position {
            true => History::Same,
            // Without fences, or if a promotion was seen but not the promoted server.
            false => History::Unknown,
        }
    }

    /// Returns why a node's history is not the primary's, if that is known.
    fn divergence(&self, observed: &Observed, sample: &Sample) -> Option<&'static str> {
        let system = self.roles.system();
        if system.is_some() && sample.system.is_some() && sample.system != system {
            return Some("it belongs to another cluster; if that is intended, restart the gateway");
        }
        if sample.timeline.is_some() && sample.timeline < self.roles.highest() {
            return Some("its timeline is superseded by a promotion");
        }
        let (Some(fences), Some(position)) = (&self.fences, sample.position()) else {
            let misled = observed.node.is_configured_primary() && sample.in_recovery;
            return misled.then_some("DATABASE_URL leads to a server in recovery");
        };
        let overtaken = sample.in_recovery
            && fences.history() == (position.system, position.timeline)
            && fences.is_overtaken_by(position.lsn, sample.received);
        overtaken.then_some("it has replayed records that the primary never wrote")
    }

    /// Determines which node takes the writes, and adds its sample as a fence if it is `fresh` or
    /// the first of this primary.
    fn settle(&mut self, fresh: Option<usize>) {
        let before = self.roles.acting();
        let contenders: Vec<_> = self.nodes.iter().map(Observed::contender).collect();
        self.roles.settle(&contenders);
        let Acting::Node(primary) = self.roles.acting() else {
            return;
        };
        if let Some(sample) = self.nodes[primary].sample
            && (fresh == Some(primary) || before != self.roles.acting())
        {
            self.fence(&sample);
        }
        self.learn_from_promotions();
    }

    /// Adds a fence. A new history starts a new log, and so does another server.
    fn fence(&mut self, sample: &Sample) {
        let Some(position) = sample.position() else {
            return;
        };
        let history = (position.system, position.timeline);
        let known = self.fences.as_ref().map(FenceLog::history);
        let same_server = |before: ServerIdentity| before.is_same_place(&sample.identity);
        if known != Some(history) {
            let unread = TimelineHistory::unread(position.system, position.timeline);
            self.earlier_lineages[0] = self.lineage.take();
            self.set_lineage(unread);
        }
        if known != Some(history) || !self.fenced.is_some_and(same_server) {
            self.fences = Some(FenceLog::new(position.system, position.timeline));
        }
        self.fenced = Some(sample.identity);
        if let Some(fences) = &mut self.fences {
            fences.push(sample.sent, sample.received, position.lsn);
        }
    }

    fn set_lineage(&mut self, lineage: TimelineHistory) {
        let lineage = Arc::new(lineage);
        if lineage.is_read() {
            self.earlier_lineages[1] = Some(Arc::clone(&lineage));
        }
        self.lineage = Some(lineage);
    }

    /// Derives the history of the current timeline from the promotion that began it, if it was
    /// observed under any of the primary's names.
    fn learn_from_promotions(&mut self) {
        let Some(lineage) = &self.lineage else {
            return;
        };
        if lineage.knows_its_beginning() {
            return;
        }
        let watched = |observed: &Observed| {
            let life = observed.sample.map(|sample| sample.identity);
            let promotion = observed.promotion.filter(|_| life == self.fenced)?;
            let mut earlier = self.earlier_lineages.iter().flatten();
            earlier.find_map(|before| promotion.leads_from(before, lineage.present()))
        };
        if let Some(history) = self.nodes.iter().find_map(watched) {
            self.set_lineage(history);
        }
    }
}

impl Observed {
    fn new(node: NodeId, settings: &MonitorSettings) -> Self {
        Self {
            node,
            reachability: Reachability::new(settings.fail_after, settings.pass_after),
            attempted: false,
            missed: false,
            sample: None,
            connected: false,
            promotion: None,
        }
    }

    fn contender(&self) -> Contender<'_> {
        Contender {
            seat: self.node.is_configured_primary(),
            reachable: self.reachability.get(),
            attempted: self.attempted,
            sample: self.sample.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests;
