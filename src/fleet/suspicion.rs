//! Whether this gateway has more reason to doubt itself than the others.

use std::collections::VecDeque;
use std::time::Duration;

/// How far back it looks.
const BACK: Duration = Duration::from_secs(5);

/// Fewer regions tell nothing.
const REGIONS_MIN: u32 = 2;

/// Other regions, by their place in the fleet's list.
pub(crate) type Set = u64;

#[derive(Clone, Debug, Default)]
pub(crate) struct Suspicion {
    /// What was reachable from when on, oldest first; the first one held at the time that is looked
    /// back to. Steps are 50 ms apart, so it is no longer than a hundred.
    history: VecDeque<(Duration, Set)>,
    /// The regions that were reachable when it began.
    since: Option<Set>,
}

impl Suspicion {
    pub(crate) fn suspects(&self) -> bool {
        self.since.is_some()
    }

    /// Takes in which other regions are reachable, against which its own eyes speak, and which there are.
    pub(crate) fn step(&mut self, reachable: Set, against: Set, listed: Set, now: Duration) {
        let before = self.look_back(reachable, now);
        let of = self.since.unwrap_or(before) & listed;
        let more_than_half = |regions: Set| (regions & of).count_ones() * 2 > of.count_ones();
        let enough = of.count_ones() >= REGIONS_MIN;
        let suspects = enough && (more_than_half(!reachable) || more_than_half(against));
        self.since = suspects.then_some(of);
    }

    fn look_back(&mut self, reachable: Set, now: Duration) -> Set {
        let changed = |(_, last): &(Duration, Set)| *last != reachable;
        if self.history.back().is_none_or(changed) {
            self.history.push_back((now, reachable));
        }
        let Some(past) = now.checked_sub(BACK) else {
            return 0;
        };
        while self.history.get(1).is_some_and(|(since, _)| *since <= past) {
            self.history.pop_front();
        }
        let first = self.history.front();
        first.map_or(0, |(since, held)| if *since <= past { *held } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns since when it suspects itself, in tenths of a second, and until when.
    fn spans(steps: &[(u64, Set, Set)]) -> Vec<(u64, bool)> {
        let mut suspicion = Suspicion::default();
        let mut spans = vec![(0, false)];
        for now in 0..400 {
            let at = steps.iter().rev().find(|(from, ..)| *from <= now).unwrap();
            suspicion.step(at.1, at.2, Set::MAX, Duration::from_millis(now * 100));
            if spans.last().unwrap().1 != suspicion.suspects() {
                spans.push((now, suspicion.suspects()));
            }
        }
        spans
    }

    #[test]
    fn three_of_four_silent_is_suspicious_until_half_are_back() {
        let spans = spans(&[(0, 0b1111, 0), (100, 0b0001, 0), (300, 0b0011, 0)]);
        assert_eq!(spans, [(0, false), (100, true), (300, false)]);
    }

    #[test]
    fn half_of_them_or_one_of_one_is_not() {
        assert_eq!(spans(&[(0, 0b1111, 0), (100, 0b0011, 0)]).len(), 1);
        assert_eq!(spans(&[(0, 0b1, 0), (100, 0, 0)]).len(), 1);
    }

    #[test]
    fn losses_that_are_more_than_five_seconds_apart_are_not() {
        let apart = spans(&[
            (0, 0b1111, 0),
            (100, 0b0111, 0),
            (151, 0b0011, 0),
            (202, 0b0001, 0),
        ]);
        assert_eq!(apart.len(), 1);
        let together = spans(&[(0, 0b1111, 0), (100, 0b0111, 0), (140, 0b0001, 0)]);
        assert_eq!(together, [(0, false), (140, true)]);
    }

    #[test]
    fn eyes_that_speak_against_more_than_half_are_doubted() {
        let spans = spans(&[(0, 0b111, 0), (100, 0b111, 0b011), (200, 0b111, 0b001)]);
        assert_eq!(spans, [(0, false), (100, true), (200, false)]);
    }

    #[test]
    fn regions_that_are_listed_no_more_are_not_missed() {
        let mut suspicion = Suspicion::default();
        for second in 0..20 {
            suspicion.step(0b1111, 0, 0b1111, Duration::from_secs(second));
        }
        suspicion.step(0b0001, 0, 0b0001, Duration::from_secs(20));
        assert!(!suspicion.suspects());
    }

    #[test]
    fn a_gateway_that_has_reached_no_region_yet_does_not_suspect_itself() {
        assert_eq!(spans(&[(0, 0, 0b111), (100, 0b100, 0b111)]).len(), 1);
    }
}
