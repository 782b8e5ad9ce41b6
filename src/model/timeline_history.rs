//! Where the timelines of a cluster branched off, and which positions survived: pure.
//!
//! A promotion ends a timeline at its switch point and begins the next. What was written above the
//! switch point of an ancestor is not part of the current history: no server has it any more.

use crate::{Lsn, RequestToken, SystemId, Timeline, WalPosition};

/// The ancestry of a cluster's current timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineHistory {
    system: SystemId,
    timeline: Timeline,
    /// Every known ancestor with its switch point, oldest first.
    ancestors: Vec<(Timeline, Lsn)>,
    /// The timeline before which nothing is known; none if everything is known.
    known_from: Option<Timeline>,
}

/// Whether what a position has seen is part of the current history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// It is.
    Survived,
    /// It lies above the switch point: it cannot be shown to be, and most likely is not.
    Lost,
    /// The switch point is not known here.
    Unknown,
}

impl TimelineHistory {
    /// Makes a history that knows the current timeline and, except for the first one, no ancestors.
    pub fn unread(system: SystemId, timeline: Timeline) -> Self {
        let first = timeline == Timeline(1);
        Self {
            system,
            timeline,
            ancestors: Vec::new(),
            known_from: (!first).then_some(timeline),
        }
    }

    /// Reads a timeline's history file: a line per ancestor with its number, its switch point and a
    /// reason (`writeTimeLineHistory` in PostgreSQL). Returns `None` if it is not a history file.
    pub fn parse(system: SystemId, timeline: Timeline, text: &str) -> Option<Self> {
        let lines = text.lines().map(str::trim_start);
        let entries = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let ancestors: Vec<_> = entries.map(ancestor).collect::<Option<_>>()?;
        let numbers = ancestors.iter().map(|(number, _)| *number);
        let ascending = numbers
            .chain([timeline])
            .is_sorted_by(|one, next| one < next);
        (ascending && !ancestors.is_empty()).then_some(Self {
            system,
            timeline,
            ancestors,
            known_from: None,
        })
    }

    /// Derives the history of a timeline that branched off this one or a known ancestor of it.
    /// Returns `None` if it branched off another.
    pub fn after_promotion(&self, left: Timeline, switch: Lsn, begun: Timeline) -> Option<Self> {
        let before = self.ancestors.partition_point(|(number, _)| *number < left);
        let known = self.ancestors.get(before);
        let known = known.map_or(self.timeline, |(number, _)| *number);
        let kept = self.ancestors[..before].iter().copied();
        (known == left && left < begun).then(|| Self {
            system: self.system,
            timeline: begun,
            ancestors: kept.chain([(left, switch)]).collect(),
            known_from: self.known_from,
        })
    }

    /// Returns whether every switch point is known.
    pub fn is_read(&self) -> bool {
        self.known_from.is_none()
    }

    /// Returns whether the start of the current timeline is known.
    pub fn knows_its_beginning(&self) -> bool {
        self.known_from != Some(self.timeline)
    }

    /// Returns the cluster and the timeline that this history belongs to.
    pub fn present(&self) -> (SystemId, Timeline) {
        (self.system, self.timeline)
    }

    /// Returns the timeline whose writes a replica at a position has: before the point where a
    /// timeline begins, it has only those of the one before. None if that point is not known.
    pub fn reached(&self, position: &WalPosition) -> Option<Timeline> {
        if position.system != self.system || position.timeline > self.timeline {
            return None;
        }
        let mut reached = position.timeline;
        for &(number, switch) in self.ancestors.iter().rev() {
            if number >= position.timeline {
                continue;
            }
            if position.lsn >= switch {
                return Some(reached);
            }
            reached = number;
        }
        match self.known_from {
            Some(from) if reached <= from => None,
            Some(_) | None => Some(reached),
        }
    }

    /// Returns whether what a position has seen is part of the current history.
    ///
    /// A position just behind a page header counts as the page's start, where a replica that has
    /// everything stops: padding is not a write.
    pub fn survives(&self, position: &WalPosition) -> Survival {
        if position.system != self.system || position.timeline > self.timeline {
            return Survival::Unknown;
        }
        if position.timeline == self.timeline {
            return Survival::Survived;
        }
        if self.known_from.is_some_and(|from| position.timeline < from) {
            return Survival::Unknown;
        }
        let left =
            |(number, switch): &(Timeline, Lsn)| (*number == position.timeline).then_some(*switch);
        match self.ancestors.iter().find_map(left) {
            Some(switch) if position.lsn.reachable_by_replay() <= switch => Survival::Survived,
            // A timeline that is not an ancestor was abandoned entirely.
            Some(_) | None => Survival::Lost,
        }
    }
}

impl RequestToken {
    /// Expresses the token in terms of the current timeline. A token whose history is not known
    /// here becomes unverifiable, which leaves the primary.
    ///
    /// # Errors
    ///
    /// [`WriteLost`] if what it has seen did not survive a failover.
    pub fn at_present(self, history: Option<&TimelineHistory>) -> Result<Self, WriteLost> {
        let (Self::Verified(position), Some(history)) = (self, history) else {
            return Ok(self);
        };
        let (system, timeline) = history.present();
        if position.system == system && position.timeline > timeline {
            return Ok(self); // the promotion has not been seen here yet
        }
        match history.survives(&position) {
            // Positions continue across timelines, so this one means the same on the next.
            Survival::Survived => Ok(Self::Verified(WalPosition {
                timeline,
                ..position
            })),
            Survival::Lost => Err(WriteLost),
            Survival::Unknown => Ok(Self::Unverifiable),
        }
    }
}

/// What a token has seen is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "what this token has seen was lost in a failover: the server that took over never had it; continue without the token"
)]
pub struct WriteLost;

/// Reads one line of a history file.
fn ancestor(line: &str) -> Option<(Timeline, Lsn)> {
    let mut fields = line.split_ascii_whitespace();
    let number = fields.next()?.parse().ok()?;
    Some((Timeline(number), fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SYSTEM: SystemId = SystemId(7);

    fn at(timeline: u32, lsn: u64) -> WalPosition {
        WalPosition {
            system: SYSTEM,
            timeline: Timeline(timeline),
            lsn: Lsn(lsn),
        }
    }

    fn history(timeline: u32, text: &str) -> TimelineHistory {
        TimelineHistory::parse(SYSTEM, Timeline(timeline), text).unwrap()
    }

    /// As PostgreSQL 15 writes it.
    const THIRD: &str = "1\t0/3000148\tno recovery target specified\n\n\
                         2\t0/50000A0\tno recovery target specified\n";

    #[test]
    fn a_position_survives_up_to_its_own_switch_point() {
        let third = history(3, THIRD);
        for (position, survival) in [
            (at(1, 0x300_0148), Survival::Survived),
            (at(1, 0x300_0150), Survival::Lost),
            (at(1, 0x500_00A0), Survival::Lost),
            (at(2, 0x500_00A0), Survival::Survived),
            (at(2, 0x500_00A8), Survival::Lost),
            (at(3, u64::MAX), Survival::Survived),
            (at(4, 0), Survival::Unknown),
        ] {
            assert_eq!(third.survives(&position), survival, "{position}");
        }
    }

    #[test]
    fn page_headers_above_the_switch_point_are_no_writes() {
        let second = history(2, "1\t0/3002000\tx");
        for padded in [0x300_2018, 0x300_2028] {
            assert_eq!(second.survives(&at(1, padded)), Survival::Survived);
        }
        assert_eq!(second.survives(&at(1, 0x300_2030)), Survival::Lost);
    }

    #[test]
    fn a_replica_has_a_timelines_writes_only_once_it_has_replayed_its_begin() {
        let second = history(2, "1\t0/3002000\tx");
        let reached = |timeline, lsn| second.reached(&at(timeline, lsn));
        assert_eq!(reached(2, 0x300_1fff), Some(Timeline(1)));
        assert_eq!(reached(2, 0x300_2000), Some(Timeline(2)));
        assert_eq!(reached(1, 0x400_0000), Some(Timeline(1)));
        assert_eq!(reached(3, 0x400_0000), None);
        let unread = TimelineHistory::unread(SYSTEM, Timeline(2));
        assert_eq!(unread.reached(&at(2, 0x300_2000)), None);
        let first = TimelineHistory::unread(SYSTEM, Timeline(1));
        assert_eq!(first.reached(&at(1, 1)), Some(Timeline(1)));
    }

    #[test]
    fn an_abandoned_branch_is_lost() {
        let third = history(3, "1\t0/3000148\tx");
        assert_eq!(third.survives(&at(2, 1)), Survival::Lost);
    }

    #[test]
    fn what_is_not_known_is_not_lost() {
        let unread = TimelineHistory::unread(SYSTEM, Timeline(2));
        assert!(!unread.is_read());
        assert_eq!(unread.survives(&at(1, 1)), Survival::Unknown);
        assert_eq!(unread.survives(&at(2, 1)), Survival::Survived);
        let other = WalPosition {
            system: SystemId(8),
            ..at(1, 1)
        };
        assert_eq!(history(3, THIRD).survives(&other), Survival::Unknown);
        assert!(TimelineHistory::unread(SYSTEM, Timeline(1)).is_read());
    }

    #[test]
    fn what_began_in_plain_sight_is_known_though_what_was_before_is_not() {
        let fourth = TimelineHistory::unread(SYSTEM, Timeline(4));
        assert!(!fourth.knows_its_beginning());
        let fifth = fourth.after_promotion(Timeline(4), Lsn(500), Timeline(5));
        let sixth = fifth.and_then(|it| it.after_promotion(Timeline(5), Lsn(600), Timeline(6)));
        let sixth = sixth.unwrap();
        assert!(sixth.knows_its_beginning() && !sixth.is_read());
        for (position, survival) in [
            (at(3, 1), Survival::Unknown),
            (at(4, 500), Survival::Survived),
            (at(4, 501), Survival::Lost),
            (at(5, 600), Survival::Survived),
            (at(5, 601), Survival::Lost),
            (at(6, 601), Survival::Survived),
        ] {
            assert_eq!(sixth.survives(&position), survival, "{position}");
        }
        let elsewhere = sixth.after_promotion(Timeline(3), Lsn(1), Timeline(7));
        assert_eq!(elsewhere, None, "what it left is not known");
    }

    #[test]
    fn other_texts_are_refused() {
        let read = |text| TimelineHistory::parse(SYSTEM, Timeline(3), text);
        assert_eq!(read("# a comment\n 1\t0/1\tx"), read("1\t0/1"));
        for text in [
            "",
            "# nothing",
            "1",
            "1\tx",
            "x\t0/1",
            "3\t0/1",
            "2\t0/1\n1\t0/2",
            "1\t0/1\n1\t0/1",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_token_is_carried_over_refused_or_left_to_the_primary() {
        let third = history(3, THIRD);
        let present = |position| RequestToken::Verified(position).at_present(Some(&third));
        assert_eq!(present(at(1, 5)), Ok(RequestToken::Verified(at(3, 5))));
        assert_eq!(present(at(2, u64::MAX)), Err(WriteLost));
        assert_eq!(present(at(4, 5)), Ok(RequestToken::Verified(at(4, 5))));
        let elsewhere = WalPosition {
            system: SystemId(8),
            ..at(4, 5)
        };
        assert_eq!(present(elsewhere), Ok(RequestToken::Unverifiable));
        let token = RequestToken::Verified(at(1, 5));
        assert_eq!(token.at_present(None), Ok(token));
        let unread = TimelineHistory::unread(SYSTEM, Timeline(2));
        let left = token.at_present(Some(&unread));
        assert_eq!(left, Ok(RequestToken::Unverifiable));
    }

    /// Ascending timelines and switch points, as promotions produce them.
    fn switches() -> impl Strategy<Value = Vec<(u32, u64)>> {
        proptest::collection::vec((1..3_u32, 0..1_u64 << 30), 1..8).prop_map(|steps| {
            let next = |before: &mut (u32, u64), (number, bytes): (u32, u64)| {
                *before = (before.0 + number, before.1 + bytes);
                Some(*before)
            };
            steps.into_iter().scan((0, 0), next).collect()
        })
    }

    fn write(switches: &[(u32, u64)]) -> String {
        let line = |(number, lsn): &(u32, u64)| format!("{number}\t{}\treason\n", Lsn(*lsn));
        switches.iter().map(line).collect()
    }

    proptest! {
        #[test]
        fn survival_ends_at_the_switch_point(switches in switches(), lsn in 0..1_u64 << 33) {
            let present = switches.last().unwrap().0 + 1;
            let history = history(present, &write(&switches));
            for (number, switch) in &switches {
                let survives = history.survives(&at(*number, lsn)) == Survival::Survived;
                let below = Lsn(lsn).reachable_by_replay() <= Lsn(*switch);
                prop_assert_eq!(survives, below);
                prop_assert_eq!(history.survives(&at(*number, *switch)), Survival::Survived);
            }
        }

        #[test]
        fn what_survives_takes_all_before_it_along(switches in switches(), lsn: u64, earlier: u64) {
            let present = switches.last().unwrap().0 + 1;
            let history = history(present, &write(&switches));
            // No record ends within a page's header, where the order would be meaningless.
            let (earlier, lsn) = (earlier.min(lsn) & !8191, earlier.max(lsn));
            let number = switches[0].0;
            if history.survives(&at(number, lsn)) == Survival::Survived {
                prop_assert_eq!(history.survives(&at(number, earlier)), Survival::Survived);
            }
        }

        #[test]
        fn no_text_panics(text in "([0-9]{0,11}[\t ]?[0-9A-Fx]{0,9}/?[0-9A-F]{0,9}\n?){0,4}") {
            let _ = TimelineHistory::parse(SYSTEM, Timeline(9), &text);
        }
    }
}
