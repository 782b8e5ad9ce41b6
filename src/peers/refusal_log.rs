//! Which refusals of peers are logged: a gateway that is refused is dialled, or dials, again and again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_telemetry::Throttle;
use tokio::time::Instant;

/// That an address is refused for a reason is said so often.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Most pairs of an address and a reason with a line of their own; all others share one.
const KINDS_MAX: usize = 1_024;

/// What was logged last, shared by all connections.
#[derive(Clone, Debug, Default)]
pub(super) struct RefusalLog(Arc<Mutex<Refusals>>);

#[derive(Debug)]
struct Refusals {
    of_kind: HashMap<(IpAddr, &'static str), Throttle>,
    others: Throttle,
}

impl RefusalLog {
    /// Returns how many refusals were not logged since the last one that was, if this one is to be.
    pub(super) fn pass(&self, address: IpAddr, reason: &'static str) -> Option<u64> {
        let mut refusals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.pass((address, reason), Instant::now())
    }
}

impl Refusals {
    fn pass(&mut self, kind: (IpAddr, &'static str), now: Instant) -> Option<u64> {
        let is_known = self.of_kind.contains_key(&kind);
        if !is_known && self.of_kind.len() >= KINDS_MAX {
            self.of_kind.retain(|_, throttle| !throttle.is_open(now));
        }
        if !is_known && self.of_kind.len() >= KINDS_MAX {
            return self.others.pass(now);
        }
        let throttle = self.of_kind.entry(kind);
        let throttle = throttle.or_insert_with(|| Throttle::new(SAID_EVERY));
        throttle.pass(now)
    }
}

impl Default for Refusals {
    fn default() -> Self {
        Self {
            of_kind: HashMap::new(),
            others: Throttle::new(SAID_EVERY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn a_refusal_is_logged_once_a_minute_for_each_address_and_reason() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        assert_eq!(refusals.pass((address(1), "expired"), start), Some(0));
        assert_eq!(refusals.pass((address(1), "expired"), start), None);
        assert_eq!(refusals.pass((address(1), "revoked"), start), Some(0));
        assert_eq!(refusals.pass((address(2), "expired"), start), Some(0));
        let later = start + SAID_EVERY;
        assert_eq!(refusals.pass((address(1), "expired"), later), Some(1));
    }

    #[test]
    fn refusals_of_more_addresses_than_are_kept_share_a_line() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        let logged = (0..2_000).filter_map(|at| refusals.pass((address(at), "none"), start));
        assert_eq!(logged.count(), KINDS_MAX + 1);
        assert_eq!(refusals.of_kind.len(), KINDS_MAX);
        let later = start + SAID_EVERY;
        assert_eq!(refusals.pass((address(5_000), "none"), later), Some(0));
        assert_eq!(refusals.of_kind.len(), 1);
    }
}
