//! Reads the state of the gateway for the page, four times a second while it is looked at.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::frame::{frame, whole};
use super::rates::{METRICS, Rates};
use super::seen::{PolicySeen, Seen};
use super::viewers::{Viewers, event};
use crate::gateway::admin::{Access, AdminState, Recorder, Topology};
use tidegate_telemetry::{Exposition, Interval};

/// Four frames a second: what the monitor has seen is on the page within this time.
const FRAME_INTERVAL: Duration = Duration::from_millis(250);
/// How often the counters are read, which costs more than the nodes' state.
const COUNTERS_INTERVAL: Duration = Duration::from_secs(1);
/// Over how long rates are taken: shorter jumps with every request, longer hides what has just begun.
const RATES_OVER: Duration = Duration::from_secs(5);
/// Older pages say nothing about the last seconds: those from before somebody looked again.
const PAGE_AGE_MAX: Duration = Duration::from_secs(2 * RATES_OVER.as_secs());

/// What the page shows.
pub struct LivePage {
    state: Arc<AdminState>,
    recorder: Recorder,
    /// Whether writes need `ADMIN_TOKEN`.
    pub(super) needs_token: bool,
    pub(super) viewers: Viewers,
    counters: Mutex<Counters>,
    wanted: Notify,
}

/// The last pages of metrics, oldest first, and what they say.
#[derive(Default)]
struct Counters {
    pages: VecDeque<(Instant, Exposition)>,
    rates: Arc<Rates>,
}

impl LivePage {
    /// Shows the state that the admin listener answers from.
    #[must_use]
    pub fn new(state: Arc<AdminState>, recorder: Recorder, access: &Access) -> Arc<Self> {
        Arc::new(Self {
            state,
            recorder,
            needs_token: access.token.is_some(),
            viewers: Viewers::new(),
            counters: Mutex::default(),
            wanted: Notify::new(),
        })
    }

    /// Shows frames to viewers until it is dropped.
    pub async fn run(self: Arc<Self>) {
        loop {
            if !self.viewers.is_watched() {
                *self.counters() = Counters::default();
                self.wanted.notified().await;
            }
            self.viewers.show(event(&frame(&self.seen())));
            sleep(FRAME_INTERVAL).await;
        }
    }

    /// Begins to make frames, if none are made.
    pub(super) fn wake(&self) {
        self.wanted.notify_one();
    }

    /// The name of the region that this gateway is in.
    pub(super) fn region(&self) -> &str {
        self.state.region.as_str()
    }

    /// The whole state as HTML.
    pub(super) fn whole(&self) -> String {
        whole(&self.seen())
    }

    fn seen(&self) -> Seen {
        let now = Instant::now();
        let routes = self.state.routes.load();
        let shown = self.state.store.shown();
        let policy = routes.traffic().map(|traffic| PolicySeen {
            revision: traffic.file().revision,
            stage: shown.stage.map(|stage| stage.to_string()),
            candidate: shown.candidate,
            share: f64::from(shown.share) / 10_000.0,
        });
        Seen {
            topology: Topology::of(&self.state, now),
            rates: self.rates(now),
            policy,
            has_cache: self.state.cache.is_some(),
        }
    }

    /// The rates over the last seconds, read again when they are older than a second.
    fn rates(&self, now: Instant) -> Arc<Rates> {
        let newest = self.counters().pages.back().map(|(at, _)| *at);
        if newest.is_some_and(|at| now.saturating_duration_since(at) < COUNTERS_INTERVAL) {
            return Arc::clone(&self.counters().rates);
        }
        // Without the lock, which others wait for meanwhile.
        let page = Exposition::of(&self.recorder.page(), &METRICS);
        let mut counters = self.counters();
        counters.add(now, page);
        Arc::clone(&counters.rates)
    }

    fn counters(&self) -> MutexGuard<'_, Counters> {
        // A panic while the lock is held loses a page at worst.
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counters {
    fn add(&mut self, now: Instant, page: Exposition) {
        let age = |at: Instant| now.saturating_duration_since(at);
        self.pages.retain(|(at, _)| age(*at) <= PAGE_AGE_MAX);
        if self.pages.is_empty() {
            self.rates = Arc::default();
        }
        // The oldest that is kept is the newest of those that are old enough.
        let is_old = |(at, _): &(Instant, Exposition)| age(*at) >= RATES_OVER;
        while self.pages.get(1).is_some_and(is_old) {
            self.pages.pop_front();
        }
        self.pages.push_back((now, page));
        if let (Some((from, before)), Some((to, after))) = (self.pages.front(), self.pages.back())
            && from < to
        {
            self.rates = Arc::new(Rates::of(Interval {
                before,
                after,
                seconds: to.duration_since(*from).as_secs_f64(),
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_last_seconds_also_after_nobody_has_looked_for_long() {
        let (mut counters, begun) = (Counters::default(), Instant::now());
        let page = |count| Exposition::new(&format!("tidegate_retries_total {count}"));
        counters.add(begun, page(0));
        counters.add(begun + Duration::from_secs(1), page(10));
        assert!((counters.rates.retries - 10.0).abs() < 1e-9);
        let later = begun + Duration::from_secs(600);
        counters.add(later, page(6_000));
        assert!(!counters.rates.are_known());
        counters.add(later + Duration::from_secs(1), page(6_001));
        assert!((counters.rates.retries - 1.0).abs() < 1e-9);
    }

    #[test]
    fn requests_above_a_rate_limit_are_read() {
        let (mut counters, begun) = (Counters::default(), Instant::now());
        let text = "tidegate_rate_limited_total{policy=\"/word\"} 30";
        counters.add(begun, Exposition::of("", &METRICS));
        let later = begun + Duration::from_secs(1);
        counters.add(later, Exposition::of(text, &METRICS));
        assert!((counters.rates.limited - 30.0).abs() < 1e-9);
    }
}
