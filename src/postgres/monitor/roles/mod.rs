//! Who takes writes: a fact of the samples, not of the configuration. Pure.
//!
//! A promotion begins a timeline above all before it, so of all servers of the cluster the primary
//! is the one out of recovery on the highest timeline that any of them was seen on. That timeline
//! is never forgotten: while nobody who holds it can be found, there is no primary, and never again
//! an earlier one.
//!
//! Nothing here can tell two servers apart that were both promoted onto one timeline. The seat of
//! `DATABASE_URL` wins by configuration; without it there is no primary.

use crate::postgres::monitor::sample::Sample;
use tidegate_model::ServerIdentity;
use tidegate_model::{SystemId, Timeline};

/// Every cluster begins on it; a server that was promoted is on a later one.
const FIRST: Timeline = Timeline(1);

/// Who takes writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Acting {
    /// Nobody that is known.
    #[default]
    Nobody,
    /// The node of this index.
    Node(usize),
    /// Several servers that cannot be told apart, which is nobody.
    Ambiguous,
}

/// What one node contributes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contender<'a> {
    /// Whether `DATABASE_URL` names it.
    pub(super) seat: bool,
    /// By the hysteresis over samples.
    pub(super) reachable: Option<bool>,
    /// Whether a sample of it was taken or has failed.
    pub(super) attempted: bool,
    /// The newest good one.
    pub(super) sample: Option<&'a Sample>,
}

/// What all samples so far amount to.
#[derive(Debug, Default)]
pub(super) struct Roles {
    system: Option<SystemId>,
    highest: Option<Timeline>,
    acting: Acting,
}

impl Roles {
    /// Who takes writes.
    pub(super) fn acting(&self) -> Acting {
        self.acting
    }

    /// The cluster; none while it is unknown or may not be asked.
    pub(super) fn system(&self) -> Option<SystemId> {
        self.system
    }

    /// The highest timeline any server of the cluster was ever seen on.
    pub(super) fn highest(&self) -> Option<Timeline> {
        self.highest
    }

    /// Takes the newest samples of all nodes in.
    pub(super) fn settle(&mut self, nodes: &[Contender<'_>]) {
        self.system = self.system.or_else(|| cluster(nodes));
        let members = nodes.iter().filter_map(|node| {
            let sample = node.sample.filter(|sample| self.is_member(node, sample))?;
            sample.timeline
        });
        self.highest = members.max().max(self.highest);
        // A server that was not asked yet may be ahead of those that were.
        self.acting = match nodes.iter().all(|node| node.attempted) {
            true => self.elect(nodes),
            false => Acting::Nobody,
        };
    }

    /// Tells whether a sample is of this cluster. Whom a role may not ask to identify itself is
    /// believed only where `DATABASE_URL` leads.
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
        // One server may be known by several names, of which some fail.
        let answers = |holder: &&Holder| nodes[holder.index].reachable == Some(true);
        let mut names = std::iter::once(first).chain(holders.iter().filter(same_server));
        Acting::Node(names.find(answers).unwrap_or(first).index)
    }

    /// Who is out of recovery on the highest timeline.
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

/// Where `DATABASE_URL` leads; if it leads nowhere, what all that answer agree upon.
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
