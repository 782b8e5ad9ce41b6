//! Background tasks that one panic must not end for good.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::sleep;

/// How long a task that has ended is left alone, so that one that ends at once does not fill the log.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// Runs a task that never ends. If it does, by a panic, that is logged and it begins again: without its
/// probes or its certificate, a gateway would go on with what was true long ago.
pub(super) async fn again_and_again<F: Future<Output = ()>>(
    name: &'static str,
    task: impl Fn() -> F,
) {
    loop {
        let _panic_or_end = AssertUnwindSafe(task()).catch_unwind().await;
        tracing::error!(task = name, "a background task has ended; it begins again");
        sleep(RESTART_DELAY).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_has_died_begins_again() {
        let (begun, third) = (AtomicU32::new(0), Notify::new());
        let task = async || {
            if begun.fetch_add(1, Ordering::Relaxed) < 2 {
                panic!("it dies");
            }
            third.notify_one();
            std::future::pending().await
        };
        tokio::select! {
            () = again_and_again("test", task) => {}
            () = third.notified() => {}
        }
        assert_eq!(begun.load(Ordering::Relaxed), 3);
    }
}
