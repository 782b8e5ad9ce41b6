//! A region of the fleet: the connections that lead there, what its gateways say and what is seen of it.

use std::time::Duration;

use tidegate_model::RegionId;
use tidegate_traffic::health::Quantities;

use crate::clock::Clock;
use crate::drain::Drain;
use crate::dropped::{Dropped, DroppedCounts};
use crate::gateway_id::{GatewayId, Prefix};
use crate::gateways::{Admitted, GATEWAYS_MAX, Gateways, KnownGateway};
use crate::link::{ConnectionId, Link, Purpose};
use crate::links::{Dialling, Links};
use crate::record::{GatewayConditions, Record};
use crate::said::Said;
use crate::seen::Seen;
use crate::wire::{self, Update};

/// Records of one Update: twice what a region can have.
const RECORDS_MAX: usize = 2 * GATEWAYS_MAX;

/// A region, as this gateway knows it.
#[derive(Clone, Debug)]
pub struct FleetRegion {
    prefix: Prefix,
    pub(crate) links: Links,
    pub(crate) gateways: Gateways,
    /// As it was told last: it lasts while no gateway is there to tell.
    drain: Drain,
    said: Said,
    /// Whether what it says has to be added up again.
    changed: bool,
    primary_elsewhere: bool,
    pub(crate) seen: Seen,
}

impl FleetRegion {
    pub(crate) fn new(id: RegionId, place: u8) -> Self {
        Self {
            prefix: Prefix::of(&id),
            links: Links::new(id, place),
            gateways: Gateways::default(),
            drain: Drain::default(),
            said: Said::NOTHING,
            changed: false,
            primary_elsewhere: false,
            seen: Seen::default(),
        }
    }

    /// Returns its name.
    pub fn id(&self) -> &RegionId {
        self.links.region()
    }

    /// Returns what its gateways say, over all of them.
    pub fn said(&self) -> Said {
        self.said
    }

    /// Returns what this gateway sees of the requests that it handed there.
    pub fn seen(&self) -> Quantities {
        self.seen.quantities()
    }

    /// Returns the gateways that are known there, without this one.
    pub fn gateways(&self) -> impl Iterator<Item = (GatewayId, &KnownGateway)> {
        self.gateways.iter()
    }

    /// Returns how many gateways are known there that do not leave, without this one.
    pub fn staying(&self) -> usize {
        let leaves = |it: &&Record| it.conditions.has(GatewayConditions::LEAVING);
        self.gateways.records().filter(|it| !leaves(it)).count()
    }

    /// Returns the connections that a request can be sent over; what leads to a gateway that leaves
    /// comes last.
    pub fn tunnels(&self) -> impl Iterator<Item = ConnectionId> {
        let open = self.links.usable(Purpose::Tunnel);
        let (leaving, staying): (Vec<_>, Vec<_>) =
            open.partition(|(_, link)| self.is_to_leaving(link));
        let all = staying.into_iter().chain(leaving);
        all.map(|(connection, _)| connection)
    }

    /// Returns whether a request can be sent there.
    pub fn is_reachable(&self) -> bool {
        self.links.usable(Purpose::Tunnel).next().is_some()
    }

    /// Returns its quantities: of each the worse of what it says and what is seen of it.
    pub fn quantities(&self) -> Quantities {
        let (said, seen) = (self.said.quantities, self.seen.quantities());
        Quantities {
            errors: said.errors.max(seen.errors),
            p99: said.p99.max(seen.p99),
            saturation: said.saturation.max(seen.saturation),
            lag: said.lag.max(seen.lag),
        }
    }

    /// Returns whether one of its gateways says that it reaches the primary.
    pub fn reaches_primary(&self) -> bool {
        self.has(GatewayConditions::PRIMARY)
    }

    /// Returns how many connections there are open.
    pub fn open_connections(&self) -> usize {
        self.links.iter().filter(|link| link.is_open()).count()
    }

    /// Returns how many connections lead there, open or not.
    pub fn connections(&self) -> usize {
        self.links.iter().count()
    }

    /// Returns how many connections were lost and wait to be dialled again.
    pub fn lost_connections(&self) -> usize {
        self.links.missing()
    }

    /// Returns the open connection that probes go over.
    pub fn control(&self) -> Option<ConnectionId> {
        let mut usable = self.links.usable(Purpose::Control);
        usable.next().map(|(connection, _)| connection)
    }

    /// Returns whether its gateways have said anything that was not looked at yet.
    pub(crate) fn has_changed(&self) -> bool {
        self.changed
    }

    fn is_to_leaving(&self, link: &Link) -> bool {
        let speaker = self.links.speaker_at(link.address);
        speaker.is_some_and(|speaker| self.gateways.is_leaving(speaker))
    }

    /// Returns whether it has addresses.
    pub(crate) fn is_listed(&self) -> bool {
        self.links.is_listed()
    }

    /// Returns the smallest round trip of its connections.
    pub(crate) fn round_trip(&self, now: Duration) -> Option<Duration> {
        let links = self.links.iter();
        links.filter_map(|link| link.trips.smallest(now)).min()
    }

    pub(crate) fn is_fresh(&self, now: Duration) -> bool {
        self.gateways.is_fresh(now)
    }

    pub(crate) fn has(&self, condition: GatewayConditions) -> bool {
        let mut records = self.gateways.records();
        records.any(|record| record.conditions.has(condition))
    }

    /// Returns the region's drain, as its other gateways know it.
    pub(crate) fn drain(&self) -> Drain {
        self.drain
    }

    /// Opens missing connections, closes silent ones, and forgets gateways that are no longer heard.
    pub(crate) fn tick(&mut self, dialling: &mut Dialling<'_>) {
        self.links.check(dialling);
        if self.gateways.expire(dialling.clock.steady) {
            self.changed = true;
            for link in self.links.iter_mut() {
                link.hearing.told.retain(|id| self.gateways.has(*id));
            }
        }
        let gateways = &self.gateways;
        self.links.dial(|id| gateways.is_leaving(id), dialling);
    }

    /// Takes in an Update; returns whether this gateway `own` has heard itself.
    pub(crate) fn receive(
        &mut self,
        (number, update): (u64, &[u8]),
        own: GatewayId,
        clock: &Clock,
        dropped: &mut DroppedCounts,
    ) -> bool {
        let link = self.links.get_mut(number);
        let link = link.filter(|link| link.is_open() && link.purpose == Purpose::Control);
        let Some(link) = link else {
            return false;
        };
        link.hear(clock.steady);
        if !link.hearing.is_within_rate(clock.raw) {
            dropped.add(Dropped::Flood, 1);
            return false;
        }
        let update = match Update::parse(update) {
            Ok(update) => update,
            Err(reason) => {
                dropped.add(reason, 1);
                return false;
            }
        };
        dropped.add(
            Dropped::Flood,
            update.records.len().saturating_sub(RECORDS_MAX),
        );
        let mut heard = false;
        for sent in update.records.iter().take(RECORDS_MAX) {
            match self.admit(number, sent, own, clock) {
                Ok(id) if id == own => return true,
                Ok(_) => heard = true,
                Err(reason) => dropped.add(reason, 1),
            }
        }
        if heard {
            self.hear(number, clock.steady);
        }
        let gone = update.gone.iter().take(GATEWAYS_MAX);
        for id in gone {
            self.forget(number, GatewayId(*id));
        }
        false
    }

    /// Adds up what its gateways say, with `own` among them, if there is anything new.
    pub(crate) fn look(&mut self, own: Option<&Record>, primary_elsewhere: bool, clock: &Clock) {
        let primary_changed = self.primary_elsewhere != primary_elsewhere;
        self.primary_elsewhere = primary_elsewhere;
        if self.changed || primary_changed || own.is_some() {
            self.changed = false;
            let records = self.gateways.records().chain(own);
            self.said = Said::of(records, primary_elsewhere, &self.said);
            self.drain = self.gateways.drain().unwrap_or(self.drain);
        }
        let reachable = self.is_reachable();
        self.seen.look(reachable, primary_elsewhere, clock.steady);
    }

    /// Merges a record, if the stream may tell of its gateway. This gateway's own is not merged.
    fn admit(
        &mut self,
        number: u64,
        sent: &wire::Record,
        own: GatewayId,
        clock: &Clock,
    ) -> Result<GatewayId, Dropped> {
        let (id, record) = Record::parse(sent)?;
        let siblings = self.links.are_of_siblings();
        let link = self.links.get_mut(number);
        let Some(hearing) = link.map(|link| &mut link.hearing) else {
            return Err(Dropped::FleetRegion);
        };
        if !self.prefix.begins(id) {
            return Err(Dropped::FleetRegion);
        }
        let speaker = hearing.speaker.unwrap_or(id);
        if id != speaker && (siblings || id == own) {
            return Err(Dropped::FleetRegion);
        }
        if id != own {
            let admitted = self.gateways.admit(id, record, clock)?;
            self.changed |= admitted == Admitted::New;
            hearing.told.insert(id);
        }
        hearing.speaker = Some(speaker);
        if record.conditions.has(GatewayConditions::LEAVING) {
            self.links.look_soon();
        }
        Ok(id)
    }

    /// A stream was heard, and with it all that it tells of.
    fn hear(&mut self, number: u64, now: Duration) {
        if let Some(link) = self.links.get_mut(number) {
            link.hearing.heard = now;
            for id in &link.hearing.told {
                self.gateways.hear(*id, now);
            }
        }
    }

    /// A stream no longer tells of a gateway: without another that does, it is gone.
    fn forget(&mut self, number: u64, id: GatewayId) {
        let link = self.links.get_mut(number);
        if !link.is_some_and(|link| link.hearing.told.remove(&id)) {
            return;
        }
        let mut links = self.links.iter();
        if !links.any(|link| link.hearing.told.contains(&id)) {
            self.gateways.remove(id);
            self.changed = true;
        }
    }
}
