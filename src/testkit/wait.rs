//! Waiting for a condition. There is no other kind of waiting here.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::time::{Instant, sleep};

/// Short enough not to be noticed, long enough that a hundred waits cost little CPU time.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Polls until the probe yields a value.
///
/// An error of the probe means "not yet"; the last one is reported if the deadline passes.
///
/// # Errors
///
/// Returns an error naming `what` if the deadline passes first.
pub async fn until<T>(
    what: &str,
    deadline: Duration,
    mut probe: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let outcome = probe().await;
        if let Ok(Some(value)) = outcome {
            return Ok(value);
        }
        if start.elapsed() >= deadline {
            let late = || format!("{what}: not within {deadline:?}");
            return Err(outcome
                .err()
                .unwrap_or_else(|| anyhow!("it still does not hold")))
            .with_context(late);
        }
        sleep(POLL_INTERVAL).await;
    }
}
