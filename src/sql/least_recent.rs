//! The least of some recent times: what something takes without load.

use std::sync::Mutex;

use tokio::time::{Duration, Instant};

/// The least of the recent times.
#[derive(Debug)]
pub struct LeastRecent {
    /// How long the least time is kept at least, and at most twice as long.
    window: Duration,
    windows: Mutex<Option<Windows>>,
}

#[derive(Debug)]
struct Windows {
    since: Instant,
    least: Duration,
    least_before: Duration,
}

impl LeastRecent {
    /// Starts without any time; what becomes slower by itself counts as loaded for as long as a window.
    pub const fn over(window: Duration) -> Self {
        Self {
            window,
            windows: Mutex::new(None),
        }
    }

    /// Records a time, and returns the least of the recent ones. Of two simultaneous ones, one may be
    /// left out.
    pub fn add(&self, took: Duration, now: Instant) -> Duration {
        let Ok(mut windows) = self.windows.try_lock() else {
            return took;
        };
        let windows = windows.get_or_insert(Windows {
            since: now,
            least: took,
            least_before: took,
        });
        if now.saturating_duration_since(windows.since) >= self.window {
            windows.since = now;
            windows.least_before = windows.least;
            windows.least = took;
        }
        windows.least = windows.least.min(took);
        windows.least.min(windows.least_before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(30);
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_least_time_is_kept_for_a_while_and_then_forgotten() {
        let now = Instant::now();
        let unloaded = LeastRecent::over(WINDOW);
        assert_eq!(unloaded.add(5 * MS, now), 5 * MS);
        assert_eq!(unloaded.add(3 * MS, now), 3 * MS);
        assert_eq!(unloaded.add(40 * MS, now + WINDOW), 3 * MS);
        assert_eq!(unloaded.add(50 * MS, now + WINDOW * 2), 40 * MS);
    }
}
