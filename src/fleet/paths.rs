//! What a region that has left is asked for: paths that it was quick to answer before.
//!
//! A path that takes its time when all is well says nothing about the region, and its probes would be
//! work for a region that has too much of it: it is not kept.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tidegate_traffic::health::Outcome;

/// A probe has failed after this time.
pub const PROBE_MAX: Duration = Duration::from_secs(3);

/// A path whose answer took as long is not kept: well under the time for a probe.
pub(crate) const QUICK_MAX: Duration = Duration::from_secs(1);

/// A probe that nothing was heard of for so long was lost.
const UNDER_WAY_MAX: Duration = Duration::from_secs(6);

/// A path of which all probes fail slowly for so long, while those of another one are answered, has become
/// slow by itself.
const TIMING_OUT_MAX: Duration = Duration::from_secs(60);

/// Paths that are kept to be asked, and how long one may be.
const PATHS: usize = 16;
const PATH_BYTES_MAX: usize = 1_024;

#[derive(Clone, Debug, Default)]
pub(crate) struct Paths {
    /// The one that was handed on last comes last.
    kept: VecDeque<KeptPath>,
    /// When a probe of one of them was last answered, other than by a failure.
    served_at: Option<Duration>,
}

#[derive(Clone, Debug)]
struct KeptPath {
    path: Arc<str>,
    asked_at: Option<Duration>,
    is_under_way: bool,
    /// Since when all of its probes have timed out, by their own time or by a shorter one of the region.
    timing_out_since: Option<Duration>,
}

impl Paths {
    /// Keeps a path to be asked while the region has left: one of the last sixteen.
    pub(crate) fn remember(&mut self, path: &str) {
        if path.len() > PATH_BYTES_MAX {
            return;
        }
        let known = self.position(path).and_then(|at| self.kept.remove(at));
        if known.is_none() && self.kept.len() == PATHS {
            self.kept.pop_front();
        }
        self.kept.push_back(known.unwrap_or_else(|| KeptPath {
            path: path.into(),
            asked_at: None,
            is_under_way: false,
            timing_out_since: None,
        }));
    }

    /// Returns whether there is nothing to ask because everything is being asked.
    pub(crate) fn are_all_under_way(&self, now: Duration) -> bool {
        let under_way = |it: &KeptPath| it.is_under_way(now);
        !self.kept.is_empty() && self.kept.iter().all(under_way)
    }

    /// Returns what to ask, in turn; each path once at a time.
    pub(crate) fn ask(&mut self, now: Duration) -> Option<Arc<str>> {
        let free = self.kept.iter_mut().filter(|it| !it.is_under_way(now));
        let next = free.min_by_key(|it| it.asked_at)?;
        next.asked_at = Some(now);
        next.is_under_way = true;
        Some(Arc::clone(&next.path))
    }

    /// Takes in what came of a probe, and after which time.
    ///
    /// A path that times out is no longer asked once it is clear that it is the path and not the
    /// region: for a minute no probe of it is answered, but probes of another one are.
    pub(crate) fn asked(&mut self, path: &str, outcome: Outcome, took: Duration, now: Duration) {
        if outcome == Outcome::Served {
            self.served_at = Some(now);
        }
        let Some(at) = self.position(path) else {
            return;
        };
        let known = &mut self.kept[at];
        known.is_under_way = false;
        // A path that is kept was answered in less.
        let timed_out = outcome == Outcome::Failed && took >= QUICK_MAX;
        let since = timed_out.then(|| known.timing_out_since.unwrap_or(now));
        known.timing_out_since = since;
        let is_slow_by_itself = since.is_some_and(|since| {
            let others_are_served = |at: Duration| at >= since + TIMING_OUT_MAX / 2;
            now.saturating_sub(since) >= TIMING_OUT_MAX
                && self.served_at.is_some_and(others_are_served)
        });
        if is_slow_by_itself {
            self.kept.remove(at);
        }
    }

    fn position(&self, path: &str) -> Option<usize> {
        self.kept.iter().position(|it| *it.path == *path)
    }
}

impl KeptPath {
    fn is_under_way(&self, now: Duration) -> bool {
        let is_recent = |at| now.saturating_sub(at) < UNDER_WAY_MAX;
        self.is_under_way && self.asked_at.is_some_and(is_recent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICKLY: Duration = Duration::from_millis(10);

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn with(paths: &[&str]) -> Paths {
        let mut all = Paths::default();
        for path in paths {
            all.remember(path);
        }
        all
    }

    /// Asks for everything every four seconds; `/slow` times out, and the others end in one way.
    fn ask_for(paths: &mut Paths, seconds: u64, (outcome, took): (Outcome, Duration)) {
        for now in (0..seconds).step_by(4).map(secs) {
            while let Some(path) = paths.ask(now) {
                let (outcome, took) = match &*path {
                    "/slow" => (Outcome::Failed, PROBE_MAX),
                    _ => (outcome, took),
                };
                paths.asked(&path, outcome, took, now + took);
                if paths.kept.iter().all(|it| it.asked_at == Some(now)) {
                    break;
                }
            }
        }
    }

    fn are(paths: &Paths) -> Vec<&str> {
        paths.kept.iter().map(|it| &*it.path).collect()
    }

    #[test]
    fn the_last_sixteen_paths_are_asked_in_turn() {
        let mut paths = Paths::default();
        assert_eq!(paths.ask(secs(0)), None);
        for number in (0..16).chain([0, 1]).chain(16..18) {
            paths.remember(&format!("/{number}"));
        }
        paths.remember(&"x".repeat(PATH_BYTES_MAX + 1));
        let asked: Vec<_> = (0..16).filter_map(|_| paths.ask(secs(0))).collect();
        let expected: Vec<_> = (4..16).chain([0, 1, 16, 17]).collect();
        let expected: Vec<_> = expected.iter().map(|it| format!("/{it}")).collect();
        assert_eq!(asked.iter().map(|it| &**it).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_path_is_not_asked_again_before_its_probe_has_ended() {
        let mut paths = with(&["/a", "/b"]);
        assert!(!paths.are_all_under_way(secs(0)));
        assert_eq!(paths.ask(secs(0)).as_deref(), Some("/a"));
        paths.asked("/a", Outcome::Served, QUICKLY, secs(1));
        assert_eq!(paths.ask(secs(1)).as_deref(), Some("/b"));
        assert_eq!(paths.ask(secs(2)).as_deref(), Some("/a"));
        assert_eq!(paths.ask(secs(2)), None);
        assert!(paths.are_all_under_way(secs(2)));
        // Nothing was heard of it.
        assert_eq!(paths.ask(secs(7)).as_deref(), Some("/b"));
    }

    #[test]
    fn a_path_that_alone_times_out_for_a_minute_is_dropped() {
        let mut paths = with(&["/slow", "/quick"]);
        ask_for(&mut paths, 56, (Outcome::Served, QUICKLY));
        assert_eq!(are(&paths), ["/slow", "/quick"]);
        let mut paths = with(&["/slow", "/quick"]);
        ask_for(&mut paths, 80, (Outcome::Served, QUICKLY));
        assert_eq!(are(&paths), ["/quick"]);
    }

    #[test]
    fn a_path_that_alone_reaches_a_limit_of_the_region_for_a_minute_is_dropped() {
        let mut paths = with(&["/slow", "/quick"]);
        for now in (0..80).step_by(4).map(secs) {
            paths.asked("/slow", Outcome::Failed, QUICK_MAX, now);
            paths.asked("/quick", Outcome::Served, QUICKLY, now);
        }
        assert_eq!(are(&paths), ["/quick"]);
    }

    #[test]
    fn paths_of_a_region_that_fails_or_answers_nothing_are_kept() {
        for ended in [(Outcome::Failed, PROBE_MAX), (Outcome::Failed, QUICKLY)] {
            let mut paths = with(&["/slow", "/other"]);
            ask_for(&mut paths, 300, ended);
            assert_eq!(are(&paths), ["/slow", "/other"]);
        }
    }
}
