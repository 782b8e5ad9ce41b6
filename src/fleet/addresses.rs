//! Which of a region's gateways are dialled, and when again.
//!
//! The two of another region that come first by rendezvous hashing of this gateway's id and the address:
//! each gateway has its own two, so that a region's are watched evenly. Of its own region all.

use std::cmp::Reverse;
use std::hash::Hasher;
use std::net::SocketAddr;
use std::time::Duration;

use siphasher::sip::SipHasher24;

use crate::gateway_id::GatewayId;
use crate::gateways::GATEWAYS_MAX;

/// Gateways of another region that are dialled.
const DIALLED: usize = 2;

/// An address that was lost is passed over for so long while there is another.
const PASSED_OVER: Duration = Duration::from_secs(60);

/// The wait before an address is dialled again: a random part of this, doubling.
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(5);

/// A connection that lasted for this long was a good one: its loss begins a new count.
pub(crate) const LASTED: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses(Vec<Address>);

/// An address to be connected with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) may_dial: bool,
    /// It was lost within the last minute.
    pub(crate) failed: bool,
}

#[derive(Clone, Debug)]
struct Address {
    address: SocketAddr,
    rank: u64,
    /// Lost ones come after all others until then.
    passed_over: Duration,
    next_dial: Duration,
    /// Losses in a row.
    losses: u32,
    /// It leads to this gateway.
    own: bool,
}

impl Addresses {
    /// Takes what a region's names resolve to now; what is known of an address stays.
    pub(crate) fn set(&mut self, addresses: &[SocketAddr], dialler: GatewayId) {
        let old = std::mem::take(&mut self.0);
        for address in addresses {
            let has = |list: &[Address]| list.iter().position(|it| it.address == *address);
            if self.0.len() == GATEWAYS_MAX || has(&self.0).is_some() {
                continue;
            }
            let known = has(&old).map(|at| old[at].clone());
            self.0
                .push(known.unwrap_or_else(|| Address::new(*address, dialler)));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the addresses to be connected with.
    pub(crate) fn targets(&self, siblings: bool, now: Duration) -> Vec<Target> {
        let mut targets: Vec<_> = self.0.iter().filter(|it| !it.own).collect();
        if !siblings {
            targets.sort_by_key(|it| (it.passed_over > now, Reverse(it.rank)));
            targets.truncate(DIALLED);
        }
        let targets = targets.into_iter();
        let target = |it: &Address| Target {
            address: it.address,
            may_dial: it.next_dial <= now,
            failed: it.passed_over > now,
        };
        targets.map(target).collect()
    }

    /// Takes in that a connection was lost, or did not open; `lasted` is how long it was open.
    pub(crate) fn lost(
        &mut self,
        address: SocketAddr,
        lasted: Option<Duration>,
        now: Duration,
        random: &mut fastrand::Rng,
    ) {
        let Some(address) = self.0.iter_mut().find(|it| it.address == address) else {
            return;
        };
        address.passed_over = now + PASSED_OVER;
        if lasted.is_some_and(|lasted| lasted >= LASTED) {
            address.losses = 0;
        }
        let wait = WAIT_MIN.saturating_mul(1 << address.losses.min(10));
        address.next_dial = now + wait.min(WAIT_MAX).mul_f64(random.f64());
        address.losses += 1;
    }

    /// Passes an address over while there is another: its gateway leaves.
    pub(crate) fn pass_over(&mut self, address: SocketAddr, now: Duration) {
        for it in self.0.iter_mut().filter(|it| it.address == address) {
            it.passed_over = now + PASSED_OVER;
        }
    }

    /// Takes in that an address leads to this gateway.
    pub(crate) fn is_own(&mut self, address: SocketAddr) {
        for it in self.0.iter_mut().filter(|it| it.address == address) {
            it.own = true;
        }
    }
}

impl Address {
    fn new(address: SocketAddr, dialler: GatewayId) -> Self {
        let mut hasher = SipHasher24::new_with_keys(dialler.0, 0);
        match address {
            SocketAddr::V4(it) => hasher.write(&it.ip().octets()),
            SocketAddr::V6(it) => hasher.write(&it.ip().octets()),
        }
        hasher.write_u16(address.port());
        Self {
            address,
            rank: hasher.finish(),
            passed_over: Duration::ZERO,
            next_dial: Duration::ZERO,
            losses: 0,
            own: false,
        }
    }
}
