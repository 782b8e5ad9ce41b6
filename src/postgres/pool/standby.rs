//! How many connections a node keeps open so that it can take over from another at once.
//!
//! By Little's law (1961: L = λ W) requests that arrive λ times a second and hold a connection for W
//! keep λ W of them busy. On a node farther away W is longer by the difference of the round trips.
//! A node whose standby would be too small when another one is lost makes requests wait for
//! connections to be opened, some seven round trips each. Reads that share connections need only
//! those. A node that takes over goes on serving its own requests, so these count, too. Pure, except
//! for the lock.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tidegate_model::NodeId;

/// The fraction of a load that remains a second after it ended: half of it remains after half a
/// minute.
const KEPT_PER_SECOND: f64 = 0.977;

/// Standard deviations of the number of busy connections (Poisson: its root) kept beyond the mean.
const DEVIATIONS: f64 = 2.0;

/// The connections that the requests of one node need.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Load {
    /// Requests a second that use a connection alone.
    pub(super) per_second: f64,
    /// Connections that these requests keep busy on average.
    pub(super) busy: f64,
    /// Connections that reads share, at most.
    pub(super) shared: f64,
    /// The round trip between the gateway and the node.
    pub(super) round_trip: Duration,
}

/// The loads of all nodes of a gateway.
#[derive(Debug, Default)]
pub struct Loads(Mutex<Vec<(NodeId, Load)>>);

impl Load {
    /// Returns the connections that a node needs for its own requests and for those of another one.
    fn connections_with(&self, other: &Self) -> usize {
        let farther = self.round_trip.saturating_sub(other.round_trip);
        let moved = other.busy + other.per_second * farther.as_secs_f64();
        let busy = self.busy + moved;
        let alone = (busy + DEVIATIONS * busy.sqrt()).ceil();
        // Saturates, and is never negative. Reads of both share the same connections.
        (self.shared.max(other.shared).round() + alone) as usize
    }

    /// Follows a higher load at once and a lower one slowly.
    fn follow(&mut self, now: Self) {
        let keep = |before: f64, now: f64| now.max(before * KEPT_PER_SECOND);
        *self = Self {
            per_second: keep(self.per_second, now.per_second),
            busy: keep(self.busy, now.busy),
            shared: keep(self.shared, now.shared),
            round_trip: now.round_trip,
        };
    }
}

impl Loads {
    /// Records a node's load of the last second, and returns the connections that it needs to take
    /// over from any one of the others beside its own requests; none if there are no others.
    pub(super) fn exchange(&self, id: &NodeId, now: Load) -> usize {
        // Each entry is consistent at every moment, even after a panic.
        let mut loads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = match loads.iter_mut().find(|(other, _)| other == id) {
            Some((_, load)) => {
                load.follow(now);
                *load
            }
            None => {
                loads.push((id.clone(), now));
                now
            }
        };
        let others = loads.iter().filter(|(other, _)| other != id);
        let needed = others.map(|(_, load)| own.connections_with(load));
        needed.max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::RegionId;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn replica(region: &str) -> NodeId {
        NodeId::Replica(region.parse::<RegionId>().unwrap())
    }

    #[test]
    fn a_standby_farther_away_needs_connections_for_the_longer_way() {
        let here = Load {
            per_second: 200.0,
            busy: 2.0,
            shared: 4.0,
            round_trip: MS,
        };
        let idle = |round_trip| Load {
            round_trip,
            ..Load::default()
        };
        // 2 + 200/s × 120 ms = 26, and twice the root of that.
        assert_eq!(idle(121 * MS).connections_with(&here), 4 + 37);
        // At the same distance: no more than here.
        assert_eq!(idle(MS).connections_with(&here), 4 + 5);
        assert_eq!(idle(MS).connections_with(&Load::default()), 0);
    }

    #[test]
    fn a_nodes_own_requests_leave_no_room_for_those_of_another() {
        let load = |busy| Load {
            busy,
            shared: 4.0,
            ..Load::default()
        };
        // 9 + 16 = 25, and twice the root of that; both share the same four.
        assert_eq!(load(9.0).connections_with(&load(16.0)), 4 + 35);
    }

    #[test]
    fn a_node_stands_by_for_the_greatest_of_the_others_and_not_for_itself() {
        let loads = Loads::default();
        let load = |busy| Load {
            busy,
            ..Load::default()
        };
        assert_eq!(loads.exchange(&replica("eu-west-1"), load(4.0)), 0);
        assert_eq!(loads.exchange(&replica("us-east-1"), load(1.0)), 10);
        assert_eq!(loads.exchange(&NodeId::Primary, load(12.0)), 24);
        assert_eq!(loads.exchange(&replica("us-east-1"), load(1.0)), 21);
    }

    #[test]
    fn a_load_that_ends_is_remembered_for_some_dozens_of_seconds() {
        let loads = Loads::default();
        let (here, next) = (replica("eu-west-1"), replica("us-east-1"));
        let busy = Load {
            busy: 16.0,
            shared: 4.0,
            ..Load::default()
        };
        loads.exchange(&here, busy);
        let after = |seconds: usize| {
            for _ in 0..seconds {
                loads.exchange(&here, Load::default());
            }
            loads.exchange(&next, Load::default())
        };
        assert_eq!(after(0), 4 + 24);
        assert!((2 + 12..2 + 16).contains(&after(30)));
        assert!(after(300) <= 2);
    }
}
