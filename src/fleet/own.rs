//! What this gateway says of itself, and when.

use std::time::Duration;

use tidegate_traffic::health::Summary;

use crate::allowance::Allowance;
use crate::clock::Clock;
use crate::digest::Digest;
use crate::drain::Drain;
use crate::gateway_id::GatewayId;
use crate::record::{GatewayConditions, Record};

/// A record is made anew this often, changed or not.
const RENEWED_EVERY: Duration = Duration::from_secs(1);

/// Records in a second, ten together: so many steadily, and so many at once, so that a change does not
/// wait for the record before it.
pub(crate) const STEADILY: f64 = 7.0;
pub(crate) const AT_ONCE: f64 = 3.0;

/// How this gateway is, as its driver measures it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// What it served: clients' requests, hops and probes but for those of `/health/edge` and those whose time
    /// has run out.
    pub served: Summary,
    /// How busy the busiest of its pools and limits is.
    pub saturation_pct: u8,
    /// Its replica's lag: none without a replica, `None` where it is not known.
    pub lag: Option<Duration>,
    /// Whether its region has a node of the database.
    pub has_database: bool,
    /// Whether it reaches the primary.
    pub reaches_primary: bool,
    /// Whether it ends.
    pub leaving: bool,
    /// The revision in force.
    pub revision: u32,
}

/// What is said, and when it was said last.
#[derive(Clone, Debug)]
pub(crate) struct Voice {
    pub(crate) id: GatewayId,
    /// As it is now; its sequence is that of the last record that was made.
    now: Record,
    made: Option<(Record, Duration)>,
    allowance: Allowance,
    drain: Drain,
}

impl Voice {
    pub(crate) fn new(id: GatewayId) -> Self {
        Self {
            id,
            now: Record {
                sequence: 0,
                digest: Digest::new(&Summary::default(), 0, Some(Duration::ZERO)),
                conditions: GatewayConditions::default(),
                revision: 0,
                drain_version: 0,
                drain_seconds: 0,
            },
            made: None,
            allowance: Allowance::new(STEADILY, AT_ONCE),
            drain: Drain::default(),
        }
    }

    /// Takes in how the gateway is, and makes a record of it when one is due.
    pub(crate) fn update(&mut self, own: &Own, suspects: bool, clock: &Clock) {
        self.now.digest = Digest::new(&own.served, own.saturation_pct, own.lag);
        self.now.conditions = GatewayConditions::default()
            .with(GatewayConditions::PRIMARY, own.reaches_primary)
            .with(GatewayConditions::LEAVING, own.leaving)
            .with(GatewayConditions::SUSPECT, suspects)
            .with(GatewayConditions::DATABASE, own.has_database);
        self.now.revision = own.revision;
        self.now.drain_version = self.drain.version;
        self.now.drain_seconds = self.drain.seconds(clock.raw);
        if self.is_due(clock.raw) {
            self.now.sequence = self.now.sequence.saturating_add(1);
            self.allowance.spend(1.0);
            self.made = Some((self.now, clock.raw));
        }
    }

    /// Returns how the gateway is now, said or not.
    pub(crate) fn current(&self) -> &Record {
        &self.now
    }

    /// Returns the record to be sent, once there is one.
    pub(crate) fn made(&self) -> Option<&Record> {
        self.made.as_ref().map(|(record, _)| record)
    }

    pub(crate) fn drain(&self) -> Drain {
        self.drain
    }

    /// Takes over a drain that is newer than the one that is known.
    pub(crate) fn adopt(&mut self, drain: Drain) {
        // Not one of the same version: what is rounded would add up.
        if drain.version > self.drain.version {
            self.drain = drain;
        }
    }

    fn is_due(&mut self, now: Duration) -> bool {
        let Some((made, at)) = &self.made else {
            return true;
        };
        self.now.is_urgent_after(made)
            || now.saturating_sub(*at) >= RENEWED_EVERY
            || (self.now.differs_from(made) && self.allowance.has(1.0, now))
    }
}
