//! A region: a gateway in front of three nodes of an application.

use crate::event::{Kind, NODES};
use crate::run::Luck;

/// Time of an answer: log-normal, with this median and shape.
const MEDIAN_MS: f64 = 20.0;
const SHAPE: f64 = 0.6;

/// Requests that fail without any fault.
const FAILING: f64 = 0.000_02;

/// The load balancer in front of a region's nodes takes one out after so long.
const REMOVED_AFTER_SECONDS: f64 = 30.0;

/// Failures after which a gateway that steers leaves a node alone, and for how long.
const BREAKER_FAILURES: u32 = 5;
const BREAKER_SECONDS: f64 = 5.0;

/// Share of capacity above which answers take longer.
const BUSY: f64 = 0.8;

/// The outcome of a request in a region.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Served {
    /// It was answered after this many milliseconds.
    Well(f64),
    /// It was answered with 5xx after this many milliseconds.
    Failed(f64),
    /// No node took it, so nothing was done.
    NoNode,
    /// The region is overloaded, and nothing was done.
    Shed,
}

/// A region's nodes as its gateway knows them, and how busy they are.
pub(crate) struct Region {
    nodes: [Node; NODES],
    down_since: Option<f64>,
    capacity: f64,
    served: f64,
    utilisation: f64,
}

#[derive(Clone, Copy, Default)]
struct Node {
    failures: u32,
    open_until: f64,
}

impl Region {
    pub(crate) fn new(capacity: f64) -> Self {
        Self {
            nodes: [Node::default(); NODES],
            down_since: None,
            capacity,
            served: 0.0,
            utilisation: 0.0,
        }
    }

    /// Begins a tick; `length` is in seconds.
    pub(crate) fn tick(&mut self, fault: Option<Kind>, now: f64, length: f64) {
        let share = self.served / length / self.capacity;
        self.utilisation += (share - self.utilisation) * 0.25;
        self.served = 0.0;
        self.down_since = match fault {
            Some(Kind::Down(_)) => self.down_since.or(Some(now)),
            _ => None,
        };
    }

    /// Returns what it serves, in requests a second.
    pub(crate) fn rate(&self) -> f64 {
        self.utilisation * self.capacity
    }

    pub(crate) fn utilisation(&self) -> f64 {
        self.utilisation
    }

    /// Serves a request; with steering the gateway chooses among the nodes by what it has seen.
    pub(crate) fn serve(
        &mut self,
        steers: bool,
        fault: Option<Kind>,
        now: f64,
        luck: &mut Luck,
    ) -> Served {
        self.served += 1.0;
        let down = match fault {
            Some(Kind::Down(nodes)) => nodes,
            _ => 0,
        };
        let removed = self
            .down_since
            .is_some_and(|since| now - since >= REMOVED_AFTER_SECONDS);
        let first = luck.below(NODES);
        for turn in 0..NODES {
            let at = (first + turn) % NODES;
            let node = &mut self.nodes[at];
            if steers && node.open_until > now || !steers && removed && at < down {
                continue;
            }
            if at >= down {
                return self.answer(steers.then_some(at), fault, now, luck);
            }
            node.fail(now);
            if !steers {
                return Served::Failed(1.0);
            }
        }
        Served::NoNode
    }

    fn answer(
        &mut self,
        steered: Option<usize>,
        fault: Option<Kind>,
        now: f64,
        luck: &mut Luck,
    ) -> Served {
        let mut time = MEDIAN_MS * (SHAPE * luck.normal()).exp();
        let mut failing = FAILING;
        match fault {
            Some(Kind::Errors(share)) => failing = share,
            Some(Kind::Slow(times)) => time *= times,
            _ => {}
        }
        if self.utilisation > BUSY {
            time *= 1.0 + (self.utilisation.min(1.0) - BUSY) * 10.0;
            if luck.share() > 1.0 / self.utilisation {
                return Served::Shed;
            }
        }
        let failed = luck.share() < failing;
        if let Some(at) = steered {
            let node = &mut self.nodes[at];
            if failed {
                node.fail(now)
            } else {
                node.failures = 0
            }
        }
        if failed {
            Served::Failed(time)
        } else {
            Served::Well(time)
        }
    }
}

impl Node {
    fn fail(&mut self, now: f64) {
        self.failures += 1;
        if self.failures >= BREAKER_FAILURES {
            self.open_until = now + BREAKER_SECONDS;
        }
    }
}
