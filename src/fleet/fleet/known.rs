//! What a gateway knows of its fleet.

use std::time::Duration;

use tidegate_model::RegionId;

use super::{Fleet, OWN};
use crate::drain::Drain;
use crate::dropped::DroppedCounts;
use crate::gateway_id::GatewayId;
use crate::record::{GatewayConditions, Record};
use crate::region::FleetRegion;

impl Fleet {
    /// Returns this gateway's id.
    pub fn id(&self) -> GatewayId {
        self.voice.id
    }

    /// Returns what this gateway says of itself; `None` before the first tick.
    pub fn record(&self) -> Option<&Record> {
        self.voice.made()
    }

    /// Returns the regions that are known, its own first.
    pub fn regions(&self) -> &[FleetRegion] {
        &self.regions
    }

    /// Returns a region.
    pub fn region(&self, id: &RegionId) -> Option<&FleetRegion> {
        self.place(id).map(|place| &self.regions[place])
    }

    /// Returns the smallest round trip to a region, while it is known.
    pub fn round_trip(&self, region: &FleetRegion) -> Option<Duration> {
        region.round_trip(self.clock.steady)
    }

    /// Returns whether this gateway suspects itself.
    pub fn suspects(&self) -> bool {
        self.suspicion.suspects()
    }

    /// Returns whether a region gets no new requests: it is drained, or all its gateways leave.
    pub fn is_draining(&self, region: &RegionId) -> bool {
        self.place(region).is_some_and(|it| self.drains(it))
    }

    /// Returns for how long a region's drain still lasts.
    pub fn drained_for(&self, region: &RegionId) -> Duration {
        let place = self.place(region);
        place.map_or(Duration::ZERO, |it| self.drain_of(it).left(self.clock.raw))
    }

    /// Returns the version of a region's drain: each drain and undrain has another one.
    pub fn drain_version(&self, region: &RegionId) -> u32 {
        let place = self.place(region);
        place.map_or(0, |it| self.drain_of(it).version)
    }

    /// Returns the oldest revision that one of a region's gateways has in force, once one of them has spoken.
    pub fn revision_of(&self, region: &RegionId) -> Option<u32> {
        let place = self.place(region)?;
        let own = self.record().filter(|_| place == OWN);
        let records = self.regions[place].gateways.records().chain(own);
        records.map(|record| record.revision).min()
    }

    /// Returns how often what a peer sent was dropped.
    pub fn dropped(&self) -> DroppedCounts {
        self.dropped
    }

    /// Returns how many peers watch this gateway.
    pub fn watchers(&self) -> usize {
        self.watchers.len()
    }

    /// Returns whether a gateway of a region says that there is a node of the database.
    pub fn has_database(&self, region: &RegionId) -> bool {
        let says_so = |place: usize| {
            let own = self.voice.current().conditions;
            (place == OWN && own.has(GatewayConditions::DATABASE))
                || self.regions[place].has(GatewayConditions::DATABASE)
        };
        self.place(region).is_some_and(says_so)
    }

    /// Returns the time that this gateway has lived through.
    pub(crate) fn now(&self) -> Duration {
        self.clock.steady
    }

    pub(crate) fn place(&self, region: &RegionId) -> Option<usize> {
        self.regions.iter().position(|it| it.id() == region)
    }

    pub(crate) fn is_own(place: usize) -> bool {
        place == OWN
    }

    pub(crate) fn drains(&self, place: usize) -> bool {
        let gateways = &self.regions[place].gateways;
        let own = self
            .voice
            .current()
            .conditions
            .has(GatewayConditions::LEAVING);
        let all_leave = match place {
            OWN => own && (gateways.len() == 0 || gateways.all_leave()),
            _ => gateways.all_leave(),
        };
        all_leave || !self.drain_of(place).left(self.clock.raw).is_zero()
    }

    fn drain_of(&self, place: usize) -> Drain {
        let told = self.regions[place].drain();
        match place {
            OWN => told.max(self.voice.drain()),
            _ => told,
        }
    }
}
