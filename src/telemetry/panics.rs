//! Panics in background tasks: logged, counted, and not the end of what must go on.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::sleep;

use crate::names;

/// How long a task is left alone after a panic, so that one that panics at once does not fill the log.
pub const PANIC_PAUSE: Duration = Duration::from_secs(1);

/// Does one round of a task that goes on after it; returns none if it has panicked. What it holds may be half
/// done then: whoever goes on knows why that is sound.
pub async fn survive<T>(task: &'static str, round: impl Future<Output = T>) -> Option<T> {
    let ended = AssertUnwindSafe(round).catch_unwind().await;
    if ended.is_err() {
        metrics::counter!(names::BACKGROUND_PANICS).increment(1);
        tracing::error!(task, "a background task has panicked: it goes on");
    }
    ended.ok()
}

/// Runs a task, and anew whenever it has panicked, with nothing of what it had in hand. Returns when it ends.
pub async fn again_and_again<F: Future>(task: &'static str, begin: impl Fn() -> F) -> F::Output {
    loop {
        if let Some(ended) = survive(task, begin()).await {
            return ended;
        }
        sleep(PANIC_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_has_panicked_begins_again_and_one_that_ends_does_not() {
        let begun = AtomicU32::new(0);
        let task = async || {
            let before = begun.fetch_add(1, Ordering::Relaxed);
            assert!(before >= 2, "it dies");
            before
        };
        assert_eq!(again_and_again("test", task).await, 2);
        assert_eq!(begun.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn a_round_that_panics_leaves_the_rest_of_the_task() {
        let mut done = Vec::new();
        for round in 0..3 {
            let work = async {
                assert!(round != 1, "it dies");
                round
            };
            done.push(survive("test", work).await);
        }
        assert_eq!(done, [Some(0), None, Some(2)]);
    }
}
