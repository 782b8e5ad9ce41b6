//! The connections to a region's gateways: which there are to be, and which there are.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tidegate_model::RegionId;

use crate::addresses::Addresses;
use crate::clock::Clock;
use crate::gateway_id::GatewayId;
use crate::link::{ConnectionId, Link, Need, Purpose};
use crate::output::Output;

/// Where no connection is missing, it is looked at this often whether another is to be preferred.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);

/// What connections are made with.
pub(crate) struct Dialling<'a> {
    pub(crate) clock: Clock,
    pub(crate) random: &'a mut fastrand::Rng,
    /// The number of the last connection.
    pub(crate) last: &'a mut u64,
    pub(crate) out: &'a mut Vec<Output>,
}

#[derive(Clone, Debug)]
pub(crate) struct Links {
    region: RegionId,
    place: u8,
    addresses: Addresses,
    links: BTreeMap<u64, Link>,
    /// When it is next looked whether connections are missing or too many.
    next_look: Duration,
}

impl Links {
    pub(crate) fn new(region: RegionId, place: u8) -> Self {
        Self {
            region,
            place,
            addresses: Addresses::default(),
            links: BTreeMap::new(),
            next_look: Duration::ZERO,
        }
    }

    pub(crate) fn region(&self) -> &RegionId {
        &self.region
    }

    pub(crate) fn is_listed(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// Returns whether they lead to this gateway's own region, which comes first in the fleet's list: then
    /// to all gateways, and for health alone.
    pub(crate) fn are_of_siblings(&self) -> bool {
        self.place == 0
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut Link> {
        self.links.get_mut(&number)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Link> {
        self.links.values_mut()
    }

    /// Returns those that something new may be sent over.
    pub(crate) fn usable(&self, purpose: Purpose) -> impl Iterator<Item = (ConnectionId, &Link)> {
        let links = self.links.iter();
        let usable = links.filter(move |(_, link)| link.purpose == purpose && link.is_usable());
        usable.map(|(number, link)| (connection(self.place, *number), link))
    }

    pub(crate) fn round_trip_of(&self, number: u64, now: Duration) -> Duration {
        let link = self.links.get(&number);
        let trip = link.and_then(|link| link.trips.smallest(now));
        trip.unwrap_or_default()
    }

    pub(crate) fn set_addresses(
        &mut self,
        addresses: &[SocketAddr],
        dialler: GatewayId,
        out: &mut Vec<Output>,
    ) {
        self.addresses.set(addresses, dialler);
        self.look_soon();
        self.retire_all_but(addresses, out);
    }

    /// Looks at the next tick whether connections are missing or too many.
    pub(crate) fn look_soon(&mut self) {
        self.next_look = Duration::ZERO;
    }

    pub(crate) fn open(&mut self, number: u64, now: Duration) {
        if let Some(link) = self.links.get_mut(&number) {
            link.open(now);
            self.look_soon();
        }
    }

    /// Forgets a connection that was closed or lost.
    pub(crate) fn lose(&mut self, number: u64, now: Duration, random: &mut fastrand::Rng) {
        let Some(link) = self.links.remove(&number) else {
            return;
        };
        self.look_soon();
        if !link.retired {
            let lasted = link.is_open_for(now);
            self.addresses.lost(link.address, lasted, now, random);
        }
    }

    /// Takes in that a connection leads to this gateway itself, and forgets it.
    pub(crate) fn is_own(&mut self, number: u64) {
        if let Some(link) = self.links.remove(&number) {
            self.addresses.is_own(link.address);
        }
    }

    /// Pings, and closes what is silent.
    pub(crate) fn check(&mut self, dialling: &mut Dialling<'_>) {
        let now = dialling.clock.steady;
        let mut lost = Vec::new();
        for (number, link) in &mut self.links {
            let connection = connection(self.place, *number);
            match link.need(now) {
                Need::Nothing => {}
                Need::Ping => dialling.out.push(Output::Ping { connection }),
                Need::Close => {
                    dialling.out.push(Output::Close { connection });
                    lost.push(*number);
                }
            }
        }
        for number in lost {
            self.lose(number, now, dialling.random);
        }
    }

    /// Opens what is missing, if it is time to look, and retires what is too much. Others are preferred to
    /// addresses whose gateways leave.
    pub(crate) fn dial(
        &mut self,
        leaving: impl Fn(GatewayId) -> bool,
        dialling: &mut Dialling<'_>,
    ) {
        let now = dialling.clock.steady;
        if now < self.next_look {
            return;
        }
        for link in self.links.values() {
            if link.hearing.speaker.is_some_and(&leaving) {
                self.addresses.pass_over(link.address, now);
            }
        }
        let complete = self.dial_missing(dialling);
        self.next_look = if complete { now + LOOKED_AT_EVERY } else { now };
    }

    /// Returns the gateway at an address, once it was heard.
    pub(crate) fn speaker_at(&self, address: SocketAddr) -> Option<GatewayId> {
        let mut links = self.links.values().filter(|link| link.address == address);
        links.find_map(|link| link.hearing.speaker)
    }

    /// Returns whether no connection was missing.
    fn dial_missing(&mut self, dialling: &mut Dialling<'_>) -> bool {
        let now = dialling.clock.steady;
        let targets = self.addresses.targets(self.are_of_siblings(), now);
        let tunnels = match targets.len() {
            _ if self.are_of_siblings() => 0,
            1 => 2,
            _ => 1,
        };
        let mut complete = !targets.is_empty();
        for &(address, may_dial) in &targets {
            for (purpose, wanted) in [(Purpose::Control, 1), (Purpose::Tunnel, tunnels)] {
                let (there, open) = self.count(address, purpose);
                complete &= open >= wanted;
                for _ in there..if may_dial { wanted } else { 0 } {
                    self.dial_one(address, purpose, dialling);
                }
            }
        }
        if complete {
            let targets: Vec<_> = targets.iter().map(|(address, _)| *address).collect();
            self.retire_all_but(&targets, dialling.out);
        }
        complete
    }

    /// Returns how many connections there are, and how many of them are open.
    fn count(&self, address: SocketAddr, purpose: Purpose) -> (usize, usize) {
        let links = self.links.values();
        let those =
            links.filter(|it| (it.address, it.purpose, it.retired) == (address, purpose, false));
        let open = those.clone().filter(|link| link.is_open()).count();
        (those.count(), open)
    }

    fn dial_one(&mut self, address: SocketAddr, purpose: Purpose, dialling: &mut Dialling<'_>) {
        *dialling.last += 1;
        let number = *dialling.last;
        let link = Link::new(address, purpose, dialling.clock.steady);
        self.links.insert(number, link);
        dialling.out.push(Output::Dial {
            connection: connection(self.place, number),
            region: self.region.clone(),
            address,
            purpose,
        });
    }

    /// Retires the connections to all but some addresses; those that never opened are closed.
    fn retire_all_but(&mut self, kept: &[SocketAddr], out: &mut Vec<Output>) {
        let place = self.place;
        self.links.retain(|number, link| {
            if link.retired || kept.contains(&link.address) {
                return true;
            }
            let connection = connection(place, *number);
            link.retired = true;
            out.push(if link.is_open() {
                Output::Retire { connection }
            } else {
                Output::Close { connection }
            });
            link.is_open()
        });
    }
}

fn connection(region: u8, number: u64) -> ConnectionId {
    ConnectionId { region, number }
}
