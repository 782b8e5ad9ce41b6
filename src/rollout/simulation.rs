//! Whole rollouts in virtual time: how often an equally good revision is stopped, and how soon a bad one.

use std::time::Duration;

use crate::windows::WindowJudge;
use crate::worse::{ALPHA, worse};
use crate::{ArmPair, SHARES};

const WINDOW: Duration = Duration::from_secs(2);
const REGIONS: usize = 3;

/// What a region's requests are like.
#[derive(Clone, Copy)]
struct Load {
    /// Requests in a window for which the plans differ.
    requests: u64,
    errors: f64,
    new_errors: f64,
    /// By what the new plan's times are multiplied.
    slower: f64,
}

impl Load {
    fn window(&self, pair: &mut ArmPair, share: u16, random: &mut fastrand::Rng) {
        for _ in 0..self.requests {
            let is_new = random.u16(0..10_000) < share;
            let (errors, slower) = match is_new {
                true => (self.new_errors, self.slower),
                false => (self.errors, 1.0),
            };
            // From 10 to 1,000 ms, most of them short.
            let millis = 10.0 * libm::exp(4.6 * random.f64() * random.f64()) * slower;
            let took = Duration::from_secs_f64(millis / 1_000.0);
            let arm = if is_new { &mut pair.new } else { &mut pair.old };
            arm.add(random.f64() < errors, took);
        }
    }
}

/// How a rollout was stopped.
struct StoppedAt {
    /// How many windows of shares it took.
    windows: usize,
    /// The share of all requests since the rollout began that the new plan moved and that failed.
    exposed: f64,
}

/// Runs all stages with bakes of some windows; returns how it was stopped, if it was.
fn rollout(load: Load, windows: usize, random: &mut fastrand::Rng) -> Option<StoppedAt> {
    let (mut passed, mut failed) = (0, 0);
    // In all regions, from shadow on.
    let stopped = |passed: usize, failed: u64| {
        let all = (windows + passed) * REGIONS;
        let exposed = failed as f64 / (all as f64 * load.requests as f64);
        Some(StoppedAt {
            windows: passed,
            exposed,
        })
    };
    for _ in 0..REGIONS {
        let mut judge = WindowJudge::default();
        let mut old = crate::ArmCounts::default();
        for share in SHARES {
            let mut pair = ArmPair::default();
            for window in 0..windows {
                load.window(&mut pair, share, random);
                passed += 1;
                let now = WINDOW * u32::try_from(window).unwrap_or(u32::MAX);
                if judge.step(&pair, (share, true), now).is_some() {
                    return stopped(passed, failed + pair.new.errors);
                }
            }
            let all = share == 10_000;
            if all {
                pair.old = old.clone();
            }
            if worse(&pair, !all, ALPHA / REGIONS as f64).is_some() {
                return stopped(passed, failed + pair.new.errors);
            }
            failed += pair.new.errors;
            old = pair.old;
        }
    }
    None
}

#[test]
fn of_ten_thousand_rollouts_of_an_equally_good_revision_at_most_one_in_a_hundred_is_stopped() {
    let mut random = fastrand::Rng::with_seed(7);
    let load = Load {
        requests: 40,
        errors: 0.01,
        new_errors: 0.01,
        slower: 1.0,
    };
    let stopped = (0..10_000).filter(|_| rollout(load, 3, &mut random).is_some());
    let stopped = stopped.count();
    assert!(stopped <= 100, "{stopped}");
}

#[test]
fn a_revision_whose_requests_take_one_and_a_half_times_as_long_is_found_in_the_first_region() {
    let mut random = fastrand::Rng::with_seed(8);
    let load = Load {
        requests: 200,
        errors: 0.01,
        new_errors: 0.01,
        slower: 1.5,
    };
    for _ in 0..50 {
        let stopped = rollout(load, 30, &mut random).expect("it was not found");
        assert!(stopped.windows <= 90, "{}", stopped.windows);
    }
}

#[test]
fn a_revision_that_sends_requests_to_a_region_that_errors_exposes_few_and_is_found_in_seconds() {
    let mut random = fastrand::Rng::with_seed(9);
    let load = Load {
        requests: 1_000,
        errors: 0.0,
        new_errors: 1.0,
        slower: 1.0,
    };
    for _ in 0..50 {
        let stopped = rollout(load, 30, &mut random).expect("it was not found");
        assert!(stopped.windows <= 2, "{}", stopped.windows);
        assert!(stopped.exposed <= 0.01, "{}", stopped.exposed);
    }
}
