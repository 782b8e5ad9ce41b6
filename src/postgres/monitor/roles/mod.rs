//! Which node takes the writes: determined from the samples, not from the configuration. Pure.
//!
//! A promotion begins a timeline above all before it, so of all servers of the cluster the primary
//! is the one out of recovery on the highest timeline that any of them was seen on. That timeline
//! is never forgotten: while no server on it can be found, there is no primary, and never again an
//! earlier one.
//!
//! Two servers that were both promoted onto one timeline cannot be distinguished here. The one at
//! `DATABASE_URL` takes precedence by configuration; without it there is no primary.

use crate::postgres::monitor::sample::Sample;
use tidegate_model::ServerIdentity;
use tidegate_model::{SystemId, Timeline};

/// Every cluster begins on it; a server that was promoted is on a later one.
const FIRST: Timeline = Timeline(1);

/// Which node takes the writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Acting {
    /// No known node.
    #[default]
    Nobody,
    /// The node of this index.
    Node(usize),
    /// Several servers that cannot be distinguished, so no node does.
    Ambiguous,
}

/// What one node contributes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contender<'a> {
    /// Whether `DATABASE_URL` names it.
    pub(super) seat: bool,
    /// Whether it is reachable, by the hysteresis over samples.
    pub(super) reachable: Option<bool>,
    /// Whether a sample of it has succeeded or failed.
    pub(super) attempted: bool,
    /// The newest good sample.
    pub(super) sample: Option<&'a Sample>,
}

/// What follows from all samples so far.
#[derive(Debug, Default)]
pub(super) struct Roles {
    system: Option<SystemId>,
    highest: Option<Timeline>,
    acting: Acting,
}

impl Roles {
    /// Which node takes the writes.
    pub(super) fn acting(&self) -> Acting {
        self.acting
    }

    /// The cluster; none while it is unknown or the role may not query it.
    pub(super) fn system(&self) -> Option<SystemId> {
        self.system
    }

    /// The highest timeline that any server of the cluster was ever seen on.
    pub(super) fn highest(&self) -> Option<Timeline> {
        self.highest
    }

    /// Records the newest samples of all nodes.
    pub(super) fn settle(&mut self, nodes: &[Contender<'_>]) {
        self.system = self.system.or_else(|| cluster(nodes));
        let members = nodes.iter().filter_map(|node| {
            let sample = node.sample.filter(|sample| self.is_member(node, sample))?;
            sample.timeline
        });
        self.highest = members.max().max(self.highest);
        // A server that has not been sampled yet may be ahead of those that have.
        self.acting = match nodes.iter().all(|node| node.attempted) {
            true => self.elect(nodes),
            false => Acting::Nobody,
        };
    }

    /// Returns whether a sample is of this cluster. A server whose identifier the role may not
    /// query is accepted only at `DATABASE_URL`.
    fn is_member(&self, node: &Contender<'_>, sample: &Sample) -> bool {
        match sample.system {
            Some(system) => Some(system) == self.system,
            None => node.seat,
        }
    }

    fn elect(&self, nodes: &[Contender<'_>]) -> Acting {
        let holders: Vec<_> = self.holders(nodes).collect();
        let seat = holders.iter().find(|holder| nodes[holder.index].seat);
        let promoted = holders.first().filter(|_| self.highest > Some(FIRST));
        let Some(first) = seat.or(promoted) else {
            return Acting::Nobody;
        };
        let same_server = |holder: &&Holder| holder.identity == first.identity;
        if seat.is_none() && !holders.iter().all(|holder| same_server(&holder)) {
            return Acting::Ambiguous;
        }
        // One server may be known by several names, some of which fail.
        let answers = |holder: &&Holder| nodes[holder.index].reachable == Some(true);
        let mut names = std::iter::once(first).chain(holders.iter().filter(same_server));
        Acting::Node(names.find(answers).unwrap_or(first).index)
    }

    /// Which node is out of recovery on the highest timeline.
    fn holders<'a>(&'a self, nodes: &'a [Contender<'_>]) -> impl Iterator<Item = Holder> + 'a {
        nodes.iter().enumerate().filter_map(|(index, node)| {
            let sample = node.sample.filter(|sample| self.is_member(node, sample))?;
            let holds = !sample.in_recovery && sample.timeline? == self.highest?;
            holds.then_some(Holder {
                index,
                identity: sample.identity,
            })
        })
    }
}

struct Holder {
    index: usize,
    identity: ServerIdentity,
}

/// The cluster at `DATABASE_URL`; if no server answers there, the one on which all that answer
/// agree.
fn cluster(nodes: &[Contender<'_>]) -> Option<SystemId> {
    let system = |node: &Contender<'_>| node.sample?.system;
    let seat = nodes.iter().find(|node| node.seat)?;
    if seat.reachable != Some(false) || seat.sample.is_some() {
        return system(seat);
    }
    let decided = nodes.iter().all(|node| node.reachable.is_some());
    let mut systems = nodes.iter().filter_map(system);
    let first = systems.next().filter(|_| decided)?;
    systems.all(|other| other == first).then_some(first)
}

#[cfg(test)]
mod tests;
