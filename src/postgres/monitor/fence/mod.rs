//! Fences: the primary's positions at moments of this process's clock.
//!
//! From them follow two bounds on the age of a replica's data that need no other clock: it is at
//! most as old as the newest fence it has passed, and at least as far behind as the oldest it has
//! not.

use std::time::Duration;

use tokio::time::Instant;

use tidegate_model::{Lsn, SystemId, Timeline};

/// Most runs kept: a quarter of an hour of a constantly busy primary, at four samples a second.
const RUNS_MAX: usize = 4096;

/// The fences of one timeline of one system.
#[derive(Debug)]
pub struct FenceLog {
    system: SystemId,
    timeline: Timeline,
    /// Ascending in every field.
    runs: Vec<Run>,
}

/// Consecutive fences with one LSN. Only its ends matter: any fence between them is implied.
#[derive(Debug)]
struct Run {
    lsn: Lsn,
    received_first: Instant,
    sent_last: Instant,
}

impl FenceLog {
    /// Starts an empty log for one history.
    pub fn new(system: SystemId, timeline: Timeline) -> Self {
        Self {
            system,
            timeline,
            runs: Vec::new(),
        }
    }

    /// Returns the history's system and timeline; positions of another must not be compared with
    /// it.
    pub fn history(&self) -> (SystemId, Timeline) {
        (self.system, self.timeline)
    }

    /// Adds a fence: the primary's insert LSN, when it was requested and when it arrived.
    ///
    /// Fences come in the order in which they were sent. A lower LSN than before means that the
    /// primary lost WAL in a crash, so everything known about that history is forgotten.
    pub fn push(&mut self, sent: Instant, received: Instant, lsn: Lsn) {
        let lsn = lsn.reachable_by_replay();
        if self.runs.last().is_some_and(|last| last.lsn > lsn) {
            self.runs.clear();
        }
        match self.runs.last_mut() {
            Some(last) if last.lsn == lsn => last.sent_last = sent,
            _ => self.runs.push(Run {
                lsn,
                received_first: received,
                sent_last: sent,
            }),
        }
        if self.runs.len() > RUNS_MAX {
            self.thin_out();
        }
    }

    /// Returns the latest moment whose complete state a replica at `replayed` has; none if it has
    /// passed no fence. The age of its answers never exceeds the time since then.
    ///
    /// What was visible on the primary when the fence was sent had its commit record inserted
    /// before, hence below the fence's LSN.
    pub fn proven_at(&self, replayed: Lsn) -> Option<Instant> {
        let passed = self.passed(replayed);
        self.runs[..passed].last().map(|run| run.sent_last)
    }

    /// Returns a lower bound on how far a replica was behind, if a sample sent at `sampled`
    /// returned `replayed`; zero if it had passed every fence received by then.
    pub fn lag(&self, replayed: Lsn, sampled: Instant) -> Duration {
        let passed = self.passed(replayed);
        let missing = self.runs.get(passed).map(|run| run.received_first);
        missing.map_or(Duration::ZERO, |since| {
            sampled.saturating_duration_since(since)
        })
    }

    /// Returns whether a replica that answered `replayed` at `received` was ahead of the primary at
    /// a later time, which is impossible for a replica of this history.
    pub fn is_overtaken_by(&self, replayed: Lsn, received: Instant) -> bool {
        self.runs.last().is_some_and(|last| {
            last.sent_last >= received && last.lsn < replayed.reachable_by_replay()
        })
    }

    /// Counts the runs at or below a position.
    fn passed(&self, replayed: Lsn) -> usize {
        self.runs.partition_point(|run| run.lsn <= replayed)
    }

    /// Drops every second run of the older half. Both bounds remain valid without a fence: the
    /// newest passed one is then older, the oldest missing one younger.
    fn thin_out(&mut self) {
        let older_half = self.runs.len() / 2;
        let mut index = 0;
        self.runs.retain(|_| {
            index += 1;
            index > older_half || index % 2 == 0
        });
    }
}

#[cfg(test)]
mod tests;
