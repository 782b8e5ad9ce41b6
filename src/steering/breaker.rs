//! A circuit breaker: closed while a node works, open while it does not, half-open for one probe.

use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row that open it. Broken connections beyond those of a restart would be served by
/// the next node anyway.
const CONSECUTIVE_MAX: u32 = 5;

/// The window over which the failure rate is computed, in steps of a second.
const WINDOW_STEPS: usize = 10;
const WINDOW_STEP: Duration = Duration::from_secs(1);
/// Fewest reports from which a rate is computed.
const SAMPLES_MIN: u32 = 20;
/// The failure rate that opens it, in per cent.
const FAILURE_PERCENT: u32 = 50;

/// First pause before a probe; each failed one doubles it.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Time after which a probe whose outcome was never reported no longer blocks others.
const PROBE_MAX: Duration = Duration::from_secs(10);

/// The state of a breaker, in the usual words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// Requests pass.
    Closed,
    /// Requests do not pass.
    Open,
    /// One request may pass, or is under way, as a probe.
    HalfOpen,
}

impl BreakerState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// Returns the name in metrics, logs and `/admin/topology`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Breaker {
    state: State,
    window: Window,
    consecutive: u32,
    /// Pauses since the node was last trusted, each twice as long as the one before.
    pauses: u32,
    /// The seed of the random part of every pause.
    seed: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    Open { until: Instant },
    HalfOpen { until: Instant },
}

impl Breaker {
    pub(super) fn new(now: Instant, seed: u64) -> Self {
        Self {
            state: State::Closed,
            window: Window::new(now),
            consecutive: 0,
            pauses: 0,
            seed,
        }
    }

    pub(super) fn state(&self, now: Instant) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { until } if now < until => BreakerState::Open,
            State::Open { .. } | State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Returns whether a probe may be sent.
    pub(super) fn is_probe_due(&self, now: Instant) -> bool {
        match self.state {
            State::Closed => false,
            State::Open { until } | State::HalfOpen { until } => now >= until,
        }
    }

    /// Returns when the answer to [`Breaker::is_probe_due`] changes by itself.
    pub(super) fn changes_at(&self) -> Option<Instant> {
        match self.state {
            State::Closed => None,
            State::Open { until } | State::HalfOpen { until } => Some(until),
        }
    }

    /// Grants one probe if one is due.
    pub(super) fn claim_probe(&mut self, now: Instant) -> bool {
        let due = self.is_probe_due(now);
        if due {
            let until = now + PROBE_MAX;
            self.state = State::HalfOpen { until };
        }
        due
    }

    pub(super) fn succeed(&mut self, now: Instant) {
        self.consecutive = 0;
        match self.state {
            State::Closed => self.window.add(now, false),
            // A request that was sent before it opened says nothing about the node's current state.
            State::Open { until } if now < until => {}
            State::Open { .. } | State::HalfOpen { .. } => {
                self.state = State::Closed;
                self.window = Window::new(now);
            }
        }
    }

    pub(super) fn fail(&mut self, now: Instant) {
        match self.state {
            State::Closed => {
                self.consecutive = self.consecutive.saturating_add(1);
                self.window.add(now, true);
                if self.consecutive >= CONSECUTIVE_MAX || self.window.is_failing() {
                    self.open(now);
                }
            }
            State::Open { .. } => {}
            State::HalfOpen { .. } => self.open(now),
        }
    }

    /// Opens a closed breaker regardless of the counts.
    pub(super) fn trip(&mut self, now: Instant) {
        if matches!(self.state, State::Closed) {
            self.open(now);
        }
    }

    /// Records that the node has worked well for long enough: the next pause is a first one.
    pub(super) fn trust(&mut self) {
        self.pauses = 0;
    }

    fn open(&mut self, now: Instant) {
        self.pauses = self.pauses.saturating_add(1);
        self.consecutive = 0;
        let until = now + self.pause();
        self.state = State::Open { until };
    }

    /// Doubles up to the maximum; up to a quarter of each is random, so that processes that lost a
    /// node at the same time do not return to it at the same time.
    fn pause(&self) -> Duration {
        let doublings = self.pauses.saturating_sub(1);
        let pause = PAUSE_FIRST.saturating_mul(2_u32.saturating_pow(doublings));
        let random = random(self.seed.wrapping_add(u64::from(self.pauses)));
        pause.min(PAUSE_MAX).mul_f64(1.0 - random / 4.0)
    }
}

/// A number from 0 to 1 by `SplitMix64` (Steele, Lea and Flood, 2014).
fn random(seed: u64) -> f64 {
    let mut mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^= mixed >> 31;
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

/// Reports of the last seconds: a ring of counts.
#[derive(Clone, Debug)]
struct Window {
    steps: [Step; WINDOW_STEPS],
    started: Instant,
    /// Steps since `started`, of the newest report.
    newest: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Step {
    reports: u32,
    failures: u32,
}

impl Window {
    fn new(now: Instant) -> Self {
        Self {
            steps: [Step::default(); WINDOW_STEPS],
            started: now,
            newest: 0,
        }
    }

    fn add(&mut self, now: Instant, failed: bool) {
        let step = now.saturating_duration_since(self.started).as_secs() / WINDOW_STEP.as_secs();
        let passed = step.saturating_sub(self.newest).min(WINDOW_STEPS as u64);
        for old in 0..passed {
            self.steps[ring_index(step - old)] = Step::default();
        }
        self.newest = self.newest.max(step);
        let step = &mut self.steps[ring_index(self.newest)];
        step.reports = step.reports.saturating_add(1);
        step.failures = step.failures.saturating_add(u32::from(failed));
    }

    fn is_failing(&self) -> bool {
        let sum = |count: fn(&Step) -> u32| self.steps.iter().map(count).sum::<u32>();
        let (reports, failures) = (sum(|step| step.reports), sum(|step| step.failures));
        reports >= SAMPLES_MIN && failures * 100 >= reports * FAILURE_PERCENT
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a remainder below ten")]
fn ring_index(step: u64) -> usize {
    (step % WINDOW_STEPS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(now, 7);
        breaker.trip(now);
        assert_eq!(breaker.state(now), BreakerState::Open);
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now, 7);
        for _ in 1..CONSECUTIVE_MAX {
            breaker.fail(now);
        }
        breaker.succeed(now);
        for _ in 1..CONSECUTIVE_MAX {
            breaker.fail(now);
        }
        assert_eq!(breaker.state(now), BreakerState::Closed);
        breaker.fail(now);
        assert_eq!(breaker.state(now), BreakerState::Open);
    }

    #[test]
    fn half_of_enough_reports_failing_opens_it_and_of_too_few_does_not() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now, 7);
        for _ in 0..SAMPLES_MIN / 2 - 1 {
            breaker.succeed(now);
            breaker.fail(now);
        }
        assert_eq!(breaker.state(now), BreakerState::Closed);
        breaker.succeed(now);
        breaker.fail(now);
        assert_eq!(breaker.state(now), BreakerState::Open);
    }

    #[test]
    fn old_failures_are_forgotten() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(now, 7);
        for _ in 0..10 * SAMPLES_MIN {
            breaker.fail(now);
            breaker.succeed(now);
            breaker.succeed(now);
            now += 4 * SECOND;
        }
        assert_eq!(breaker.state(now), BreakerState::Closed);
    }

    #[test]
    fn exactly_one_probe_passes_and_decides() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert!(!breaker.claim_probe(now));
        let due = breaker.changes_at().unwrap();
        assert_eq!(breaker.state(due), BreakerState::HalfOpen);
        assert!(breaker.claim_probe(due));
        assert!(!breaker.claim_probe(due));
        breaker.succeed(due);
        assert_eq!(breaker.state(due), BreakerState::Closed);

        let mut breaker = opened(now);
        assert!(breaker.claim_probe(due));
        breaker.fail(due);
        assert_eq!(breaker.state(due), BreakerState::Open);
    }

    #[test]
    fn a_probe_nobody_reports_of_does_not_block_for_ever() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let due = breaker.changes_at().unwrap();
        assert!(breaker.claim_probe(due));
        assert!(!breaker.claim_probe(due + PROBE_MAX - SECOND));
        assert!(breaker.claim_probe(due + PROBE_MAX));
    }

    #[test]
    fn a_late_answer_does_not_close_it() {
        let now = Instant::now();
        let mut breaker = opened(now);
        breaker.succeed(now);
        assert_eq!(breaker.state(now), BreakerState::Open);
    }

    #[test]
    fn pauses_double_up_to_the_maximum_differ_by_seed_and_begin_anew_with_trust() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let due = breaker.changes_at().unwrap();
            pauses.push(due.duration_since(now));
            now = due;
            assert!(breaker.claim_probe(now));
            breaker.fail(now);
        }
        for (pause, seconds) in pauses.iter().zip([1, 2, 4, 8, 16, 30, 30, 30]) {
            let most = seconds * SECOND;
            assert!((most.mul_f64(0.75)..=most).contains(pause), "{pauses:?}");
        }
        assert_ne!(Breaker::new(now, 1).pause(), Breaker::new(now, 2).pause());
        let due = breaker.changes_at().unwrap();
        assert!(breaker.claim_probe(due));
        breaker.succeed(due);
        breaker.trust();
        breaker.trip(due);
        let pause = breaker.changes_at().unwrap().duration_since(due);
        assert!(pause <= PAUSE_FIRST);
    }

    #[test]
    fn random_numbers_spread() {
        let drawn: Vec<_> = (0..1_000).map(random).collect();
        assert!(drawn.iter().all(|it| (0.0..1.0).contains(it)));
        let mean = drawn.iter().sum::<f64>() / 1_000.0;
        assert!((0.45..0.55).contains(&mean), "{mean}");
    }
}
