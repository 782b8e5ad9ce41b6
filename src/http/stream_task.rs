//! The tasks that HTTP/2 requests run on.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use tokio::time::{Duration, Instant, sleep};

/// Spawns one task per HTTP/2 stream and drops a task that makes no progress for too long.
///
/// A client may keep its connection busy but never open the flow-control window of one stream.
/// hyper then waits indefinitely, with the answer in memory; dropping the task resets the stream.
/// The task ends with its connection, which is also how a drain ends it.
#[derive(Debug, Clone)]
pub(super) struct StreamTasks {
    pub(super) write_timeout: Duration,
}

impl<F> hyper::rt::Executor<F> for StreamTasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(unless_stalled(stream, self.write_timeout));
    }
}

/// Runs a future until it completes or has not been woken for the given time.
async fn unless_stalled<F: Future>(stream: F, timeout: Duration) {
    let mut stream = pin!(stream);
    let mut stall = pin!(sleep(timeout));
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() || stall.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        stall.as_mut().reset(Instant::now() + timeout);
        stall.as_mut().poll(cx)
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_task_that_is_never_woken_is_dropped() {
        let start = Instant::now();
        unless_stalled(std::future::pending::<()>(), TIMEOUT).await;
        assert_eq!(start.elapsed(), TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_task_that_makes_progress_may_take_its_time() {
        let start = Instant::now();
        let slow = async {
            for _ in 0..10 {
                sleep(TIMEOUT / 2).await;
            }
        };
        unless_stalled(slow, TIMEOUT).await;
        assert_eq!(start.elapsed(), TIMEOUT * 5);
    }
}
