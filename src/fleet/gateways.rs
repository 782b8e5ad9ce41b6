//! The gateways of one region, as they say they are.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Clock;
use crate::drain::Drain;
use crate::dropped::Dropped;
use crate::gateway_id::GatewayId;
use crate::record::{GatewayConditions, Record};

/// Gateways of a region.
pub(crate) const GATEWAYS_MAX: usize = 64;

/// A record is no longer true when nothing was heard of its gateway for so long.
pub(crate) const STALE: Duration = Duration::from_secs(3);

/// How far ahead a sequence may be: as many records as a gateway makes in a second at most, twice over,
/// and as many more as it takes not to lose a region that was not heard for some minutes.
const AHEAD_MAX: u64 = 10_000;
const AHEAD_A_SECOND: u64 = 20;

/// A gateway, and when it was heard.
#[derive(Clone, Copy, Debug)]
pub struct KnownGateway {
    /// The greatest of its records.
    pub record: Record,
    /// When a stream that tells of it was last heard.
    pub(crate) heard: Duration,
    /// When a new record came.
    pub(crate) renewed: Duration,
    /// The same by the driver's clock.
    pub(crate) received: Duration,
}

/// What has become of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// It is no greater than what was known.
    Known,
    /// It counts from now on.
    New,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Gateways(BTreeMap<GatewayId, KnownGateway>);

impl Gateways {
    /// Merges a record into what is known; what is dropped leaves no trace.
    pub(crate) fn admit(
        &mut self,
        id: GatewayId,
        record: Record,
        clock: &Clock,
    ) -> Result<Admitted, Dropped> {
        let full = self.0.len() >= GATEWAYS_MAX;
        let Some(known) = self.0.get_mut(&id) else {
            if full {
                return Err(Dropped::Flood);
            }
            self.0.insert(id, KnownGateway::new(record, clock));
            return Ok(Admitted::New);
        };
        let passed = clock.raw.saturating_sub(known.received).as_secs();
        let ahead = record.sequence.saturating_sub(known.record.sequence);
        if u64::from(ahead) > AHEAD_MAX + AHEAD_A_SECOND * passed {
            return Err(Dropped::Sequence);
        }
        if known.record.join(record) == known.record {
            return Ok(Admitted::Known);
        }
        *known = KnownGateway::new(record, clock);
        Ok(Admitted::New)
    }

    /// Takes in that a stream that tells of a gateway was heard.
    pub(crate) fn hear(&mut self, id: GatewayId, now: Duration) {
        if let Some(gateway) = self.0.get_mut(&id) {
            gateway.heard = now;
        }
    }

    pub(crate) fn remove(&mut self, id: GatewayId) {
        self.0.remove(&id);
    }

    /// Forgets those of which nothing was heard for too long; returns whether there were any.
    pub(crate) fn expire(&mut self, now: Duration) -> bool {
        let before = self.0.len();
        self.0
            .retain(|_, gateway| now.saturating_sub(gateway.heard) <= STALE);
        self.0.len() < before
    }

    pub(crate) fn has(&self, id: GatewayId) -> bool {
        self.0.contains_key(&id)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (GatewayId, &KnownGateway)> {
        self.0.iter().map(|(id, gateway)| (*id, gateway))
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> + Clone {
        self.0.values().map(|gateway| &gateway.record)
    }

    /// Returns whether one of them has said something new within the time after which it is stale.
    pub(crate) fn is_fresh(&self, now: Duration) -> bool {
        let mut gateways = self.0.values();
        gateways.any(|gateway| now.saturating_sub(gateway.renewed) <= STALE)
    }

    /// Returns the region's drain; `None` when no gateway is there to tell.
    pub(crate) fn drain(&self) -> Option<Drain> {
        let gateways = self.0.values();
        gateways
            .map(|gateway| Drain::of(&gateway.record, gateway.received))
            .max()
    }

    pub(crate) fn is_leaving(&self, id: GatewayId) -> bool {
        let gateway = self.0.get(&id);
        gateway.is_some_and(|it| it.record.conditions.has(GatewayConditions::LEAVING))
    }

    /// Returns whether there are gateways and all of them leave.
    pub(crate) fn all_leave(&self) -> bool {
        let leaves = |record: &Record| record.conditions.has(GatewayConditions::LEAVING);
        !self.0.is_empty() && self.records().all(leaves)
    }
}

impl KnownGateway {
    fn new(record: Record, clock: &Clock) -> Self {
        Self {
            record,
            heard: clock.steady,
            renewed: clock.steady,
            received: clock.raw,
        }
    }
}
