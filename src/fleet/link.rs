//! A connection to a gateway, and whether anything still comes back on it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::hearing::Hearing;
use crate::round_trips::RoundTrips;

/// A dial takes no longer.
const DIAL_MAX: Duration = Duration::from_secs(5);

const PING_EVERY: Duration = Duration::from_millis(250);

/// How long nothing at all may come back after a ping: four of the smallest round trips or two of the longest of
/// the last seconds, which a busy machine on the way makes long before it makes silence; within these.
const SILENCE_MIN: Duration = Duration::from_secs(1);
const SILENCE_MAX: Duration = Duration::from_secs(3);
const SILENCE_ROUND_TRIPS: u32 = 4;
const SILENCE_LONGEST: u32 = 2;

/// With every round trip the longest one counts for so much less: half after about five seconds.
const LONGEST_FADES: f64 = 31.0 / 32.0;

/// A connection that this gateway has dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    pub(crate) region: u8,
    pub(crate) number: u64,
}

/// What a connection is for: bodies never stand before health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// `Watch`, probes and `Drain`.
    Control,
    /// Requests.
    Tunnel,
}

#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) address: SocketAddr,
    pub(crate) purpose: Purpose,
    pub(crate) retired: bool,
    /// Whether another is to take its place.
    pub(crate) replaced: Option<Replacement>,
    pub(crate) trips: RoundTrips,
    /// The longest round trip, which fades.
    longest: Duration,
    /// What is heard on a control connection.
    pub(crate) hearing: Hearing,
    /// When it was dialled, then when it opened.
    since: Duration,
    open: bool,
    /// When the ping was sent that is not answered yet.
    pinged: Option<Duration>,
    next_ping: Duration,
    /// When anything was last read.
    heard: Duration,
}

/// When a connection is made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Replacement {
    /// From when on its successor is dialled.
    pub(crate) due: Duration,
    /// When it ends without one.
    pub(crate) last: Duration,
    /// Whether it ends, too, when a successor could not be opened.
    pub(crate) is_urgent: bool,
}

/// What a link needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Nothing,
    Ping,
    /// It does not open, or nothing comes back.
    Close,
}

impl Link {
    pub(crate) fn new(address: SocketAddr, purpose: Purpose, now: Duration) -> Self {
        Self {
            address,
            purpose,
            retired: false,
            replaced: None,
            trips: RoundTrips::default(),
            longest: Duration::ZERO,
            hearing: Hearing::new(now),
            since: now,
            open: false,
            pinged: None,
            next_ping: now,
            heard: now,
        }
    }

    pub(crate) fn open(&mut self, now: Duration) {
        self.open = true;
        self.since = now;
        self.heard = now;
        self.next_ping = now;
        self.hearing.heard = now;
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Returns whether something new may be sent over it.
    pub(crate) fn is_usable(&self) -> bool {
        self.open && !self.retired
    }

    /// Returns whether a successor is wanted now.
    pub(crate) fn is_old(&self, now: Duration) -> bool {
        self.replaced.is_some_and(|it| now >= it.due)
    }

    pub(crate) fn is_open_for(&self, now: Duration) -> Option<Duration> {
        self.open.then(|| now.saturating_sub(self.since))
    }

    pub(crate) fn hear(&mut self, now: Duration) {
        self.heard = now;
    }

    pub(crate) fn pong(&mut self, now: Duration) {
        self.heard = now;
        if let Some(sent) = self.pinged.take() {
            let trip = now.saturating_sub(sent);
            self.trips.add(trip, now);
            self.longest = trip.max(self.longest.mul_f64(LONGEST_FADES));
        }
    }

    /// Returns what the link needs now.
    ///
    /// One ping is under way at a time, as HTTP/2 libraries have it: with round trips above 250 ms they
    /// are sent less often.
    pub(crate) fn need(&mut self, now: Duration) -> Need {
        if !self.open {
            let late = now.saturating_sub(self.since) >= DIAL_MAX;
            return if late { Need::Close } else { Need::Nothing };
        }
        if self.purpose == Purpose::Control && self.hearing.is_silent(now) {
            return Need::Close;
        }
        // Nothing new is sent over it, pings either, so that its silence says nothing: HTTP/2's own pings do.
        if self.retired {
            return Need::Nothing;
        }
        match self.pinged {
            Some(sent) if now.saturating_sub(sent.max(self.heard)) >= self.silence_max(now) => {
                Need::Close
            }
            // Other bytes arrive: the ping alone was lost.
            Some(sent) if now.saturating_sub(sent) >= SILENCE_MAX => self.ping(now),
            None if now >= self.next_ping => self.ping(now),
            _ => Need::Nothing,
        }
    }

    fn ping(&mut self, now: Duration) -> Need {
        self.pinged = Some(now);
        self.next_ping = now + PING_EVERY;
        Need::Ping
    }

    fn silence_max(&self, now: Duration) -> Duration {
        let smallest = self.trips.smallest(now).unwrap_or_default();
        let of_longest = self.longest * SILENCE_LONGEST;
        (smallest * SILENCE_ROUND_TRIPS)
            .max(of_longest)
            .clamp(SILENCE_MIN, SILENCE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns after how long without a byte a link is given up whose last pings took so long.
    fn given_up_after(trips: &[u64]) -> Duration {
        let address = SocketAddr::from(([10, 0, 0, 1], 1));
        let mut link = Link::new(address, Purpose::Tunnel, Duration::ZERO);
        link.open(Duration::ZERO);
        let mut now = Duration::ZERO;
        for trip in trips {
            now += PING_EVERY;
            assert_eq!(link.need(now), Need::Ping);
            now += Duration::from_millis(*trip);
            link.pong(now);
        }
        now += PING_EVERY;
        assert_eq!(link.need(now), Need::Ping);
        let steps = (0..).map(|step| Duration::from_millis(step * 50));
        { steps }
            .find(|silent| link.need(now + *silent) == Need::Close)
            .unwrap()
    }

    #[test]
    fn a_link_whose_answers_have_taken_long_is_given_more_time() {
        let millis = Duration::from_millis;
        assert_eq!(given_up_after(&[80; 8]), millis(1_000));
        assert_eq!(given_up_after(&[300; 8]), millis(1_200));
        assert_eq!(given_up_after(&[80, 700]), millis(1_400));
        assert_eq!(given_up_after(&[80, 700, 80, 80]), millis(1_350));
        assert_eq!(given_up_after(&[80, 2_000]), millis(3_000));
        let calm = [&[700][..], &[80; 40]].concat();
        assert_eq!(given_up_after(&calm), millis(1_000));
    }
}
