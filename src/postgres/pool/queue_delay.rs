//! Whether it is worth waiting for a connection: how fast waiting requests get theirs.
//!
//! By Little's law (1961: W = L / λ) a queued request waits for as many departures as there are
//! requests before it, at the rate of the departures. The rate is measured, not derived from how
//! long requests take: under load that says more about the machine than about the queue. It is
//! measured only while all connections are busy, and for a minimum time, so that neither the start
//! of a burst nor a hiccup is mistaken for a server that has stopped: refusing a request that would
//! have been served is worse than letting one wait in vain. (RFC 8289, on controlled delay,
//! likewise observes a whole interval before it drops anything.)

use std::time::Duration;

use tokio::time::Instant;

/// The shortest measurement before any request is refused: long enough that a stall of a tenth of a
/// second, as in a container that has used up its CPU share, does not halve the measured rate.
/// After twice this time only the new rate counts.
const WINDOW: Duration = Duration::from_millis(250);

/// The same as a part of the time that a request may wait: a pause that is short beside it says nothing about it.
const PATIENCE_PART: u32 = 6;

/// How fast connections are released while none is idle.
#[derive(Debug, Default)]
pub(super) struct QueueDelay {
    busy: Option<Busy>,
}

/// A period in which all connections were busy, counted in two windows.
#[derive(Debug)]
struct Busy {
    window: Duration,
    earlier_since: Instant,
    earlier: u32,
    since: Instant,
    departures: u32,
}

impl QueueDelay {
    /// Records that a connection was returned or closed.
    pub(super) fn depart(&mut self, now: Instant) {
        if let Some(busy) = &mut self.busy {
            busy.turn(now);
            busy.departures = busy.departures.saturating_add(1);
        }
    }

    /// Records that there are idle connections.
    pub(super) fn relax(&mut self) {
        self.busy = None;
    }

    /// Lets one more request wait for a connection, behind `waiting` others, if it will get one
    /// within `patience`; records that all `connections` are busy.
    ///
    /// A queue that is no longer than the number of connections always accepts one more: each
    /// connection is about to be released, and some request must detect when a stalled server
    /// recovers.
    ///
    /// # Errors
    /// The time after which it would be its turn.
    pub(super) fn admit(
        &mut self,
        waiting: usize,
        connections: usize,
        patience: Duration,
        now: Instant,
    ) -> Result<(), Duration> {
        let busy = self.busy.get_or_insert_with(|| Busy::begin(now));
        busy.window = WINDOW.max(patience / PATIENCE_PART);
        busy.turn(now);
        match busy.wait(waiting, now) {
            Some(wait) if waiting >= connections && wait > patience => Err(wait),
            _ => Ok(()),
        }
    }
}

impl Busy {
    fn begin(now: Instant) -> Self {
        Self {
            window: WINDOW,
            earlier_since: now,
            earlier: 0,
            since: now,
            departures: 0,
        }
    }

    /// Begins a new window when the current one is long enough.
    fn turn(&mut self, now: Instant) {
        if now.duration_since(self.since) >= self.window {
            self.earlier_since = std::mem::replace(&mut self.since, now);
            self.earlier = std::mem::take(&mut self.departures);
        }
    }

    /// How long one more would wait, once enough has been measured. One more departure is assumed to be
    /// imminent, so that a single slow one does not stand for all that follow.
    fn wait(&self, waiting: usize, now: Instant) -> Option<Duration> {
        let seen = now.duration_since(self.earlier_since);
        let departures = self.earlier.saturating_add(self.departures);
        let departures = departures.saturating_add(1);
        let turns = u32::try_from(waiting).unwrap_or(u32::MAX);
        let turns = f64::from(turns.saturating_add(1));
        let wait = seen.as_secs_f64() * turns / f64::from(departures);
        (seen >= self.window).then(|| Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const PATIENCE: Duration = Duration::from_millis(1_500);
    const CONNECTIONS: usize = 16;

    /// A node that serves in virtual milliseconds, and the queue for its connections.
    struct Simulated {
        pace: QueueDelay,
        start: Instant,
        now: u32,
        /// When each request in service is done.
        ends: Vec<u32>,
        /// When each waiting request arrived.
        queue: VecDeque<u32>,
        waits: Vec<u32>,
        refused: u32,
    }

    impl Simulated {
        fn new() -> Self {
            Self {
                pace: QueueDelay::default(),
                start: Instant::now(),
                now: 0,
                ends: Vec::new(),
                queue: VecDeque::new(),
                waits: Vec::new(),
                refused: 0,
            }
        }

        fn instant(&self) -> Instant {
            self.start + self.now * MS
        }

        fn arrive(&mut self) {
            if self.ends.len() < CONNECTIONS {
                self.pace.relax();
            } else {
                let (waiting, now) = (self.queue.len(), self.instant());
                if self
                    .pace
                    .admit(waiting, CONNECTIONS, PATIENCE, now)
                    .is_err()
                {
                    self.refused += 1;
                    return;
                }
            }
            self.queue.push_back(self.now);
        }

        /// Advances by a millisecond; nothing moves while the node is `stalled`.
        fn tick(&mut self, mut service_ms: impl FnMut() -> u32, stalled: bool) {
            self.now += 1;
            let now = self.now;
            if stalled {
                self.ends.iter_mut().for_each(|end| *end += 1);
            }
            let before = self.ends.len();
            self.ends.retain(|end| *end > now);
            for _ in self.ends.len()..before {
                self.pace.depart(self.instant());
            }
            while self.ends.len() < CONNECTIONS
                && let Some(came) = self.queue.pop_front()
            {
                self.waits.push(now - came);
                self.ends.push(now + service_ms());
            }
        }
    }

    proptest! {
        /// No burst that can be served with time to spare is refused, hiccup or not.
        #[test]
        fn a_burst_that_is_soon_served_is_let_in(
            requests in 1_usize..3_000,
            over_ms in 1_usize..300,
            service_ms in 1_u32..20,
            hiccup_at in 0_u32..500,
            hiccup_ms in 0_u32..100,
        ) {
            let work = requests as u32 * service_ms / CONNECTIONS as u32;
            prop_assume!(work < 700);
            let mut node = Simulated::new();
            let mut sent = 0;
            while sent < requests || !node.queue.is_empty() {
                for _ in 0..(requests - sent).min(requests / over_ms + 1) {
                    node.arrive();
                    sent += 1;
                }
                let stalled = (hiccup_at..hiccup_at + hiccup_ms).contains(&node.now);
                node.tick(|| service_ms, stalled);
            }
            prop_assert_eq!(node.refused, 0);
        }

        /// Under overload a node works at full capacity, and no admitted request waits much longer
        /// than its patience.
        #[test]
        fn lasting_overload_is_refused_and_the_rest_is_served_in_time(
            service_ms in 4_u32..60,
            times_over in 2_u32..6,
            seed: u64,
        ) {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut node = Simulated::new();
            let per_second = CONNECTIONS as u32 * 1_000 / service_ms;
            let mut due = 0;
            for _ in 0..10_000 {
                due += per_second * times_over;
                while due >= 1_000 {
                    due -= 1_000;
                    node.arrive();
                }
                node.tick(|| random.u32(service_ms / 2..=service_ms * 3 / 2), false);
            }
            let served = node.waits.len() as u32;
            prop_assert!(served > per_second * 9, "{served} of {per_second}/s");
            prop_assert!(node.refused > per_second);
            let longest = node.waits.iter().max().unwrap();
            prop_assert!(*longest < 2_200, "{longest}");
        }
    }

    #[test]
    fn a_stall_is_seen_soon_keeps_a_short_queue_and_is_forgotten_soon() {
        let mut node = Simulated::new();
        let mut step = |stalled: bool, ms: u32| {
            let refused = node.refused;
            for _ in 0..ms {
                node.arrive(); // 1,000 a second, of a possible 8,000
                node.tick(|| 2, stalled);
            }
            (node.refused - refused, node.queue.len())
        };
        assert_eq!(step(false, 1_000), (0, 0));
        let (refused, waiting) = step(true, 1_000);
        assert!(
            refused >= 700,
            "all but those of the first moments: {refused}"
        );
        assert!(waiting <= 300, "{waiting}");
        let (refused, waiting) = step(true, 9_000);
        assert_eq!((refused, waiting), (9_000, waiting), "no request joins");
        let (refused, _) = step(false, 1_000);
        assert!(refused <= 300, "{refused}");
        assert_eq!(step(false, 1_000), (0, 0));
    }

    #[test]
    fn the_wait_is_the_queue_over_the_pace() {
        let start = Instant::now();
        let mut pace = QueueDelay::default();
        let mut admit = |waiting, patience, at: u32, departures| {
            let now = start + at * MS;
            let admitted = pace.admit(waiting, 1, patience, now);
            (0..departures).for_each(|_| pace.depart(now));
            admitted
        };
        // The fiftieth is imminent.
        assert_eq!(admit(99, MS, 0, 49), Ok(()), "nothing is known yet");
        assert_eq!(admit(99, MS, 249, 0), Ok(()));
        assert_eq!(admit(99, MS, 250, 0), Err(500 * MS), "100 turns of 5 ms");
        assert_eq!(admit(99, 500 * MS, 250, 0), Ok(()));
        assert_eq!(admit(0, Duration::ZERO, 250, 0), Ok(()), "a short queue");
        let patient = 6_000 * MS;
        assert_eq!(
            admit(1_999, patient, 999, 0),
            Ok(()),
            "a pause is short to it"
        );
        let after = admit(1_999, patient, 1_000, 0);
        assert_eq!(after, Err(40_000 * MS), "2,000 turns of 20 ms");
        assert_eq!(admit(usize::MAX, Duration::MAX, 250, 0), Ok(()));
    }
}
