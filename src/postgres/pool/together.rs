//! A question that several tasks ask at about the same time is asked once, and all of them get its answer.
//!
//! A task that asks first lets the other tasks run that can run now, so that they can join. The answer is always to a
//! question that was asked after the last of them had joined.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use futures_util::future::{BoxFuture, FutureExt, Shared};

/// The question that can still be joined.
pub(super) struct Together<T>(Mutex<Option<Question<T>>>);

type Question<T> = Shared<BoxFuture<'static, T>>;

impl<T> Default for Together<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone + Send + Sync + 'static> Together<T> {
    /// Asks after this was first polled; the future that `ask` makes asks when it is first polled. Cancel-safe: each
    /// task that waits goes on without the others.
    pub(super) async fn ask(&self, ask: impl FnOnce() -> BoxFuture<'static, T>) -> T {
        let question = self.lock().get_or_insert_with(|| ask().shared()).clone();
        let_others_run().await;
        // No task can join from here on: it may be on its way.
        drop(self.lock().take_if(|open| open.ptr_eq(&question)));
        question.await
    }

    fn lock(&self) -> MutexGuard<'_, Option<Question<T>>> {
        // A panic while it is held cannot leave half a question.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits behind all tasks of this thread that can run.
async fn let_others_run() {
    let mut have_run = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut have_run, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    /// What was sent, and the questions of how much that is.
    #[derive(Default)]
    struct Line {
        sent: AtomicUsize,
        asked: AtomicUsize,
        questions: Together<usize>,
    }

    /// Sends, and returns how much had been sent by then and what the answer covers.
    async fn send_and_ask(line: Arc<Line>) -> (usize, usize) {
        let sent = line.sent.fetch_add(1, Ordering::Relaxed) + 1;
        let ask = || {
            let line = Arc::clone(&line);
            async move {
                line.asked.fetch_add(1, Ordering::Relaxed);
                let covered = line.sent.load(Ordering::Relaxed);
                tokio::task::yield_now().await;
                covered
            }
            .boxed()
        };
        (sent, line.questions.ask(ask).await)
    }

    #[tokio::test]
    async fn one_answer_covers_all_that_was_sent_at_about_the_same_time() {
        let line = Arc::<Line>::default();
        for round in 1..=3 {
            let tasks = (0..10).map(|_| tokio::spawn(send_and_ask(Arc::clone(&line))));
            for ended in join_all(tasks).await {
                let (sent, covered) = ended.unwrap();
                assert!(covered >= sent, "{covered} of {sent}");
            }
            assert_eq!(line.asked.load(Ordering::Relaxed), round);
        }
    }

    #[tokio::test]
    async fn who_comes_after_the_question_was_asked_asks_another() {
        let line = Arc::<Line>::default();
        let mut first = pin!(send_and_ask(Arc::clone(&line)));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(first.as_mut().now_or_never().is_none());
        let second = send_and_ask(Arc::clone(&line));
        assert_eq!((second.await, first.await), ((2, 2), (1, 1)));
    }

    #[tokio::test]
    async fn those_who_wait_go_on_without_the_one_that_has_asked() {
        for polls in 1..=2 {
            let line = Arc::<Line>::default();
            let mut first = Box::pin(send_and_ask(Arc::clone(&line)));
            assert!(first.as_mut().now_or_never().is_none());
            let mut second = pin!(send_and_ask(Arc::clone(&line)));
            assert!(second.as_mut().now_or_never().is_none());
            for _ in 1..polls {
                assert!(first.as_mut().now_or_never().is_none());
            }
            drop(first);
            assert_eq!(second.await, (2, 2));
            assert_eq!(line.asked.load(Ordering::Relaxed), 1);
        }
    }
}
