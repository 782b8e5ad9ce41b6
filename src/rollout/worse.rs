//! Whether the new plan does worse than the old one.
//!
//! Fisher's exact test, one-sided (Fisher, *Statistical Methods for Research Workers*, 1934): given how many
//! requests of both arms failed, the chance that at least as many of them fall into the new arm.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ArmCounts, ArmPair};

/// The chance of calling an equal plan worse, in one look at one share.
pub const ALPHA: f64 = 0.0003;

/// Under so many requests in an arm nothing is judged.
const REQUESTS_MIN: u64 = 20;

/// By how much the new arm's share must be greater.
const ERRORS_MARGIN: f64 = 0.01;
const LATE_MARGIN: f64 = 0.10;
const TAIL_MARGIN: f64 = 0.02;

/// In what the new plan is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorseBy {
    /// More requests fail.
    Errors,
    /// More take longer than half of all.
    Latency,
    /// More take longer than 99 % of all.
    Tail,
}

impl WorseBy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Errors, Self::Latency, Self::Tail];

    /// Returns its name in metrics and reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Latency => "latency",
            Self::Tail => "tail",
        }
    }
}

impl fmt::Display for WorseBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Returns in what the new arm is worse, at a level of significance; nothing where there are too few
/// requests.
#[must_use]
pub fn worse(arms: &ArmPair, latency: bool, alpha: f64) -> Option<WorseBy> {
    let ArmPair { new, old } = arms;
    if new.requests < REQUESTS_MIN || old.requests < REQUESTS_MIN {
        return None;
    }
    let exceeds = |of: &dyn Fn(&ArmCounts) -> u64, margin: f64| {
        let counted = |arm: &ArmCounts| (of(arm).min(arm.requests), arm.requests);
        let (new, old) = (counted(new), counted(old));
        let share = |(some, all): (u64, u64)| some as f64 / all as f64;
        share(new) - share(old) > margin && greater(new, old) < alpha
    };
    if exceeds(&|arm| arm.errors, ERRORS_MARGIN) {
        return Some(WorseBy::Errors);
    }
    if !latency {
        return None;
    }
    let common = arms.common();
    let (half, tail) = (common.quantile(0.5), common.quantile(0.99));
    if exceeds(&|arm| arm.later_than(half), LATE_MARGIN) {
        return Some(WorseBy::Latency);
    }
    exceeds(&|arm| arm.later_than(tail), TAIL_MARGIN).then_some(WorseBy::Tail)
}

/// Returns the chance that of the marked requests at least as many fall into the first arm, if it is
/// chance alone that distributes them; each arm is (marked, all).
#[must_use]
pub fn greater((marked, all): (u64, u64), (others_marked, others_all): (u64, u64)) -> f64 {
    let marked_all = marked.saturating_add(others_marked);
    let most = all.min(marked_all);
    let total = choose(all.saturating_add(others_all), marked_all);
    let mode = all as f64 * marked_all as f64 / (all as f64 + others_all as f64);
    let mut chance = 0.0;
    for at in marked..=most {
        let rest = marked_all - at;
        if rest > others_all {
            continue;
        }
        let term = libm::exp(choose(all, at) + choose(others_all, rest) - total);
        chance += term;
        // Beyond the mode the terms only fall, and the first may be too small to be one.
        if at as f64 > mode && term <= chance * 1e-12 {
            break;
        }
    }
    chance.min(1.0)
}

/// The logarithm of the number of ways to choose `some` of `all`.
fn choose(all: u64, some: u64) -> f64 {
    let factorial = |number: u64| libm::lgamma(number as f64 + 1.0);
    factorial(all) - factorial(some) - factorial(all - some)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn arm(requests: u64, errors: u64, millis: impl Fn(u64) -> u64) -> ArmCounts {
        let mut arm = ArmCounts::default();
        for request in 0..requests {
            arm.add(request < errors, Duration::from_millis(millis(request)));
        }
        arm
    }

    fn of(new: ArmCounts, old: ArmCounts) -> Option<WorseBy> {
        worse(&ArmPair { new, old }, true, ALPHA)
    }

    #[test]
    fn the_chances_are_those_of_fishers_tables() {
        let near = |chance: f64, expected: f64| {
            assert!(
                (chance - expected).abs() < 1e-6,
                "{chance} is not {expected}"
            );
        };
        // The lady tasting tea: 3 of 4 cups right is chance in 17 of 70, 4 of 4 in 1 of 70.
        near(greater((3, 4), (1, 4)), 17.0 / 70.0);
        near(greater((4, 4), (0, 4)), 1.0 / 70.0);
        near(greater((0, 4), (4, 4)), 1.0);
        near(greater((0, 50), (0, 50)), 1.0);
        // Convictions of like-sex twins (Fisher, 1934).
        near(greater((10, 13), (2, 17)), 0.000_465_180_949);
    }

    #[test]
    fn under_twenty_requests_in_an_arm_nothing_is_judged() {
        let one = |_| 1;
        assert_eq!(of(arm(19, 19, one), arm(500, 0, one)), None);
        assert_eq!(of(arm(500, 500, one), arm(19, 0, one)), None);
        assert_eq!(of(arm(20, 20, one), arm(20, 0, one)), Some(WorseBy::Errors));
    }

    #[test]
    fn significant_but_within_the_margin_is_not_worse() {
        let one = |_| 1;
        assert_eq!(of(arm(100_000, 900, one), arm(100_000, 0, one)), None);
        let over = of(arm(100_000, 1_100, one), arm(100_000, 0, one));
        assert_eq!(over, Some(WorseBy::Errors));
    }

    #[test]
    fn one_and_a_half_times_as_long_is_seen_and_left_out_where_only_errors_are_judged() {
        let new = arm(500, 0, |request| 30 + request % 45);
        let old = arm(500, 0, |request| 20 + request % 30);
        let pair = ArmPair { new, old };
        assert_eq!(worse(&pair, true, ALPHA), Some(WorseBy::Latency));
        assert_eq!(worse(&pair, false, ALPHA), None);
    }

    #[test]
    fn a_longer_tail_is_seen() {
        let tail = |request: u64| if request.is_multiple_of(20) { 900 } else { 20 };
        let found = of(arm(2_000, 0, tail), arm(100_000, 0, |_| 20));
        assert_eq!(found, Some(WorseBy::Tail));
    }

    #[test]
    fn large_counts_take_no_time_and_stay_chances() {
        let chance = greater((500_000, 1_000_000), (500_000, 1_000_000));
        assert!((0.49..0.52).contains(&chance), "{chance}");
        let many = 1 << 40;
        assert_eq!(greater((many / 2, many), (0, many)), 0.0);
    }
}
