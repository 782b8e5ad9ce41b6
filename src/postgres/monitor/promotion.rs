//! What can be observed of a promotion by monitoring the server during it: pure.

use crate::postgres::monitor::sample::Sample;
use tidegate_model::{Lsn, SystemId, Timeline, TimelineHistory};

/// The timeline that a server left when it was promoted, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Promotion {
    system: SystemId,
    left: Timeline,
    switch: Lsn,
}

impl Promotion {
    /// Returns what a sample shows of a promotion, or an earlier sample of the same life has shown.
    ///
    /// The end of replay is the switch point: `StartupXLOG` in PostgreSQL writes the end of the
    /// last record it replayed into the history file, and `pg_last_wal_replay_lsn()` keeps it for
    /// the life of the server; a later life shows where crash recovery ended, which says nothing.
    /// That the former timeline is the one last seen follows from the numbers: in one life they
    /// only grow, and none lies between two consecutive ones.
    pub(super) fn seen(
        before: Option<&Sample>,
        sample: &Sample,
        known: Option<Self>,
    ) -> Option<Self> {
        let before = before.filter(|before| before.identity == sample.identity)?;
        if !before.in_recovery || sample.in_recovery {
            return known;
        }
        let (system, left, begun) = (sample.system?, before.timeline?, sample.timeline?);
        let consecutive = left.0.checked_add(1) == Some(begun.0);
        (consecutive && before.system == Some(system)).then_some(Self {
            system,
            left,
            switch: sample.replayed?,
        })
    }

    /// Derives the history of the timeline that the promotion began from an earlier history.
    pub(super) fn leads_from(
        &self,
        before: &TimelineHistory,
        to: (SystemId, Timeline),
    ) -> Option<TimelineHistory> {
        let follows = to == (self.system, Timeline(self.left.0 + 1));
        let history = before.after_promotion(self.left, self.switch, to.1)?;
        (follows && history.present() == to).then_some(history)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::postgres::monitor::facts::Receiver;
    use tidegate_model::ServerIdentity;

    const SYSTEM: SystemId = SystemId(42);

    fn standby(timeline: u32) -> Sample {
        let now = Instant::now();
        Sample {
            sent: now,
            received: now,
            identity: ServerIdentity {
                address: None,
                port: Some(5433),
                started_at_us: 1,
            },
            in_recovery: true,
            lsn: Some(Lsn(1000)),
            replayed: Some(Lsn(1000)),
            system: Some(SYSTEM),
            timeline: Some(Timeline(timeline)),
            receiver: Receiver::Streaming,
        }
    }

    fn promoted(timeline: u32) -> Sample {
        Sample {
            in_recovery: false,
            lsn: Some(Lsn(5000)),
            replayed: Some(Lsn(1100)),
            ..standby(timeline)
        }
    }

    fn seen(before: &Sample, after: &Sample) -> Option<Promotion> {
        Promotion::seen(Some(before), after, None)
    }

    #[test]
    fn the_switch_point_is_where_replay_ended() {
        let second = TimelineHistory::parse(SYSTEM, Timeline(2), "1\t0/64").unwrap();
        let promotion = seen(&standby(2), &promoted(3)).unwrap();
        let third = promotion.leads_from(&second, (SYSTEM, Timeline(3)));
        let file = TimelineHistory::parse(SYSTEM, Timeline(3), "1\t0/64\n2\t0/44C");
        assert_eq!(third, file);
    }

    #[test]
    fn it_stays_known_for_the_rest_of_the_life() {
        let promotion = seen(&standby(2), &promoted(3));
        let later = Promotion::seen(Some(&promoted(3)), &promoted(3), promotion);
        assert_eq!(later, promotion);
        let mut restarted = promoted(3);
        restarted.identity.started_at_us = 2;
        assert_eq!(
            Promotion::seen(Some(&promoted(3)), &restarted, promotion),
            None
        );
    }

    #[test]
    fn what_was_not_watched_is_not_known() {
        assert_eq!(Promotion::seen(None, &promoted(3), None), None);
        assert_eq!(seen(&promoted(3), &promoted(3)), None);
        assert_eq!(
            seen(&standby(1), &promoted(3)),
            None,
            "it may have left 1 or 2"
        );
        let blind = Sample {
            replayed: None,
            ..promoted(3)
        };
        assert_eq!(seen(&standby(2), &blind), None);
        let elsewhere = Sample {
            system: Some(SystemId(43)),
            ..promoted(3)
        };
        assert_eq!(seen(&standby(2), &elsewhere), None);
    }
}
