//! One request that is sent to several nodes: to another one when one fails, and also to a second
//! one when the first is slow (a hedged request).
//!
//! [`Entrants`] is the pure part: which nodes were tried, in which turn, and since when. [`Race`]
//! awaits. Deliberately absent: which node is next, what a good answer is, and the retry budget.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use smallvec::SmallVec;
use tokio::time::{Duration, Instant, Sleep, sleep};

/// The turn in which a node was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It was the first node.
    First,
    /// Another node had failed before.
    Retry,
    /// Another node was slow.
    Hedge,
}

/// Which of two nodes answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Won {
    /// The one that was tried first.
    First,
    /// The hedge.
    Second,
    /// None: both failed.
    Neither,
}

impl Won {
    /// Every variant.
    pub const ALL: [Self; 3] = [Self::First, Self::Second, Self::Neither];

    /// Returns the label of metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
            Self::Neither => "neither",
        }
    }

    /// Returns which of the two was tried in a turn.
    #[must_use]
    pub fn by(turn: Turn) -> Self {
        match turn {
            Turn::First | Turn::Retry => Self::First,
            Turn::Hedge => Self::Second,
        }
    }
}

/// One node that was tried and has not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entrant {
    /// Its index.
    pub node: usize,
    /// Its turn.
    pub turn: Turn,
    /// When the request was sent.
    pub since: Instant,
}

/// The nodes that were tried and have not answered, the oldest first. Most requests have one.
#[derive(Debug, Default)]
pub struct Entrants(SmallVec<[Entrant; 2]>);

impl Entrants {
    /// Records that the request is sent to a node.
    pub fn enter(&mut self, node: usize, turn: Turn, now: Instant) {
        let since = now;
        self.0.push(Entrant { node, turn, since });
    }

    /// Records that the attempt at a position has ended.
    fn leave(&mut self, place: usize) -> Entrant {
        self.0.remove(place)
    }

    /// Returns those that have not answered.
    pub fn iter(&self) -> impl Iterator<Item = &Entrant> {
        self.0.iter()
    }

    /// Returns those that a hedge has overtaken: they were tried before it, and are still silent.
    pub fn overtaken(&self) -> impl Iterator<Item = &Entrant> {
        self.iter().filter(|entrant| entrant.turn != Turn::Hedge)
    }

    /// Returns whether none is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// An event in a race.
#[derive(Debug)]
pub enum RaceEvent<T> {
    /// An attempt has ended, with any result.
    Ended(Entrant, T),
    /// The first node takes unusually long; once for each [`Race::hedge_after`].
    Slow,
}

type Attempt<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The attempts for one request. Dropping it drops those that are under way.
pub struct Race<'a, T> {
    entrants: Entrants,
    /// One per entrant, in the same order.
    attempts: SmallVec<[Attempt<'a, T>; 2]>,
    hedge: Option<Pin<Box<Sleep>>>,
}

impl<T> Default for Race<'_, T> {
    fn default() -> Self {
        Self {
            entrants: Entrants::default(),
            attempts: SmallVec::new(),
            hedge: None,
        }
    }
}

impl<'a, T> Race<'a, T> {
    /// Sends the request to a node.
    pub fn enter(&mut self, node: usize, turn: Turn, attempt: impl Future<Output = T> + Send + 'a) {
        self.entrants.enter(node, turn, Instant::now());
        self.attempts.push(Box::pin(attempt));
    }

    /// Schedules [`RaceEvent::Slow`] after a time.
    pub fn hedge_after(&mut self, delay: Duration) {
        self.hedge = Some(Box::pin(sleep(delay)));
    }

    /// Returns the nodes that have not answered.
    #[must_use]
    pub fn entrants(&self) -> &Entrants {
        &self.entrants
    }

    /// Waits for the next event; forever if nothing is under way. Cancel-safe.
    pub async fn next(&mut self) -> RaceEvent<T> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<RaceEvent<T>> {
        for place in 0..self.attempts.len() {
            let attempt = self.attempts[place].as_mut();
            if let Poll::Ready(ended) = attempt.poll(cx) {
                drop(self.attempts.remove(place));
                let entrant = self.entrants.leave(place);
                return Poll::Ready(RaceEvent::Ended(entrant, ended));
            }
        }
        if let Some(hedge) = &mut self.hedge
            && hedge.as_mut().poll(cx).is_ready()
        {
            self.hedge = None;
            return Poll::Ready(RaceEvent::Slow);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    async fn after(delay: Duration, answer: &'static str) -> &'static str {
        sleep(delay).await;
        answer
    }

    #[test]
    fn those_before_a_hedge_are_overtaken_and_the_hedge_is_not() {
        let now = Instant::now();
        let mut entrants = Entrants::default();
        entrants.enter(4, Turn::First, now);
        entrants.enter(2, Turn::Hedge, now + MS);
        let overtaken: Vec<_> = entrants.overtaken().map(|it| it.node).collect();
        assert_eq!(overtaken, [4]);
        let left = entrants.leave(0);
        assert_eq!((left.node, left.since), (4, now));
        assert_eq!(entrants.overtaken().count(), 0);
        assert!(!entrants.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_node_is_told_of_once_and_the_first_answer_comes_first() {
        let mut race = Race::default();
        race.enter(0, Turn::First, after(100 * MS, "first"));
        race.hedge_after(10 * MS);
        assert!(matches!(race.next().await, RaceEvent::Slow));
        race.enter(1, Turn::Hedge, after(20 * MS, "second"));
        let RaceEvent::Ended(entrant, answer) = race.next().await else {
            panic!("slow twice");
        };
        assert_eq!(
            (entrant.node, entrant.turn, answer),
            (1, Turn::Hedge, "second")
        );
        assert_eq!(race.entrants().overtaken().count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_in_time_needs_no_hedge() {
        let mut race = Race::default();
        race.enter(0, Turn::First, ready("first"));
        race.hedge_after(Duration::ZERO);
        let RaceEvent::Ended(entrant, _) = race.next().await else {
            panic!("an answer goes before a hedge");
        };
        assert_eq!(entrant.turn, Turn::First);
        assert!(race.entrants().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_is_that_of_its_own_node() {
        let mut race: Race<'_, &str> = Race::default();
        race.enter(0, Turn::First, pending());
        race.enter(1, Turn::Retry, after(2 * MS, "second"));
        race.enter(2, Turn::Retry, after(MS, "third"));
        for expected in [(2, "third"), (1, "second")] {
            let RaceEvent::Ended(entrant, answer) = race.next().await else {
                panic!("nothing is to be hedged");
            };
            assert_eq!((entrant.node, answer), expected);
        }
    }
}
