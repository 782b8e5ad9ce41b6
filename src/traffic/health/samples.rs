//! Requests as samples, and the quantities over the window that ends now.
//!
//! The window is the last two seconds, or as much longer as 50 samples take, up to 30 s: so either
//! the slots of two seconds hold 50 samples, or only the last 50 samples are used.

use std::collections::VecDeque;
use std::time::Duration;

use crate::health::Quantities;

/// The window, in slots.
const SLOT: Duration = Duration::from_millis(200);
const SLOTS: usize = 10;

/// The number of samples with which the window has its minimum length.
const ENOUGH: usize = 50;

/// The greatest age of the last samples.
const AGE_MAX: Duration = Duration::from_secs(30);

/// Fewer samples are not significant.
const FEWEST: usize = 5;

/// Buckets of a power of two: they are 3 % wide.
const STEPS: u64 = 32;

/// Up to 2^31 µs, more than half an hour.
const BUCKETS: usize = 27 * STEPS as usize;

const MILLION: u64 = 1_000_000;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Anything except a failure of the region.
    Served,
    /// A 5xx, or no answer.
    Failed,
    /// A 503 because the primary cannot be reached.
    NoPrimary,
}

/// Above each of these points lies at most so many thousandths of the requests.
const POINTS: [u64; 6] = [500, 100, 50, 20, 10, 5];

/// Which of the points is the 99th percentile.
const P99: usize = 4;

/// Requests over a window: what quantities are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How long the window is.
    pub window: Duration,
    /// All requests in it.
    pub requests: u64,
    /// Those that failed, other than for want of a primary.
    pub failed: u64,
    /// Those that failed because the primary cannot be reached.
    pub no_primary: u64,
    /// The time to the head: p50, p90, p95, p98, p99 and p99.5.
    pub points: [Duration; 6],
}

/// The samples of one region.
#[derive(Clone, Debug)]
pub struct Samples {
    slots: [Slot; SLOTS],
    last: VecDeque<Sample>,
}

#[derive(Clone, Debug)]
struct Slot {
    /// The number of the slot since the start.
    number: u128,
    counts: Counts,
    buckets: Box<[u32]>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    outcome: Outcome,
    bucket: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    requests: u64,
    failed: u64,
    no_primary: u64,
}

impl Default for Samples {
    fn default() -> Self {
        Self {
            slots: std::array::from_fn(|_| Slot {
                number: 0,
                counts: Counts::default(),
                buckets: vec![0; BUCKETS].into(),
            }),
            last: VecDeque::with_capacity(ENOUGH),
        }
    }
}

impl Samples {
    /// Records a request that ended now, and the time to the head of its answer.
    pub fn add(&mut self, outcome: Outcome, time: Duration, now: Duration) {
        let bucket = bucket(time);
        if self.last.len() == ENOUGH {
            self.last.pop_front();
        }
        self.last.push_back(Sample {
            at: now,
            outcome,
            bucket,
        });
        let number = slot_number(now);
        let slot = &mut self.slots[(number % SLOTS as u128) as usize];
        if slot.number != number {
            slot.number = number;
            slot.counts = Counts::default();
            slot.buckets.fill(0);
        }
        slot.counts.add(outcome);
        slot.buckets[bucket] += 1;
    }

    /// Returns errors and p99 over the window that ends now.
    ///
    /// A failure common to all regions is not a reason to leave one: without `primary_elsewhere`, a
    /// primary that cannot be reached is not an error.
    pub fn quantities(&self, primary_elsewhere: bool, now: Duration) -> Quantities {
        self.summary(now).quantities(primary_elsewhere)
    }

    /// Counts the requests of the window that ends now.
    pub fn summary(&self, now: Duration) -> Summary {
        let newest = slot_number(now);
        let slots = self.slots.iter();
        let slots = slots.filter(|slot| slot.number + SLOTS as u128 > newest);
        let requests: u64 = slots.clone().map(|slot| slot.counts.requests).sum();
        let mut counts = Counts::default();
        let mut buckets = [0u32; BUCKETS];
        let mut window = SLOT * SLOTS as u32;
        if requests >= ENOUGH as u64 {
            for slot in slots {
                counts.merge(&slot.counts);
                for (sum, count) in buckets.iter_mut().zip(&slot.buckets) {
                    *sum += count;
                }
            }
        } else {
            let age = |sample: &Sample| now.saturating_sub(sample.at);
            let recent = self.last.iter().filter(|sample| age(sample) <= AGE_MAX);
            for sample in recent {
                counts.add(sample.outcome);
                buckets[sample.bucket] += 1;
            }
            let first = self.last.front().filter(|_| self.last.len() == ENOUGH);
            window = first.map_or(AGE_MAX, age).clamp(window, AGE_MAX);
        }
        Summary {
            window,
            requests: counts.requests,
            failed: counts.failed,
            no_primary: counts.no_primary,
            points: points(&buckets, counts.requests),
        }
    }
}

impl Summary {
    /// Returns errors and p99, as [`Samples::quantities`].
    pub fn quantities(&self, primary_elsewhere: bool) -> Quantities {
        if self.requests < FEWEST as u64 {
            return Quantities::NONE;
        }
        let no_primary = if primary_elsewhere {
            self.no_primary
        } else {
            0
        };
        Quantities {
            errors: Some((self.failed + no_primary) * MILLION / self.requests),
            p99: Some(self.points[P99].as_micros() as u64),
            ..Quantities::NONE
        }
    }
}

impl Counts {
    fn add(&mut self, outcome: Outcome) {
        self.requests += 1;
        self.failed += u64::from(outcome == Outcome::Failed);
        self.no_primary += u64::from(outcome == Outcome::NoPrimary);
    }

    fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.no_primary += other.no_primary;
    }
}

/// Slots are numbered starting with the size of the window, so that an unused one is never in it.
fn slot_number(now: Duration) -> u128 {
    now.as_nanos() / SLOT.as_nanos() + 2 * SLOTS as u128
}

/// Returns the bucket of a time: exact below 32 µs, then 32 to each power of two.
fn bucket(time: Duration) -> usize {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    if micros < STEPS {
        return micros as usize;
    }
    let octave = u64::from(micros.ilog2() - STEPS.ilog2());
    let step = (micros >> octave) - STEPS;
    (((octave + 1) * STEPS + step) as usize).min(BUCKETS - 1)
}

/// Returns the longest time of a bucket, in microseconds.
fn longest(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let (octave, step) = (bucket / STEPS, bucket % STEPS);
    if octave == 0 {
        return step;
    }
    ((STEPS + step + 1) << (octave - 1)) - 1
}

/// Returns for each point the shortest time that no more than its share of the samples exceeds.
fn points(buckets: &[u32; BUCKETS], requests: u64) -> [Duration; POINTS.len()] {
    let mut points = [Duration::ZERO; POINTS.len()];
    let (mut above, mut open) = (0, POINTS.len());
    for (bucket, count) in buckets.iter().enumerate().rev() {
        above += u64::from(*count);
        while open > 0 && above * 1_000 > requests * POINTS[open - 1] {
            open -= 1;
            points[open] = Duration::from_micros(longest(bucket));
        }
    }
    points
}
