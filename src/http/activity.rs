//! What one connection is doing, and since when.
//!
//! hyper's own `header_read_timeout` starts when a connection falls idle, so it would cut a
//! kept-alive connection after ten silent seconds. Here two cases are distinguished: silence, and a
//! request head that is not completed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use http::Version;
use tokio::time::Instant;

use super::Limits;

/// Why a connection has timed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    /// A request head was not completed.
    Header,
    /// No request arrived.
    Idle,
    /// The client did not read the answer.
    Write,
    /// Nothing arrived for a while: what HTTP holds for the connection can be given back.
    Rest,
}

impl Expiry {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Idle => "idle",
            Self::Write => "write",
            Self::Rest => "rest",
        }
    }
}

/// The shared record of one connection: written by its socket and its requests, read by its
/// timer.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    timer: AtomicWaker,
    sends_body: AtomicBool,
    has_open_body: AtomicBool,
    has_open_end: AtomicBool,
}

impl Activity {
    pub(super) fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::new(now)),
            timer: AtomicWaker::new(),
            sends_body: AtomicBool::new(false),
            has_open_body: AtomicBool::new(false),
            has_open_end: AtomicBool::new(false),
        })
    }

    pub(super) fn read(&self, bytes: &[u8]) {
        self.state().read(bytes, Instant::now());
    }

    /// Records that HTTP has asked for more than has come.
    pub(super) fn awaits_more(&self) {
        self.state().awaits_more = true;
    }

    /// Sets whether the connection may rest when it is idle.
    pub(super) fn let_rest(&self, may_rest: bool) {
        self.state().may_rest = may_rest;
    }

    /// Bytes of the head that is being read; `None` while a request is in flight.
    pub(super) fn head_bytes(&self) -> Option<usize> {
        let state = self.state();
        (state.in_flight == 0).then_some(state.head_bytes)
    }

    pub(super) fn write_blocked(&self) {
        self.state().write_blocked(Instant::now());
    }

    /// Whether the client has not taken what was last written.
    pub(super) fn is_write_blocked(&self) -> bool {
        self.state().write_blocked_since.is_some()
    }

    pub(super) fn written(&self) {
        self.state().write_blocked_since = None;
    }

    /// Records whether the last request has a body, if requests come one after the other.
    pub(super) fn note_body(&self, sends_body: bool) {
        self.sends_body.store(sends_body, Ordering::Relaxed);
    }

    /// Whether a client with one request after the other may still be sending: the body of its last
    /// request, or a head that is not complete or not valid.
    pub(super) fn may_send_more(&self) -> bool {
        self.state().head_bytes > 0 || self.sends_body.load(Ordering::Relaxed)
    }

    /// Begins the time in which the rest of what a client sends is discarded: it is not a head.
    pub(super) fn begin_linger(&self) {
        let mut state = self.state();
        state.head_since = None;
        state.idle_since = Instant::now();
        state.may_rest = false;
    }

    /// Records that the system has ended the connection because the client took nothing.
    pub(super) fn cut_off(&self) {
        self.state().is_cut_off = true;
    }

    pub(super) fn is_cut_off(&self) -> bool {
        self.state().is_cut_off
    }

    /// Records whether an answer that ends with the connection is not whole yet.
    pub(super) fn note_open_end(&self, is_open: bool) {
        self.has_open_end.store(is_open, Ordering::Relaxed);
    }

    /// Whether the end of the connection would look like the end of an answer that is not whole.
    pub(super) fn has_open_end(&self) -> bool {
        self.has_open_end.load(Ordering::Relaxed)
    }

    /// Restarts the idle clock with the time that a closing connection has left.
    pub(super) fn restart_idle(&self) {
        self.state().idle_since = Instant::now();
    }

    /// Records a complete request head. The request lasts until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>, version: Version) -> InFlight {
        self.state().begin(version);
        InFlight(Arc::clone(self))
    }

    /// Records that a request in flight has a body. The request lasts until the guard is dropped, too:
    /// what arrives of the body after an early answer is not the next head.
    pub(super) fn open_body(self: &Arc<Self>) -> OpenBody {
        self.state().in_flight += 1;
        self.has_open_body.store(true, Ordering::Relaxed);
        OpenBody(Arc::clone(self))
    }

    /// When the connection will time out without activity, and why.
    pub(super) fn deadline(&self, limits: &Limits) -> Option<(Instant, Expiry)> {
        self.state().deadline(limits)
    }

    /// Sets the task to wake when a request ends on another task.
    pub(super) fn wake_on_end(&self, waker: &Waker) {
        self.timer.register(waker);
    }

    fn end(&self) {
        let mut state = self.state();
        state.end(Instant::now());
        // HTTP/2 requests run on their own tasks, so the connection's task may be asleep.
        if state.multiplexed && state.in_flight == 0 {
            self.timer.wake();
        }
    }

    fn end_body(&self) {
        self.has_open_body.store(false, Ordering::Relaxed);
        let mut state = self.state();
        state.end(Instant::now());
        // Bodies may be read on other tasks whatever the protocol is.
        if state.in_flight == 0 {
            self.timer.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every update is a few plain assignments: a panic cannot leave them half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request in flight, from its complete head to the end of its answer.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl InFlight {
    /// The connection that it came over.
    pub(super) fn connection(&self) -> &Arc<Activity> {
        &self.0
    }

    /// Whether the body of the request is still being read or has failed, if requests come one after the other.
    pub(super) fn has_open_body(&self) -> bool {
        self.0.has_open_body.load(Ordering::Relaxed)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The body of one request in flight, until it has ended or is not read any more.
#[derive(Debug)]
pub(super) struct OpenBody(Arc<Activity>);

impl OpenBody {
    /// The body has ended: nothing of it is still to come.
    pub(super) fn end(self) {
        self.0.note_body(false);
    }

    /// The body has failed: its end is not known, and so not where a next head would begin.
    pub(super) fn fail(self) {
        let activity = Arc::clone(&self.0);
        drop(self);
        activity.has_open_body.store(true, Ordering::Relaxed);
    }

    /// Whether it is one of several streams.
    pub(super) fn is_stream(&self) -> bool {
        self.0.state().multiplexed
    }
}

impl Drop for OpenBody {
    fn drop(&mut self) {
        self.0.end_body();
    }
}

#[derive(Debug)]
struct State {
    in_flight: usize,
    idle_since: Instant,
    head_since: Option<Instant>,
    head_bytes: usize,
    write_blocked_since: Option<Instant>,
    multiplexed: bool,
    is_cut_off: bool,
    may_rest: bool,
    /// Whether what was read last ends with an empty line. Then no part of a head lies behind the last request:
    /// anything that ends so has whole heads alone.
    ends_whole: bool,
    /// Whether HTTP has asked for more since. Then no whole head is left either: it would be served first.
    awaits_more: bool,
}

impl State {
    fn new(now: Instant) -> Self {
        Self {
            in_flight: 0,
            idle_since: now,
            head_since: Some(now),
            head_bytes: 0,
            write_blocked_since: None,
            multiplexed: false,
            is_cut_off: false,
            may_rest: false,
            ends_whole: false,
            awaits_more: false,
        }
    }

    fn read(&mut self, bytes: &[u8], now: Instant) {
        self.ends_whole = bytes.ends_with(b"\r\n\r\n");
        self.awaits_more = false;
        // On HTTP/2 bytes without a request are usually answers to pings.
        if self.in_flight == 0 && !self.multiplexed {
            self.head_since.get_or_insert(now);
            self.head_bytes += bytes.len();
        }
    }

    fn write_blocked(&mut self, now: Instant) {
        self.write_blocked_since.get_or_insert(now);
    }

    fn begin(&mut self, version: Version) {
        self.in_flight += 1;
        self.head_since = None;
        self.head_bytes = 0;
        self.multiplexed = version == Version::HTTP_2;
    }

    fn end(&mut self, now: Instant) {
        self.in_flight -= 1;
        self.idle_since = now;
    }

    fn deadline(&self, limits: &Limits) -> Option<(Instant, Expiry)> {
        let write = self
            .write_blocked_since
            .map(|t| (t + limits.write_timeout, Expiry::Write));
        let read = match (self.in_flight, self.head_since) {
            (0, Some(since)) => Some((since + limits.header_timeout, Expiry::Header)),
            (0, None) => Some((self.idle_since + limits.idle_timeout, Expiry::Idle)),
            _ => None,
        };
        let rest = self
            .is_at_rest()
            .then(|| (self.idle_since + limits.rest_after, Expiry::Rest));
        let all = write.into_iter().chain(read).chain(rest);
        all.min_by_key(|(at, _)| *at)
    }

    /// Whether HTTP holds nothing that is still needed: no part of a request, and none of an answer.
    fn is_at_rest(&self) -> bool {
        let is_idle = self.in_flight == 0 && self.head_since.is_none();
        let is_all_read = self.ends_whole && self.awaits_more;
        self.may_rest && is_idle && is_all_read && self.write_blocked_since.is_none()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Duration;

    use super::*;

    fn limits() -> Limits {
        Limits::default()
    }

    fn after(start: Instant, secs: u64) -> Instant {
        start + Duration::from_secs(secs)
    }

    #[test]
    fn a_new_connection_has_the_header_timeout_to_send_its_first_head() {
        let start = Instant::now();
        let mut state = State::new(start);
        state.read(b"G", after(start, 9));
        assert_eq!(
            state.deadline(&limits()),
            Some((after(start, 10), Expiry::Header))
        );
    }

    #[test]
    fn silence_after_a_request_is_idle_and_a_byte_starts_the_head() {
        let start = Instant::now();
        let mut state = State::new(start);
        state.begin(Version::HTTP_11);
        state.end(start);
        assert_eq!(
            state.deadline(&limits()),
            Some((after(start, 75), Expiry::Idle))
        );
        state.read(b"G", after(start, 50));
        state.read(b"G", after(start, 55));
        assert_eq!(
            state.deadline(&limits()),
            Some((after(start, 60), Expiry::Header))
        );
    }

    #[test]
    fn a_connection_rests_when_all_it_has_read_is_answered_and_all_answers_are_taken() {
        let start = Instant::now();
        let mut state = State::new(start);
        let request = |state: &mut State, bytes: &[u8]| {
            state.read(bytes, start);
            state.begin(Version::HTTP_11);
            state.end(start);
            state.awaits_more = true;
        };
        let idle = Some((after(start, 75), Expiry::Idle));
        let rest = Some((start + limits().rest_after, Expiry::Rest));
        request(&mut state, b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(state.deadline(&limits()), idle, "it may not");
        state.may_rest = true;
        assert_eq!(state.deadline(&limits()), rest);
        state.write_blocked(after(start, 60));
        assert_eq!(state.deadline(&limits()), idle, "an answer is not taken");
        state.write_blocked_since = None;
        request(&mut state, b"GET / HTTP/1.1\r\n\r\nGET / HT");
        assert_eq!(state.deadline(&limits()), idle, "a head has begun");
        state.read(b"TP/1.1\r\n\r\n", start);
        state.begin(Version::HTTP_11);
        assert_eq!(state.deadline(&limits()), None, "a request is in flight");
        state.end(start);
        assert_eq!(state.deadline(&limits()), idle, "another may be read");
        state.awaits_more = true;
        assert_eq!(state.deadline(&limits()), rest);
    }

    #[test]
    fn a_request_in_flight_has_no_deadline_here() {
        let start = Instant::now();
        let mut state = State::new(start);
        state.begin(Version::HTTP_11);
        state.read(b"G", start);
        assert_eq!(state.deadline(&limits()), None);
    }

    #[test]
    fn a_request_whose_body_has_not_ended_is_in_flight_after_its_answer() {
        let activity = Activity::new(Instant::now());
        let answer = activity.begin(Version::HTTP_11);
        activity.note_body(true);
        let body = activity.open_body();
        drop(answer);
        activity.read(&[b'x'; 100_000]);
        assert_eq!(activity.head_bytes(), None);
        assert_eq!(activity.deadline(&limits()), None);
        body.end();
        assert_eq!(activity.head_bytes(), Some(0));
        assert!(!activity.may_send_more());
        activity.read(b"G");
        assert!(activity.may_send_more(), "a head has begun");
    }

    #[test]
    fn a_body_that_is_not_read_any_more_may_still_come() {
        let activity = Activity::new(Instant::now());
        let answer = activity.begin(Version::HTTP_11);
        activity.note_body(true);
        let body = activity.open_body();
        assert!(answer.has_open_body());
        drop(body);
        assert!(!answer.has_open_body());
        assert!(activity.may_send_more());
    }

    #[test]
    fn a_body_that_has_failed_stays_open_but_its_request_ends() {
        let activity = Activity::new(Instant::now());
        let answer = activity.begin(Version::HTTP_11);
        activity.note_body(true);
        activity.open_body().fail();
        assert!(answer.has_open_body() && activity.may_send_more());
        drop(answer);
        assert_eq!(activity.head_bytes(), Some(0));
    }

    #[test]
    fn pings_do_not_start_a_head_nor_end_idleness() {
        let start = Instant::now();
        let mut state = State::new(start);
        state.begin(Version::HTTP_2);
        state.end(start);
        state.read(b"G", after(start, 20));
        assert_eq!(
            state.deadline(&limits()),
            Some((after(start, 75), Expiry::Idle))
        );
    }

    #[test]
    fn a_blocked_write_counts_from_its_beginning_even_with_a_request_in_flight() {
        let start = Instant::now();
        let mut state = State::new(start);
        state.begin(Version::HTTP_11);
        state.write_blocked(after(start, 1));
        state.write_blocked(after(start, 2));
        assert_eq!(
            state.deadline(&limits()),
            Some((after(start, 31), Expiry::Write))
        );
    }
}
