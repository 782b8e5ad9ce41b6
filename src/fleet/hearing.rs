//! A `Watch` on a peer: which gateways it reports, and at what rate.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::allowance::Allowance;
use crate::gateway_id::GatewayId;
use crate::gateways::STALE;

/// Updates that a stream may send in a second: steadily half of them, and as many at once.
const UPDATES: f64 = 50.0;

#[derive(Clone, Debug)]
pub(crate) struct Hearing {
    /// The peer itself: the gateway whose record came first.
    pub(crate) speaker: Option<GatewayId>,
    /// The gateways that it tells of.
    pub(crate) told: BTreeSet<GatewayId>,
    /// When something was last taken in.
    pub(crate) heard: Duration,
    updates: Allowance,
}

impl Hearing {
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            speaker: None,
            told: BTreeSet::new(),
            heard: now,
            updates: Allowance::new(UPDATES, UPDATES),
        }
    }

    /// Returns whether one more Update is within what a stream may send.
    pub(crate) fn is_within_rate(&mut self, now: Duration) -> bool {
        let within = self.updates.has(1.0, now);
        if within {
            self.updates.spend(1.0);
        }
        within
    }

    /// Returns whether the stream is to be given up.
    pub(crate) fn is_silent(&self, now: Duration) -> bool {
        now.saturating_sub(self.heard) > STALE
    }
}
