use proptest::prelude::*;

use super::*;

/// A moment of a simulated clock.
fn at(start: Instant, ms: u64) -> Instant {
    start + Duration::from_millis(ms)
}

fn log() -> FenceLog {
    FenceLog::new(SystemId(7), Timeline(1))
}

#[test]
fn nothing_is_proven_before_a_fence_is_passed() {
    let now = Instant::now();
    let mut fences = log();
    assert_eq!(fences.proven_at(Lsn(u64::MAX)), None);
    fences.push(now, now, Lsn(1000));
    assert_eq!(fences.proven_at(Lsn(999)), None);
    assert_eq!(fences.proven_at(Lsn(1000)), Some(now));
}

#[test]
fn an_idle_primary_keeps_proving_that_its_replica_is_fresh() {
    let start = Instant::now();
    let mut fences = log();
    for ms in (0..60_000).step_by(250) {
        fences.push(at(start, ms), at(start, ms + 80), Lsn(1000));
    }
    assert_eq!(fences.proven_at(Lsn(1000)), Some(at(start, 59_750)));
    assert_eq!(fences.lag(Lsn(1000), at(start, 60_000)), Duration::ZERO);
    assert_eq!(fences.runs.len(), 1);
}

#[test]
fn lag_counts_from_the_first_fence_that_was_missed() {
    let start = Instant::now();
    let mut fences = log();
    fences.push(at(start, 0), at(start, 80), Lsn(1000));
    fences.push(at(start, 250), at(start, 330), Lsn(2000));
    fences.push(at(start, 500), at(start, 580), Lsn(2000));
    let sampled = at(start, 1330);
    assert_eq!(fences.lag(Lsn(1500), sampled), Duration::from_secs(1));
    assert_eq!(fences.proven_at(Lsn(1500)), Some(at(start, 0)));
}

#[test]
fn a_fence_received_after_the_sample_was_sent_is_no_lag() {
    let start = Instant::now();
    let mut fences = log();
    fences.push(at(start, 0), at(start, 500), Lsn(2000));
    assert_eq!(fences.lag(Lsn(1000), at(start, 400)), Duration::ZERO);
}

#[test]
fn the_header_of_an_empty_page_is_no_lag() {
    let start = Instant::now();
    let segment = 16 << 20;
    for (page, header) in [(5 * 8192, 24), (segment, 40)] {
        let mut fences = log();
        fences.push(start, start, Lsn(page + header));
        assert_eq!(fences.proven_at(Lsn(page)), Some(start));
        assert_eq!(fences.lag(Lsn(page), at(start, 9000)), Duration::ZERO);
        assert_eq!(fences.proven_at(Lsn(page - 8)), None);
    }
}

#[test]
fn other_offsets_are_taken_as_they_are() {
    for offset in [0, 8, 16, 32, 48, 8184] {
        let lsn = Lsn(8192 * 3 + offset);
        assert_eq!(lsn.reachable_by_replay(), lsn);
    }
}

#[test]
fn a_primary_that_lost_wal_starts_the_log_anew() {
    let start = Instant::now();
    let mut fences = log();
    fences.push(at(start, 0), at(start, 1), Lsn(2000));
    fences.push(at(start, 250), at(start, 251), Lsn(1000));
    assert_eq!(fences.lag(Lsn(1000), at(start, 9000)), Duration::ZERO);
    assert_eq!(fences.proven_at(Lsn(1000)), Some(at(start, 250)));
    assert_eq!(fences.proven_at(Lsn(999)), None);
}

#[test]
fn only_a_later_fence_shows_that_a_replica_is_ahead() {
    let start = Instant::now();
    let mut fences = log();
    fences.push(at(start, 0), at(start, 1), Lsn(1000));
    assert!(!fences.is_overtaken_by(Lsn(2000), at(start, 5)));
    fences.push(at(start, 10), at(start, 11), Lsn(1000));
    assert!(fences.is_overtaken_by(Lsn(2000), at(start, 5)));
    assert!(!fences.is_overtaken_by(Lsn(1000), at(start, 5)));
}

#[test]
fn the_log_is_bounded_and_keeps_its_newest_fences() {
    let start = Instant::now();
    let mut fences = log();
    let count = 3 * RUNS_MAX as u64;
    for n in 0..count {
        fences.push(at(start, n), at(start, n), Lsn(n * 100));
        assert!(fences.runs.len() <= RUNS_MAX);
    }
    let newest = count - 1;
    assert_eq!(fences.proven_at(Lsn(newest * 100)), Some(at(start, newest)));
    let second = newest - 1;
    assert_eq!(fences.proven_at(Lsn(second * 100)), Some(at(start, second)));
}

/// The definitions of the design, literally, over all fences ever pushed.
struct Naive(Vec<(Instant, Instant, Lsn)>);

impl Naive {
    fn proven_at(&self, replayed: Lsn) -> Option<Instant> {
        let passed = self.0.iter().filter(|(_, _, lsn)| *lsn <= replayed);
        passed.map(|(sent, _, _)| *sent).max()
    }

    fn lag(&self, replayed: Lsn, sampled: Instant) -> Duration {
        let missing = self.0.iter().filter(|(_, _, lsn)| *lsn > replayed);
        let since = missing.map(|(_, received, _)| *received).min();
        since.map_or(Duration::ZERO, |since| {
            sampled.saturating_duration_since(since)
        })
    }
}

/// Steps of a primary's history: time since the last fence, its round trip, WAL written since.
fn fences(count: usize) -> impl Strategy<Value = Vec<(u64, u64, u64)>> {
    let written = prop_oneof![Just(0), 0..200_u64, 8000..9000_u64];
    prop::collection::vec((1..400_u64, 0..200_u64, written), 1..count)
}

/// A position that the primary can report: never within a page's header, only after it.
fn insertable(lsn: u64) -> Lsn {
    match lsn % 8192 {
        offset @ 1..=40 => Lsn(lsn - offset + 40),
        _ => Lsn(lsn),
    }
}

proptest! {
    #[test]
    fn both_bounds_are_those_of_the_design(
        steps in fences(200),
        questions in prop::collection::vec((0..300_000_u64, 0..80_000_u64), 20),
    ) {
        let start = Instant::now();
        let (mut fences, mut naive) = (log(), Naive(Vec::new()));
        let (mut ms, mut lsn) = (0, 8192);
        for (pause, round_trip, written) in steps {
            lsn += written;
            let sent = at(start, ms + pause);
            ms += pause + round_trip;
            fences.push(sent, at(start, ms), insertable(lsn));
            naive.0.push((sent, at(start, ms), insertable(lsn).reachable_by_replay()));
        }
        for (replayed, sampled) in questions {
            let (replayed, sampled) = (Lsn(replayed), at(start, sampled));
            prop_assert_eq!(fences.proven_at(replayed), naive.proven_at(replayed));
            prop_assert_eq!(fences.lag(replayed, sampled), naive.lag(replayed, sampled));
        }
    }

    #[test]
    fn thinning_out_never_tightens_a_bound(
        steps in fences(60),
        keep in 3..20_usize,
        replayed in 0..300_000_u64,
        sampled in 0..80_000_u64,
    ) {
        let start = Instant::now();
        let (mut thinned, mut whole) = (log(), log());
        let (mut ms, mut lsn) = (0, 0);
        for (pause, round_trip, written) in steps {
            lsn += written;
            let (sent, received) = (at(start, ms + pause), at(start, ms + pause + round_trip));
            ms += pause + round_trip;
            thinned.push(sent, received, insertable(lsn));
            whole.push(sent, received, insertable(lsn));
            if thinned.runs.len() > keep {
                thinned.thin_out();
            }
        }
        let (replayed, sampled) = (Lsn(replayed), at(start, sampled));
        prop_assert!(thinned.proven_at(replayed) <= whole.proven_at(replayed));
        prop_assert!(thinned.lag(replayed, sampled) <= whole.lag(replayed, sampled));
    }

    /// A primary that commits, a replica that applies later, monitors on slow links: the true
    /// values are known here, and must lie between the bounds.
    #[test]
    fn the_true_lag_lies_between_the_bounds(world in World::any(), looks in looks()) {
        let start = Instant::now();
        let mut fences = log();
        let mut asked = 0;
        for look in looks {
            // Each monitor sends at `sent`, gets the state at `read`, and receives it at `heard`.
            let sent = asked + look.pause;
            let (read, heard) = (sent + look.there, sent + look.there + look.back);
            asked = heard;
            let inserted = Lsn(world.committed_by(read));
            fences.push(at(start, sent), at(start, heard), inserted);

            let sampled = sent.saturating_sub(look.skew);
            let read = sampled + look.replica_there;
            let replayed = world.applied_by(read);
            let lag = fences.lag(Lsn(replayed), at(start, sampled));
            let truth = world.behind(replayed, read);
            prop_assert!(lag <= Duration::from_millis(truth), "lag {:?} > {}", lag, truth);

            if let Some(proven_at) = fences.proven_at(Lsn(replayed)) {
                let now = heard.max(read) + look.later;
                let staleness = at(start, now).saturating_duration_since(proven_at);
                let truth = world.behind(replayed, now);
                prop_assert!(
                    Duration::from_millis(truth) <= staleness,
                    "staleness {:?} < {}", staleness, truth
                );
            }
        }
    }
}

/// Commits of a primary in order: their times, and the times when a replica has applied them. The
/// LSN after commit n is (n + 1) × 100.
#[derive(Debug)]
struct World(Vec<(u64, u64)>);

impl World {
    fn any() -> impl Strategy<Value = Self> {
        let delay = prop_oneof![5 => 0..50_u64, 1 => 0..5000_u64];
        let commits = prop::collection::vec((0..600_u64, delay), 1..60);
        commits.prop_map(|steps| {
            let (mut committed, mut applied) = (0, 0);
            let commit = |(pause, delay): (u64, u64)| {
                committed += pause;
                applied = applied.max(committed + delay);
                (committed, applied)
            };
            Self(steps.into_iter().map(commit).collect())
        })
    }

    fn committed_by(&self, ms: u64) -> u64 {
        100 * self.0.iter().filter(|commit| commit.0 <= ms).count() as u64
    }

    fn applied_by(&self, ms: u64) -> u64 {
        100 * self.0.iter().filter(|commit| commit.1 <= ms).count() as u64
    }

    /// The age of a state at `ms`: the time since the first commit missing from it.
    fn behind(&self, replayed: u64, ms: u64) -> u64 {
        let lacking = usize::try_from(replayed / 100).unwrap();
        let since = self.0.get(lacking).map(|commit| commit.0);
        since.map_or(0, |since| ms.saturating_sub(since))
    }
}

/// One round of the monitors, all in milliseconds.
#[derive(Debug)]
struct Look {
    pause: u64,
    there: u64,
    back: u64,
    /// How much earlier than the fence the replica's sample was sent.
    skew: u64,
    replica_there: u64,
    /// When the bound is used, after the last of the answers.
    later: u64,
}

fn looks() -> impl Strategy<Value = Vec<Look>> {
    let look = (
        1..400_u64,
        0..300_u64,
        0..300_u64,
        0..500_u64,
        0..300_u64,
        0..2000_u64,
    );
    let look = look.prop_map(|(pause, there, back, skew, replica_there, later)| Look {
        pause,
        there,
        back,
        skew,
        replica_there,
        later,
    });
    prop::collection::vec(look, 1..60)
}
