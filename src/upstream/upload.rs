//! The transfer of a request's body to a node: bounded, monitored, and kept until a node takes it.
//!
//! Nothing is read ahead: more is read from the client when the node's connection has room.
//! Trailers are dropped. What is left of a body when its answer has ended is given up: nobody else
//! would bound it then.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};

/// One request's body. Several attempts may receive it, but only one can have read from it.
#[derive(Clone, Debug)]
pub struct Upload(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    source: Mutex<Source>,
    bytes_max: usize,
    state: watch::Sender<UploadState>,
}

#[derive(Debug)]
struct Source {
    body: Body,
    taken: usize,
    /// The client's deadline, which also applies after the answer has begun.
    late: Pin<Box<Sleep>>,
    /// The connection that waits for more.
    waiting: Option<Waker>,
}

/// The progress of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadState {
    /// No byte was read.
    Whole,
    /// Some bytes were read.
    Flowing,
    /// All of it was read, at this time.
    Taken(Instant),
    /// It is longer than allowed.
    TooLarge,
    /// The client did not send it in time.
    TooSlow,
    /// The client interrupted it, or its answer ended before it.
    Broken,
}

/// Why a body ends early; the connection to the node ends with it.
#[derive(Debug, thiserror::Error)]
#[error("the client's body ended early")]
pub struct UploadError;

impl Upload {
    /// Takes a body of at most `bytes_max`, which has to arrive until then.
    #[must_use]
    pub fn new(body: Body, bytes_max: usize, until: Instant) -> Self {
        let source = Source {
            body,
            taken: 0,
            late: Box::pin(sleep_until(until)),
            waiting: None,
        };
        Self(Arc::new(Shared {
            source: Mutex::new(source),
            bytes_max,
            state: watch::Sender::new(UploadState::Whole),
        }))
    }

    /// The body for one attempt.
    #[must_use]
    pub fn body(&self) -> UploadBody {
        UploadBody(Arc::clone(&self.0))
    }

    /// Returns how long it may be.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.0.bytes_max
    }

    /// Returns until when the client has to send it.
    #[must_use]
    pub fn until(&self) -> Instant {
        self.0.source().late.deadline()
    }

    /// Returns how far it is.
    #[must_use]
    pub fn state(&self) -> UploadState {
        *self.0.state.borrow()
    }

    /// Takes the body back, for another upload of it, if no byte was read.
    #[must_use]
    pub fn take_back(&self) -> Option<Body> {
        let mut source = self.0.source();
        if self.state() != UploadState::Whole {
            return None;
        }
        self.0.turn(UploadState::Taken(Instant::now()));
        Some(std::mem::take(&mut source.body))
    }

    /// Gives up what was not read, if it has not ended: the client's connection learns that it is not
    /// needed, and the connection to the node ends with an error instead of being kept for another
    /// request, which the node could take for the rest of this one.
    fn give_up(&self) {
        let mut source = self.0.source();
        if matches!(self.state(), UploadState::Whole | UploadState::Flowing) {
            self.0.turn(UploadState::Broken);
        }
        let (body, waiting) = (std::mem::take(&mut source.body), source.waiting.take());
        drop(source);
        drop(body);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    /// Waits until no more of it will be read. Cancel-safe.
    pub async fn ended(&self) -> UploadState {
        let mut states = self.0.state.subscribe();
        let ended =
            states.wait_for(|state| !matches!(state, UploadState::Whole | UploadState::Flowing));
        // `self` keeps the sender alive, so waiting cannot fail.
        ended.await.map_or(UploadState::Broken, |state| *state)
    }
}

/// The body as read by a connection.
pub struct UploadBody(Arc<Shared>);

/// An upload that is given up when its answer has ended, or when there is none.
#[derive(Debug)]
pub(super) struct OpenUpload(Upload);

impl OpenUpload {
    pub(super) fn new(upload: Upload) -> Self {
        Self(upload)
    }

    pub(super) fn upload(&self) -> &Upload {
        &self.0
    }
}

impl Drop for OpenUpload {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

impl Shared {
    fn source(&self) -> MutexGuard<'_, Source> {
        // A body that panicked is broken, which it reports itself.
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, state: UploadState) {
        self.state.send_if_modified(|known| {
            let changed = *known != state;
            *known = state;
            changed
        });
    }

    fn fail(&self, state: UploadState) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        self.turn(state);
        Poll::Ready(Some(Err(UploadError)))
    }
}

impl hyper::body::Body for UploadBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let shared = &self.0;
        let mut source = shared.source();
        let state = *shared.state.borrow();
        if matches!(
            state,
            UploadState::TooLarge | UploadState::TooSlow | UploadState::Broken
        ) {
            return Poll::Ready(Some(Err(UploadError)));
        }
        loop {
            let polled = Pin::new(&mut source.body).poll_frame(cx);
            let data = match polled {
                Poll::Pending => {
                    source.waiting = Some(cx.waker().clone());
                    ready!(source.late.as_mut().poll(cx));
                    return shared.fail(UploadState::TooSlow);
                }
                Poll::Ready(None) => {
                    shared.turn(UploadState::Taken(Instant::now()));
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(_broken))) => return shared.fail(UploadState::Broken),
                Poll::Ready(Some(Ok(frame))) => frame.into_data(),
            };
            let Ok(data) = data else { continue };
            source.taken += data.len();
            if source.taken > shared.bytes_max {
                return shared.fail(UploadState::TooLarge);
            }
            let last = source.body.is_end_stream();
            shared.turn(match last {
                true => UploadState::Taken(Instant::now()),
                false => UploadState::Flowing,
            });
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.source().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.source().body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream::{self, StreamExt};
    use http_body_util::BodyExt;
    use tokio::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_left_of_a_body_when_its_answer_ends_is_an_error_and_not_its_end() {
        let started = Instant::now();
        let pieces = stream::iter([Ok::<_, Infallible>("a")]).chain(stream::pending());
        let until = started + Duration::from_secs(30);
        let open = OpenUpload::new(Upload::new(Body::from_stream(pieces), 10, until));
        let upload = open.upload().clone();
        let mut sent = upload.body();
        assert!(sent.frame().await.is_some_and(|frame| frame.is_ok()));
        let rest = tokio::spawn(async move { sent.frame().await.map(|frame| frame.is_err()) });
        tokio::task::yield_now().await;
        drop(open);
        assert_eq!(rest.await.unwrap(), Some(true));
        assert_eq!(started.elapsed(), Duration::ZERO);
        assert_eq!(upload.state(), UploadState::Broken);
    }

    #[tokio::test]
    async fn a_body_that_was_sent_in_full_stays_so() {
        let until = Instant::now() + Duration::from_secs(30);
        let open = OpenUpload::new(Upload::new(Body::from("a"), 10, until));
        let upload = open.upload().clone();
        let mut sent = upload.body();
        assert!(sent.frame().await.is_some_and(|frame| frame.is_ok()));
        drop(open);
        assert!(sent.frame().await.is_none());
        assert!(matches!(upload.state(), UploadState::Taken(_)));
    }
}
