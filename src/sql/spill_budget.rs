//! How much work the primary does for replicas. Pure.
//!
//! Work is counted in statements that its server executes or has waiting; the time that a request
//! is under way to a distant primary is not work. The limit follows what the primary bears, by the
//! gradient method of adaptive concurrency limits (Netflix's concurrency-limits, Envoy's adaptive
//! concurrency filter): it grows while answers come about as quickly as they do without load, and
//! shrinks as they take longer.

use tokio::time::{Duration, Instant};

use crate::postgres::pool::lines_max;

/// The least limit: as long as the primary answers at all, it can execute this much in addition.
const FLOOR: f64 = 2.0;

/// Time between two adjustments of the limit.
const STEP: Duration = Duration::from_millis(100);

/// The most that one adjustment takes off.
const SHRINK_MOST: f64 = 0.5;

/// The weight of one answer in the mean, so that a few slow answers do not shrink the limit.
const WEIGHT: f64 = 1.0 / 16.0;

/// The share of the limit from which the work shows that the primary bears it.
const LIMITED_FROM: f64 = 0.5;

/// An answer is not slow up to this many times its time without load, and this much more: a busy
/// moment of the gateway or of the network, and what is hardly noticed beside the round trip.
const TIMES_UNLOADED: f64 = 2.0;
const BUSY_MOMENT: Duration = Duration::from_millis(10);
const ROUND_TRIP_PART: u32 = 4;

/// The budget and what is taken out of it.
#[derive(Debug)]
pub(super) struct SpillBudget {
    max: f64,
    limit: f64,
    reads: usize,
    work: f64,
    /// The most work under way since the last adjustment.
    work_most: f64,
    connections: usize,
    /// Mean ratio of the time of an answer to what is not slow for it.
    slowness: f64,
    adjusted_at: Instant,
}

/// What one read takes out of the budget.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Share {
    /// The part of its time that is work at the primary, from 0 to 1.
    pub(super) work: f64,
    /// Whether it uses a connection alone.
    pub(super) connection: bool,
}

impl Share {
    /// The share of a statement by its mean time at the server, if that is known.
    pub(super) fn of(work: Option<Duration>, round_trip: Duration, connection: bool) -> Self {
        // At least what the gateway needs for any statement.
        let work = work.map(|work| work.max(Duration::from_millis(1)));
        Self {
            work: work.map_or(1.0, |work| work.div_duration_f64(work + round_trip)),
            connection,
        }
    }
}

impl SpillBudget {
    /// Starts with the greatest limit.
    pub(super) fn new(max: usize, now: Instant) -> Self {
        Self {
            max: max as f64,
            limit: max as f64,
            reads: 0,
            work: 0.0,
            work_most: 0.0,
            connections: 0,
            slowness: 0.0,
            adjusted_at: now,
        }
    }

    /// Returns whether there is room for one more read, where the server takes so many connections
    /// in all. While nothing is under way there is room for any.
    pub(super) fn has_room(&self, share: Share, connections_max: usize) -> bool {
        let limit = self.limit.min(connections_max as f64 / 2.0);
        let is_enough = self.work + share.work <= limit || self.reads == 0;
        is_enough && (!share.connection || self.connections < alone_max(connections_max))
    }

    /// Takes a share, if there is room for it.
    pub(super) fn take(&mut self, share: Share, connections_max: usize) -> bool {
        let has_room = self.has_room(share, connections_max);
        if has_room {
            self.add(share);
        }
        has_room
    }

    /// Replaces a share that was taken, whether there is room or not.
    pub(super) fn change(&mut self, from: Share, to: Share) {
        self.give_back(from);
        self.add(to);
    }

    fn add(&mut self, share: Share) {
        self.reads += 1;
        self.work += share.work;
        self.work_most = self.work_most.max(self.work);
        self.connections += usize::from(share.connection);
    }

    /// Returns a share that was taken.
    pub(super) fn give_back(&mut self, share: Share) {
        self.reads -= 1;
        self.connections -= usize::from(share.connection);
        // Sums of fractions are not exact.
        self.work = match self.reads {
            0 => 0.0,
            _ => (self.work - share.work).max(0.0),
        };
    }

    /// Returns the work under way.
    pub(super) fn work(&self) -> f64 {
        self.work
    }

    /// Takes in how long an answer of the primary took, without the distance, and how long the
    /// statement takes there without load.
    pub(super) fn answered(
        &mut self,
        took: Duration,
        unloaded: Duration,
        round_trip: Duration,
        now: Instant,
    ) {
        let unnoticed = BUSY_MOMENT + round_trip / ROUND_TRIP_PART;
        let not_slow = unloaded.mul_f64(TIMES_UNLOADED) + unnoticed;
        let slowness = took.div_duration_f64(not_slow);
        self.slowness += (slowness - self.slowness) * WEIGHT;
        if now.saturating_duration_since(self.adjusted_at) >= STEP {
            self.adjusted_at = now;
            let is_limited = self.work_most >= self.limit * LIMITED_FROM;
            self.work_most = self.work;
            let gradient = (1.0 / self.slowness.max(1.0)).max(SHRINK_MOST);
            // Others may make the primary slow: one that is slow gets no more from any gateway, and what
            // a gateway does not use shows nothing of what the primary bears.
            let growth = match is_limited && gradient >= 1.0 {
                true => self.limit.sqrt(),
                false => 0.0,
            };
            let floor = FLOOR.min(self.max);
            self.limit = (self.limit * gradient + growth).clamp(floor, self.max);
        }
    }
}

/// How many connections reads may use alone: half of those that no reads share, so that the rest is
/// there for writes.
fn alone_max(connections_max: usize) -> usize {
    ((connections_max - lines_max(connections_max)) / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const CONNECTIONS: usize = 16;

    fn fill(budget: &mut SpillBudget, share: Share) -> usize {
        (0..)
            .take_while(|_| budget.take(share, CONNECTIONS))
            .count()
    }

    #[test]
    fn distance_is_no_work() {
        let near = Share::of(Some(2 * MS), 2 * MS, false);
        let far = Share::of(Some(2 * MS), 254 * MS, false);
        let mut budget = SpillBudget::new(8, Instant::now());
        assert_eq!(fill(&mut budget, near), 16);
        (0..16).for_each(|_| budget.give_back(near));
        assert_eq!(fill(&mut budget, far), 1_024);
    }

    #[test]
    fn a_statement_that_is_not_known_is_all_work() {
        let unknown = Share::of(None, 200 * MS, false);
        assert_eq!(fill(&mut SpillBudget::new(8, Instant::now()), unknown), 8);
    }

    #[test]
    fn a_read_that_uses_a_connection_alone_leaves_others_for_writes() {
        let alone = Share::of(Some(10 * MS), 200 * MS, true);
        let mut budget = SpillBudget::new(8, Instant::now());
        assert_eq!(fill(&mut budget, alone), 6);
        let shared = Share {
            connection: false,
            ..alone
        };
        assert!(budget.has_room(shared, CONNECTIONS));
        assert!(!budget.has_room(alone, 2), "the server takes two");
    }

    #[test]
    fn a_read_that_goes_on_alone_takes_a_connection_and_gives_it_back() {
        let shared = Share::of(Some(10 * MS), 200 * MS, false);
        let alone = Share::of(Some(10 * MS), 200 * MS, true);
        let mut budget = SpillBudget::new(8, Instant::now());
        assert!(budget.take(shared, CONNECTIONS));
        budget.change(shared, alone);
        assert_eq!(fill(&mut budget, alone), 5, "one of six is taken");
        (0..6).for_each(|_| budget.give_back(alone));
        assert_eq!(fill(&mut budget, alone), 6);
    }

    #[test]
    fn the_limit_shrinks_while_answers_are_slow_and_grows_back_when_they_are_not() {
        let mut now = Instant::now();
        let mut budget = SpillBudget::new(64, now);
        let all = Share::of(None, 40 * MS, false);
        let mut answer = |budget: &mut SpillBudget, took| {
            for _ in 0..400 {
                now += 20 * MS;
                let taken = (0..64).take_while(|_| budget.take(all, 128)).count();
                budget.answered(took, 5 * MS, 40 * MS, now);
                (0..taken).for_each(|_| budget.give_back(all));
            }
        };
        answer(&mut budget, 29 * MS);
        assert!((budget.limit - 64.0).abs() < 0.1, "{budget:?}");
        answer(&mut budget, 60 * MS);
        assert!((budget.limit - FLOOR).abs() < 0.1, "{budget:?}");
        answer(&mut budget, 15 * MS);
        assert!((budget.limit - 64.0).abs() < 0.1, "{budget:?}");
    }

    #[test]
    fn a_primary_that_is_slow_gets_no_more_however_little_of_the_budget_is_used() {
        let mut now = Instant::now();
        let mut budget = SpillBudget::new(16, now);
        let one = Share::of(None, 80 * MS, false);
        let mut answer = |budget: &mut SpillBudget, took, answers| {
            for _ in 0..answers {
                now += 20 * MS;
                let taken = (0..7).take_while(|_| budget.take(one, 32)).count();
                budget.answered(took, 5 * MS, 80 * MS, now);
                (0..taken).for_each(|_| budget.give_back(one));
            }
        };
        // At first only what is not used, and then, while it lasts, all but the least.
        answer(&mut budget, 300 * MS, 5);
        assert!((7.0..9.0).contains(&budget.limit), "{budget:?}");
        answer(&mut budget, 300 * MS, 400);
        assert!((budget.limit - FLOOR).abs() < 0.1, "{budget:?}");
    }

    #[test]
    fn the_limit_does_not_grow_while_little_of_it_is_used() {
        let mut now = Instant::now();
        let mut budget = SpillBudget::new(64, now);
        budget.limit = 10.0;
        let one = Share::of(None, 80 * MS, false);
        for _ in 0..100 {
            now += 20 * MS;
            assert!(budget.take(one, 128));
            budget.answered(5 * MS, 5 * MS, 80 * MS, now);
            budget.give_back(one);
        }
        assert!((budget.limit - 10.0).abs() < 0.1, "{budget:?}");
    }

    #[test]
    fn one_slow_answer_changes_nothing() {
        let now = Instant::now();
        let mut budget = SpillBudget::new(8, now);
        budget.answered(100 * MS, 5 * MS, MS, now + STEP);
        assert!((budget.limit - 8.0).abs() < 0.1, "{budget:?}");
    }

    #[test]
    fn one_read_always_has_room() {
        let mut budget = SpillBudget::new(1, Instant::now());
        let all = Share::of(None, MS, true);
        assert!(budget.take(all, 1));
        assert!(!budget.take(all, 1));
        budget.give_back(all);
        assert!(budget.take(all, 1));
    }
}
