//! Connections that several quick reads share at the same time.
//!
//! A read on a line is sent without waiting for the answers to those before it. Each is still a
//! transaction of its own, so that one that fails does not touch the others; a read can affect the
//! others only by being slow, by being given up, and by breaking the connection. Hence a line that
//! gets no answer accepts no more reads, those behind a slow one may leave it
//! ([`Lease::held_up`](super::Lease::held_up)), and a line that any read has left is emptied before
//! its connection serves again.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::FutureExt;
use smallvec::SmallVec;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_postgres::{Row, Statement};

use super::borrowed::Borrowed;
use super::connection::NodeConnection;
use super::together::Together;
use tidegate_model::ServerIdentity;

/// Lines per node. One server process answers quick reads faster than its share of a gateway can
/// send them, and with fewer lines more answers arrive together.
pub(super) const LINES_MAX: usize = 4;

/// Reads on one line that may be queued at its server; more would only wait in another place.
const DEPTH_MAX: usize = 32;

/// Most reads a second on one line; correspondingly more are in flight to and from a distant
/// server.
const READS_PER_SECOND: f64 = 1_000.0;

/// A line with this many reads is long enough to open a connection for another line.
const DEPTH_LONG: usize = 8;

/// How long a line may give no answer, in addition to the round trip, before reads leave it. Many
/// times the duration of a quick read, so that a busy moment of the server does not count.
pub(super) const SILENCE_MAX: Duration = Duration::from_millis(20);

/// The lines of one node.
#[derive(Default)]
pub(super) struct Lines(Mutex<SmallVec<[Weak<Line>; LINES_MAX]>>);

/// One shared connection. It is free again when the last read has left.
pub(super) struct Line {
    borrowed: Option<Box<Borrowed>>,
    state: Mutex<State>,
    questions: Together<Option<Arc<Row>>>,
}

struct State {
    /// Reads that joined.
    joined: u64,
    /// Reads whose answer was read.
    answered: u64,
    /// Reads that left, answered or not.
    left: u64,
    /// When the newest answer was read, or a read joined an empty line.
    moved_at: Instant,
    /// Whether the connection should be closed.
    condemned: bool,
}

/// One read's place in a line.
pub(super) struct Place {
    line: Arc<Line>,
    number: u64,
    joined_at: Instant,
    /// The round trip to the server.
    round_trip: Duration,
    answered: bool,
}

/// A place, and whether it is time to open a connection for another line.
pub(super) struct Joined {
    pub(super) place: Place,
    pub(super) is_long: bool,
}

impl Lines {
    /// Joins the line with the fewest reads; none if no line makes progress, or if there is room
    /// for another line and a connection is idle.
    pub(super) fn join(
        &self,
        now: Instant,
        round_trip: Duration,
        has_idle: impl FnOnce() -> bool,
        connections_max: usize,
        is_meant: impl Fn(ServerIdentity) -> bool,
    ) -> Option<Joined> {
        let mut lines = self.lock();
        lines.retain(|line| line.strong_count() > 0);
        let lines_max = lines_max(connections_max);
        let may_open = lines.len() < lines_max;
        if may_open && has_idle() {
            return None;
        }
        let known = lines.iter().take(lines_max).filter_map(Weak::upgrade);
        let usable = known.filter(|line| is_meant(line.connection().life));
        let (depth, line) = usable
            .filter_map(|line| Some((line.depth_if_open(now, round_trip)?, line)))
            .min_by_key(|(depth, _)| *depth)?;
        Some(Joined {
            place: Place::take(line, now, round_trip),
            is_long: depth >= DEPTH_LONG && may_open,
        })
    }

    /// Makes a line from a connection, or returns the connection if there are enough lines.
    pub(super) fn open(
        &self,
        mut borrowed: Box<Borrowed>,
        now: Instant,
        connections_max: usize,
        round_trip: Duration,
    ) -> Result<Place, Box<Borrowed>> {
        let mut lines = self.lock();
        lines.retain(|line| line.strong_count() > 0);
        if lines.len() >= lines_max(connections_max) {
            return Err(borrowed);
        }
        borrowed.share();
        let line = Arc::new(Line::new(borrowed, now));
        lines.push(Arc::downgrade(&line));
        Ok(Place::take(line, now, round_trip))
    }

    /// How many lines there are.
    pub(super) fn count(&self) -> usize {
        let lines = self.lock();
        lines.iter().filter(|line| line.strong_count() > 0).count()
    }

    fn lock(&self) -> MutexGuard<'_, SmallVec<[Weak<Line>; LINES_MAX]>> {
        // A panic while it is held cannot leave half a reference.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the most connections of a pool that reads share: half of them at most, since they may never be
/// free while there is load, and what cannot share one, writes above all, must not wait for that.
#[must_use]
pub fn lines_max(connections_max: usize) -> usize {
    LINES_MAX.min(connections_max / 2)
}

impl Line {
    fn new(borrowed: Box<Borrowed>, now: Instant) -> Self {
        Self {
            borrowed: Some(borrowed),
            state: Mutex::new(State {
                joined: 0,
                answered: 0,
                left: 0,
                moved_at: now,
                condemned: false,
            }),
            questions: Together::default(),
        }
    }

    fn connection(&self) -> &NodeConnection {
        let borrowed = self.borrowed.as_ref();
        borrowed
            .expect("a line has its connection until it is dropped")
            .connection()
    }

    /// The number of reads on it, if one more may join.
    fn depth_if_open(&self, now: Instant, round_trip: Duration) -> Option<usize> {
        if self.connection().client.is_closed() {
            return None;
        }
        let state = self.state();
        let depth = usize::try_from(state.joined - state.left).unwrap_or(usize::MAX);
        let quiet = now.saturating_duration_since(state.moved_at);
        let silent = depth > 0 && quiet > SILENCE_MAX + round_trip;
        let open = !state.condemned && state.answered == state.left && !silent;
        // Not negative, and small.
        let on_the_way = (round_trip.as_secs_f64() * READS_PER_SECOND) as usize;
        (open && depth < DEPTH_MAX + on_the_way).then_some(depth)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Counts are consistent at every moment, even after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let Some(borrowed) = self.borrowed.take() else {
            return;
        };
        let state = self.state();
        if state.answered == state.joined && !state.condemned {
            borrowed.settle();
        } else if !state.condemned && Handle::try_current().is_ok() {
            borrowed.settle_later();
        }
    }
}

impl Place {
    fn take(line: Arc<Line>, now: Instant, round_trip: Duration) -> Self {
        let mut state = line.state();
        if state.joined == state.left {
            state.moved_at = now;
        }
        let number = state.joined;
        state.joined += 1;
        drop(state);
        Self {
            line,
            number,
            joined_at: now,
            round_trip,
            answered: false,
        }
    }

    pub(super) fn connection(&self) -> &NodeConnection {
        self.line.connection()
    }

    /// Asks a question that the server answers after all that was sent from here; reads that ask it at about the same
    /// time get one answer. None if it fails. Cancel-safe.
    pub(super) async fn ask_together(&self, question: &Statement) -> Option<Arc<Row>> {
        let ask = || {
            // Held weakly: the line holds the question.
            let (line, question) = (Arc::downgrade(&self.line), question.clone());
            let asking = async move {
                let line = line.upgrade()?;
                let connection = line.connection();
                let asked = pin!(connection.client.query_one(&question, &[]));
                connection.in_one_go(asked).await.ok().map(Arc::new)
            };
            asking.boxed()
        };
        self.line.questions.ask(ask).await
    }

    /// Leaves with the answer and returns how long the server took: the time since the previous
    /// answer, or since the read reached the server.
    pub(super) fn answered(mut self, now: Instant) -> Duration {
        self.answered = true;
        let mut state = self.line.state();
        let begun = (self.joined_at + self.round_trip).max(state.moved_at);
        state.answered += 1;
        state.left += 1;
        state.moved_at = now;
        drop(state);
        now.saturating_duration_since(begun)
    }

    /// Whether the line is blocked by a read before this one.
    pub(super) fn is_held_up(&self, now: Instant) -> bool {
        let state = self.line.state();
        self.number > state.answered && now >= state.moved_at + SILENCE_MAX + self.round_trip
    }

    /// Closes the connection once all reads have left.
    pub(super) fn condemn(&self) {
        self.line.state().condemned = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.answered {
            self.line.state().left += 1;
        }
    }
}
