//! The connections to a region's gateways: which there are to be, and which there are.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tidegate_model::RegionId;

use crate::addresses::{Addresses, LASTED, Target};
use crate::clock::Clock;
use crate::gateway_id::GatewayId;
use crate::link::{ConnectionId, Link, Need, Purpose, Replacement};
use crate::output::Output;

/// Where no connection is missing, it is looked at this often whether another is to be preferred.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);

/// Tunnels to a region that are always open.
pub const TUNNELS: usize = 2;

/// With as many more as are needed there are at most so many.
pub const TUNNELS_MAX: usize = 8;

/// The tunnels that were needed besides are kept for so long after more than the usual ones last were.
const CROWDED_FOR: Duration = Duration::from_secs(60);

/// After a renewal, connections are made anew one after the other within the first time; what has no
/// successor by the second one ends.
const RENEWED_WITHIN: Duration = Duration::from_secs(30);
const RENEWED_AT_LAST: Duration = Duration::from_secs(55);

/// How long a connection to a peer that is no longer vouched for waits for its successor.
const UNVERIFIED_MAX: Duration = Duration::from_secs(4);

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
    /// Tunnels that are wanted besides, and when as many as are always open were last crowded.
    extra: usize,
    crowded: Duration,
    /// Connections that are wanted and wait to be dialled.
    missing: usize,
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
            extra: 0,
            crowded: Duration::ZERO,
            missing: 0,
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

    /// Returns how many connections are wanted and wait to be dialled.
    pub(crate) fn missing(&self) -> usize {
        self.missing
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

    /// Forgets a connection that was closed or lost, or that its peer has ended `in_order`.
    pub(crate) fn lose(
        &mut self,
        number: u64,
        in_order: bool,
        now: Duration,
        random: &mut fastrand::Rng,
    ) {
        let Some(link) = self.links.remove(&number) else {
            return;
        };
        self.look_soon();
        if !link.is_open() {
            self.end_predecessor(&link, now);
        }
        let lasted = link.is_open_for(now);
        // A peer that ends every connection at once is not dialled without a wait either.
        let was_good = in_order && lasted.is_some_and(|lasted| lasted >= LASTED);
        if !link.retired && !was_good {
            self.addresses.lost(link.address, lasted, now, random);
        }
    }

    /// A successor could not be opened: what cannot wait for another one ends.
    fn end_predecessor(&mut self, failed: &Link, now: Duration) {
        let same = |it: &&mut Link| (it.address, it.purpose) == (failed.address, failed.purpose);
        for link in self.links.values_mut().filter(same) {
            if let Some(replaced) = link.replaced.as_mut().filter(|it| it.is_urgent) {
                replaced.last = now;
            }
        }
    }

    /// Has every connection made anew within a minute, the first of `count` in the fleet after `before`
    /// others. Returns how many there are.
    pub(crate) fn renew(&mut self, before: usize, count: usize, now: Duration) -> usize {
        for (at, link) in self.links.values_mut().enumerate() {
            let due = RENEWED_WITHIN * (before + at) as u32 / count.max(1) as u32;
            link.replaced = Some(Replacement {
                due: now + due,
                last: now + RENEWED_AT_LAST,
                is_urgent: false,
            });
        }
        self.links.len()
    }

    /// Has a connection made anew at once, since its peer's certificate counts no more.
    pub(crate) fn replace(&mut self, number: u64, now: Duration) {
        if let Some(link) = self.links.get_mut(&number) {
            link.replaced = Some(Replacement {
                due: now,
                last: now + UNVERIFIED_MAX,
                is_urgent: true,
            });
            self.look_soon();
        }
    }

    /// Takes in that as many tunnels as are always open are crowded, or `all` are: then one more is opened if
    /// all that are wanted are open.
    pub(crate) fn crowd(&mut self, all: bool, now: Duration) {
        self.crowded = now;
        let open = self.usable(Purpose::Tunnel).count();
        if all && open >= TUNNELS + self.extra && open < TUNNELS_MAX {
            self.extra += 1;
            self.look_soon();
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
            self.lose(number, false, now, dialling.random);
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
        if now.saturating_sub(self.crowded) >= CROWDED_FOR {
            self.extra = 0;
        }
        let overdue = |link: &Link| link.replaced.is_some_and(|it| now >= it.last);
        self.retire(overdue, dialling.out);
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
        let tunnels = match self.are_of_siblings() {
            true => 0,
            false => TUNNELS + self.extra,
        };
        self.missing = 0;
        let mut complete = !targets.is_empty();
        let shares = self.shares(tunnels, &targets);
        for (target, tunnels) in targets.iter().zip(shares) {
            let address = target.address;
            for (purpose, wanted) in [(Purpose::Control, 1), (Purpose::Tunnel, tunnels)] {
                let (there, open) = self.count(address, purpose, now);
                complete &= open >= wanted;
                for _ in there..wanted {
                    match target.may_dial {
                        true => self.dial_one(address, purpose, dialling),
                        false => self.missing += 1,
                    }
                }
                if open >= wanted {
                    self.retire_surplus((address, purpose), wanted, now, dialling.out);
                }
            }
        }
        if complete {
            let targets: Vec<_> = targets.iter().map(|it| it.address).collect();
            self.retire_all_but(&targets, dialling.out);
        }
        complete
    }

    /// Divides tunnels among targets as evenly as they can be; one that was lost and is not open again gets
    /// none while there is another.
    fn shares(&self, tunnels: usize, targets: &[Target]) -> Vec<usize> {
        let serves = |target: &Target| {
            let mut links = self.links.values();
            !target.failed || links.any(|it| it.address == target.address && it.is_open())
        };
        let serve: Vec<_> = targets.iter().map(serves).collect();
        let any = serve.contains(&true);
        let serve: Vec<_> = serve.into_iter().map(|it| it || !any).collect();
        let count = serve.iter().filter(|it| **it).count();
        let mut places = 0..count;
        let shares = serve.iter().map(|serves| match serves {
            true => places
                .next()
                .map_or(0, |at| (tunnels + count - 1 - at) / count),
            false => 0,
        });
        shares.collect()
    }

    /// Returns how many connections there are that no other is to take the place of, and how many of them
    /// are open.
    fn count(&self, address: SocketAddr, purpose: Purpose, now: Duration) -> (usize, usize) {
        let links = self.links.values();
        let those =
            links.filter(|it| (it.address, it.purpose, it.retired) == (address, purpose, false));
        let those = those.filter(|it| !it.is_old(now));
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

    /// Retires the connections that have successors, and of the others the newest that are too many.
    fn retire_surplus(
        &mut self,
        those: (SocketAddr, Purpose),
        wanted: usize,
        now: Duration,
        out: &mut Vec<Output>,
    ) {
        let mut room = wanted;
        self.retire(
            |link| {
                if (link.address, link.purpose) != those {
                    return false;
                }
                let stays = !link.is_old(now) && room > 0;
                room -= usize::from(stays && link.is_open());
                !stays
            },
            out,
        );
    }

    fn retire_all_but(&mut self, kept: &[SocketAddr], out: &mut Vec<Output>) {
        self.retire(|link| !kept.contains(&link.address), out);
    }

    /// Retires connections, which are looked at from the oldest on; those that never opened are closed.
    fn retire(&mut self, mut which: impl FnMut(&Link) -> bool, out: &mut Vec<Output>) {
        let place = self.place;
        self.links.retain(|number, link| {
            if link.retired || !which(link) {
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
