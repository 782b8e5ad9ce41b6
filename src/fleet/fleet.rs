//! The fleet, as one gateway knows it: what it takes in.

mod known;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tidegate_model::RegionId;
use tidegate_traffic::health::Outcome;
use tidegate_traffic::plan::REGIONS_MAX;

use crate::clock::Clock;
use crate::dropped::DroppedCounts;
use crate::gateway_id::{GatewayId, Prefix};
use crate::gateways::GATEWAYS_MAX;
use crate::link::{ConnectionId, Link};
use crate::links::Dialling;
use crate::opinion::Opinion;
use crate::output::{Output, WatcherId};
use crate::own::{Own, Voice};
use crate::paths::QUICK_MAX;
use crate::record::GatewayConditions;
use crate::region::FleetRegion;
use crate::suspicion::Suspicion;
use crate::watcher::Watcher;

/// Watchers of one region: its gateways, and as many more while connections are made anew.
const WATCHERS_MAX: usize = 2 * GATEWAYS_MAX;

/// Its own region comes first in the list.
const OWN: usize = 0;

/// What identifies this gateway.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The region that it runs in.
    pub region: RegionId,
    /// Random bits, new with every start.
    pub random: u64,
}

/// The state of everything that this gateway knows of the others.
#[derive(Clone, Debug)]
pub struct Fleet {
    clock: Clock,
    voice: Voice,
    regions: Vec<FleetRegion>,
    watchers: BTreeMap<WatcherId, (u8, Watcher)>,
    suspicion: Suspicion,
    dropped: DroppedCounts,
    random: fastrand::Rng,
    connections: u64,
    /// A path is probed if its answer took less.
    quick: Duration,
}

impl Fleet {
    /// Begins without peers.
    pub fn new(identity: Identity) -> Self {
        let id = GatewayId::new(Prefix::of(&identity.region), identity.random);
        Self {
            clock: Clock::default(),
            voice: Voice::new(id),
            regions: vec![FleetRegion::new(identity.region, OWN as u8)],
            watchers: BTreeMap::new(),
            suspicion: Suspicion::default(),
            dropped: DroppedCounts::default(),
            random: fastrand::Rng::with_seed(identity.random),
            connections: 0,
            quick: QUICK_MAX,
        }
    }

    /// Takes what the addresses of a listed region resolve to now: 64 at most, its own among them where
    /// it is this gateway's. A region that is no longer listed has none. Returns whether there was room
    /// for a new region.
    pub fn set_addresses(
        &mut self,
        region: &RegionId,
        addresses: &[SocketAddr],
        out: &mut Vec<Output>,
    ) -> bool {
        let place = match self.place(region) {
            Some(place) => place,
            None if self.regions.len() == REGIONS_MAX => return false,
            None => {
                let place = self.regions.len();
                self.regions
                    .push(FleetRegion::new(region.clone(), place as u8));
                place
            }
        };
        let links = &mut self.regions[place].links;
        links.set_addresses(addresses, self.voice.id, out);
        true
    }

    /// Takes in that a connection stands: handshake, certificate and preface are done.
    pub fn opened(&mut self, connection: ConnectionId, now: Duration) {
        self.clock.advance(now);
        let steady = self.clock.steady;
        let links = &mut self.region_of(connection).links;
        links.open(connection.number, steady);
    }

    /// Takes in that a connection was lost, was closed, or could not be opened.
    pub fn closed(&mut self, connection: ConnectionId, now: Duration, out: &mut Vec<Output>) {
        self.lose(connection, false, now, out);
    }

    /// Takes in that a connection has ended in order, as its peer wanted: another is dialled at once.
    pub fn ended(&mut self, connection: ConnectionId, now: Duration, out: &mut Vec<Output>) {
        self.lose(connection, true, now, out);
    }

    fn lose(&mut self, of: ConnectionId, in_order: bool, now: Duration, out: &mut Vec<Output>) {
        self.clock.advance(now);
        let (place, steady) = (usize::from(of.region), self.clock.steady);
        let links = &mut self.regions[place].links;
        links.lose(of.number, in_order, steady, &mut self.random);
        self.tick_region(place, out);
    }

    /// Takes in that this gateway's certificate was renewed: its connections are made anew one after the
    /// other, and the old ones retired when their successors stand.
    pub fn renewed(&mut self, now: Duration) {
        self.clock.advance(now);
        let count = self.regions.iter().map(FleetRegion::connections).sum();
        let mut before = 0;
        for region in &mut self.regions {
            before += region.links.renew(before, count, self.clock.steady);
        }
    }

    /// Takes in that the peer of a connection is no longer vouched for: it is retired when its successor
    /// stands or could not be opened.
    pub fn unverified(&mut self, connection: ConnectionId, now: Duration) {
        self.clock.advance(now);
        let steady = self.clock.steady;
        let links = &mut self.region_of(connection).links;
        links.replace(connection.number, steady);
    }

    /// Takes in that as many tunnels to a region as are always open are crowded, or even `all`: then up to
    /// eight are opened.
    pub fn crowded(&mut self, region: &RegionId, all: bool, now: Duration) {
        self.clock.advance(now);
        if let Some(place) = self.place(region) {
            let steady = self.clock.steady;
            self.regions[place].links.crowd(all, steady);
        }
    }

    /// Takes in that something was read from a connection, whatever it was.
    pub fn heard(&mut self, connection: ConnectionId, now: Duration) {
        self.clock.advance(now);
        let steady = self.clock.steady;
        if let Some(link) = self.link(connection) {
            link.hear(steady);
        }
    }

    /// Takes in the answer to a ping.
    pub fn pong(&mut self, connection: ConnectionId, now: Duration) {
        self.clock.advance(now);
        let steady = self.clock.steady;
        if let Some(link) = self.link(connection) {
            link.pong(steady);
        }
    }

    /// Takes in an `Update`, as the bytes of the message, of a `Watch` on a control connection. A driver
    /// does not read one that is longer than [`crate::UPDATE_BYTES_MAX`].
    pub fn received(
        &mut self,
        connection: ConnectionId,
        update: &[u8],
        now: Duration,
        out: &mut Vec<Output>,
    ) {
        self.clock.advance(now);
        let place = usize::from(connection.region);
        let region = &mut self.regions[place];
        let message = (connection.number, update);
        if region.receive(message, self.voice.id, &self.clock, &mut self.dropped) {
            region.links.is_own(connection.number);
            out.push(Output::Close { connection });
        } else if place == OWN && region.has_changed() {
            self.send_updates(out);
        }
    }

    /// Takes in that a peer watches this gateway, from the region in its certificate. Returns whether it
    /// may: it may not where its region is not listed or watches too often already.
    pub fn watch(
        &mut self,
        watcher: WatcherId,
        region: &RegionId,
        now: Duration,
        out: &mut Vec<Output>,
    ) -> bool {
        self.clock.advance(now);
        let Some(place) = self.place(region) else {
            return false;
        };
        let of_region = |(of, _): &&(u8, Watcher)| usize::from(*of) == place;
        if self.watchers.values().filter(of_region).count() >= WATCHERS_MAX {
            return false;
        }
        let state = Watcher::new(place == OWN);
        self.watchers.insert(watcher, (place as u8, state));
        self.send_updates(out);
        true
    }

    /// Takes in that a `Watch` has ended.
    pub fn unwatch(&mut self, watcher: WatcherId) {
        self.watchers.remove(&watcher);
    }

    /// Takes in how a request that was handed on ended: `time` is to the head of the answer.
    pub fn handed(
        &mut self,
        connection: ConnectionId,
        outcome: Outcome,
        time: Duration,
        now: Duration,
    ) {
        self.clock.advance(now);
        let steady = self.clock.steady;
        let region = self.region_of(connection);
        let round_trip = region.links.round_trip_of(connection.number, steady);
        let time = time.saturating_sub(round_trip);
        region.seen.add(outcome, time, steady);
    }

    /// Takes in that requests were lost with their tunnel. Where the region could not be reached then, that
    /// they were lost is no further evidence; else they have failed.
    pub fn lost(&mut self, connection: ConnectionId, requests: u32, now: Duration) {
        self.clock.advance(now);
        let steady = self.clock.steady;
        self.region_of(connection).seen.lose(requests, steady);
    }

    /// Takes in how a probe ended, of a path or of `/health/edge`: `time` is to the head of the answer.
    pub fn probed(
        &mut self,
        connection: ConnectionId,
        path: Option<&str>,
        (outcome, time): (Outcome, Duration),
        now: Duration,
    ) {
        self.handed(connection, outcome, time, now);
        let steady = self.clock.steady;
        if let Some(path) = path {
            let paths = &mut self.region_of(connection).seen.paths;
            paths.asked(path, outcome, time, steady);
        }
    }

    /// Takes in how a probe of this gateway's own region ended. That its health is bad says nothing beside
    /// requests that it serves.
    pub fn probed_own(&mut self, outcome: Outcome, time: Duration, now: Duration) {
        self.clock.advance(now);
        let steady = self.clock.steady;
        let own = &mut self.regions[OWN];
        let serves = own.said().quantities.errors.is_some();
        if outcome == Outcome::Served || !serves {
            own.seen.add(outcome, time, steady);
        }
    }

    /// Keeps a path to be probed: of a GET without query, credentials, cookie, token and body that was
    /// handed on and answered after some time. One that was not answered quickly is not kept.
    pub fn remember(&mut self, connection: ConnectionId, path: &str, time: Duration) {
        let (steady, quick) = (self.clock.steady, self.quick);
        let region = self.region_of(connection);
        let round_trip = region.links.round_trip_of(connection.number, steady);
        if time.saturating_sub(round_trip) < quick {
            region.seen.paths.remember(path);
        }
    }

    /// Drains this gateway's region for some time, a day at most; for none, ends its drain.
    pub fn drain(&mut self, time: Duration, now: Duration) {
        self.clock.advance(now);
        let known = self.voice.drain().max(self.regions[OWN].drain());
        self.voice.adopt(known.next(time, self.clock.raw));
    }

    /// Does what time brings: to be called every 50 ms, and at once when this gateway leaves or drains.
    pub fn tick(&mut self, own: &Own, opinion: &Opinion, now: Duration, out: &mut Vec<Output>) {
        self.clock.advance(now);
        self.quick = opinion.p99.map_or(QUICK_MAX, |p99| p99.min(QUICK_MAX));
        self.voice.adopt(self.regions[OWN].drain());
        let suspects = self.suspicion.suspects();
        self.voice.update(own, suspects, &self.clock);
        for place in 0..self.regions.len() {
            self.tick_region(place, out);
        }
        self.look();
        let reachable = self.others(FleetRegion::is_reachable);
        let listed = self.others(FleetRegion::is_listed);
        self.suspicion
            .step(reachable, opinion.against, listed, self.clock.steady);
        self.probe(opinion, out);
        self.send_updates(out);
    }

    fn region_of(&mut self, connection: ConnectionId) -> &mut FleetRegion {
        &mut self.regions[usize::from(connection.region)]
    }

    fn link(&mut self, connection: ConnectionId) -> Option<&mut Link> {
        let links = &mut self.region_of(connection).links;
        let link = links.get_mut(connection.number);
        link.filter(|link| link.is_open())
    }

    fn tick_region(&mut self, place: usize, out: &mut Vec<Output>) {
        self.regions[place].tick(&mut Dialling {
            clock: self.clock,
            random: &mut self.random,
            last: &mut self.connections,
            out,
        });
    }

    /// Works out anew what each region says and what is seen of it.
    fn look(&mut self) {
        let own = *self.voice.current();
        let others = self.others(|region| region.has(GatewayConditions::PRIMARY));
        let here = own.conditions.has(GatewayConditions::PRIMARY)
            || self.regions[OWN].has(GatewayConditions::PRIMARY);
        let primaries = others | u64::from(here);
        for (place, region) in self.regions.iter_mut().enumerate() {
            let own = (place == OWN).then_some(&own);
            let elsewhere = primaries & !(1 << place) != 0;
            region.look(own, elsewhere, &self.clock);
        }
    }

    fn probe(&mut self, opinion: &Opinion, out: &mut Vec<Output>) {
        let gateways: usize = self.regions.iter().map(|it| it.gateways.len()).sum();
        let gateways = gateways as u32 + 1;
        let phase = f64::from(self.voice.id.0 as u16) / f64::from(u16::MAX);
        let now = self.clock.steady;
        for (place, region) in self.regions.iter_mut().enumerate() {
            let control = region.control().filter(|_| place != OWN);
            let left = opinion.left & (1 << place) != 0;
            let left = left && (place == OWN || control.is_some());
            if !region.seen.probe_is_due(left, gateways, phase, now) {
                continue;
            }
            match control {
                // What is still to be answered says more than another answer of `/health/edge`.
                Some(_) if region.seen.paths.are_all_under_way(now) => {}
                Some(connection) => {
                    let path = region.seen.paths.ask(now);
                    out.push(Output::Probe { connection, path });
                }
                None => out.push(Output::ProbeOwn),
            }
        }
    }

    fn send_updates(&mut self, out: &mut Vec<Output>) {
        let siblings = &self.regions[OWN].gateways;
        for (id, (_, watcher)) in &mut self.watchers {
            if let Some(update) = watcher.update(&self.voice, siblings, self.clock.raw) {
                let watcher = *id;
                out.push(Output::Update { watcher, update });
            }
        }
    }

    /// Returns the other regions of which something is true.
    fn others(&self, are: impl Fn(&FleetRegion) -> bool) -> u64 {
        let regions = self.regions.iter().enumerate().skip(1);
        let those = regions.filter(|(_, region)| are(region));
        those.fold(0, |set, (place, _)| set | 1 << place)
    }
}
