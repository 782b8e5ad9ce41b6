//! A gateway's own look at the arms, every two seconds: faster than the leader's, and without it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::worse::{ALPHA, worse};
use crate::{ArmCounts, ArmPair, SHARE_ALL, WorseBy};

/// How long the old arm counts once all keys are the new plan's.
pub(crate) const OLD_ARM: Duration = Duration::from_secs(60);

/// Windows that must be worse in a row.
const STRIKES: u32 = 2;

/// Judges the arms of one rollout, window by window.
#[derive(Debug, Default)]
pub struct WindowJudge {
    share: u16,
    /// The counts at the end of the last window.
    last: ArmPair,
    /// The old arm by window, while there is one.
    old: VecDeque<(Duration, ArmCounts)>,
    strikes: u32,
}

impl WindowJudge {
    /// Judges the window that ends now, by the counts since the stage began; returns in what the new plan
    /// is worse if the one before was worse too.
    pub fn step(
        &mut self,
        counted: &ArmPair,
        (share, latency): (u16, bool),
        now: Duration,
    ) -> Option<WorseBy> {
        if share != self.share {
            // The counts begin anew with the stage.
            self.share = share;
            self.last = ArmPair::default();
            self.strikes = 0;
        }
        let mut window = counted.since(&self.last);
        self.last = counted.clone();
        let latency = latency && share < SHARE_ALL;
        if share < SHARE_ALL {
            self.old.push_back((now, window.old.clone()));
            let oldest = now.saturating_sub(OLD_ARM);
            while self.old.front().is_some_and(|(at, _)| *at < oldest) {
                self.old.pop_front();
            }
        } else {
            for (_, old) in &self.old {
                window.old.merge(old);
            }
        }
        let found = worse(&window, latency, ALPHA);
        self.strikes = match found {
            Some(_) => self.strikes + 1,
            None => 0,
        };
        found.filter(|_| self.strikes >= STRIKES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn add(pair: &mut ArmPair, new_errors: u64) {
        for request in 0..100 {
            pair.new.add(request < new_errors, 10 * MS);
            pair.old.add(false, 10 * MS);
        }
    }

    #[test]
    fn two_bad_windows_in_a_row_are_a_veto_and_a_good_one_between_forgives() {
        let mut judge = WindowJudge::default();
        let mut pair = ArmPair::default();
        let mut found = Vec::new();
        for (second, errors) in (0..).zip([20, 0, 20, 20]) {
            add(&mut pair, errors);
            found.push(judge.step(&pair, (500, true), second * 2_000 * MS));
        }
        assert_eq!(found, [None, None, None, Some(WorseBy::Errors)]);
    }

    #[test]
    fn with_all_keys_new_errors_are_judged_against_the_old_arm_of_the_last_stage() {
        let mut judge = WindowJudge::default();
        let mut pair = ArmPair::default();
        add(&mut pair, 0);
        assert_eq!(judge.step(&pair, (2_500, true), 2_000 * MS), None);
        let mut pair = ArmPair::default();
        let mut found = Vec::new();
        for second in 2..4 {
            for request in 0..100 {
                pair.new.add(request < 20, 500 * MS);
            }
            found.push(judge.step(&pair, (10_000, true), second * 2_000 * MS));
        }
        assert_eq!(found, [None, Some(WorseBy::Errors)]);
    }
}
