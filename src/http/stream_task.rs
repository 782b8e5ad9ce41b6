//! The tasks that HTTP/2 requests run on.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use tokio::time::{Duration, Instant, sleep};

/// Spawns one task per HTTP/2 stream and drops a task whose client takes nothing for too long.
///
/// A client may keep its connection busy but never open the flow-control window of one stream.
/// hyper then waits indefinitely, with the answer in memory; dropping the task resets the stream.
/// The task ends with its connection, which is also how a drain ends it.
#[derive(Debug, Clone)]
pub struct StreamTasks {
    /// How long a client may take nothing of an answer.
    pub write_timeout: Duration,
}

impl<F> hyper::rt::Executor<F> for StreamTasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(unless_stalled(stream, self.write_timeout));
    }
}

/// What the answer of a stream did while its task was polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// It was not polled: hyper waits for the client.
    Untouched,
    /// It had nothing to give yet.
    Pending,
    /// It gave a piece, which waits for the client now.
    Given,
}

thread_local! {
    /// Of the task that this thread polls. hyper keeps the answer to itself, but polls it in here.
    static ANSWER: Cell<Answer> = const { Cell::new(Answer::Untouched) };
}

/// Notes that the answer of the stream that is being polled was polled itself.
pub fn note_answer<T>(polled: &Poll<T>) {
    ANSWER.set(match polled {
        Poll::Pending => Answer::Pending,
        Poll::Ready(_) => Answer::Given,
    });
}

/// Runs the task of a stream until it completes, or its client has taken nothing for the given time.
/// The time in which the answer is being made does not count.
async fn unless_stalled<F: Future>(stream: F, timeout: Duration) {
    let mut stream = pin!(stream);
    let mut stall = pin!(sleep(timeout));
    let mut waits_for_client = false;
    poll_fn(|cx| {
        ANSWER.set(Answer::Untouched);
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match ANSWER.get() {
            Answer::Untouched => {}
            Answer::Pending => waits_for_client = false,
            Answer::Given => {
                waits_for_client = true;
                stall.as_mut().reset(Instant::now() + timeout);
            }
        }
        if !waits_for_client {
            return Poll::Pending;
        }
        stall.as_mut().poll(cx)
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_is_dropped_however_often_its_task_is_woken() {
        let start = Instant::now();
        let stream = async {
            note_answer(&Poll::Ready(()));
            loop {
                sleep(TIMEOUT / 10).await;
            }
        };
        unless_stalled(stream, TIMEOUT).await;
        assert_eq!(start.elapsed(), TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_taken_piece_by_piece_may_take_its_time() {
        let start = Instant::now();
        let slow = async {
            for _ in 0..10 {
                note_answer(&Poll::Ready(()));
                sleep(TIMEOUT / 2).await;
            }
        };
        unless_stalled(slow, TIMEOUT).await;
        assert_eq!(start.elapsed(), TIMEOUT * 5);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_in_the_making_has_no_deadline_here() {
        let start = Instant::now();
        let slow = async {
            note_answer(&Poll::<()>::Pending);
            sleep(TIMEOUT * 5).await;
        };
        unless_stalled(slow, TIMEOUT).await;
        assert_eq!(start.elapsed(), TIMEOUT * 5);
    }
}
