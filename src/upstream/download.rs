//! The transfer of an answer's body to the client: nothing is read ahead, and silence ends it.
//!
//! Trailers are dropped. While the client does not read, nothing is read from the node, and its
//! silence does not count.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Duration, Instant, Sleep, sleep};

use super::Upstream;
use super::node::Visit;
use tidegate_model::error_chain;
use tidegate_steering::AttemptOutcome;

/// The places occupied until the last byte: one in the upstream's `connections_max`, and one at the
/// node.
pub(super) type Place = (OwnedSemaphorePermit, Visit);

/// How often a body that waits for its node signals progress: the server ends HTTP/2 streams
/// without progress for about thirty seconds, such as those of clients that do not read.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// The body of one answer. It counts towards the upstream's `connections_max` until it ends.
pub(super) struct Download {
    body: Incoming,
    upstream: Arc<Upstream>,
    node: usize,
    /// When the wait for the node began.
    silent_since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    ended: bool,
    _place: Place,
}

/// Why an answer ends early; the client's connection ends with it, so that the client notices.
#[derive(Debug, thiserror::Error)]
pub(super) enum DownloadError {
    #[error("the answer was interrupted: {}", error_chain::first(.0))]
    Broken(#[source] hyper::Error),
    #[error("the answer stalled")]
    Silent,
}

impl Download {
    pub(super) fn new(body: Incoming, upstream: Arc<Upstream>, node: usize, place: Place) -> Self {
        Self {
            body,
            upstream,
            node,
            silent_since: None,
            timer: Box::pin(sleep(SIGN_OF_LIFE)),
            ended: false,
            _place: place,
        }
    }

    fn fail(&mut self, error: DownloadError) -> Poll<Option<Result<Frame<Bytes>, DownloadError>>> {
        self.ended = true;
        let (upstream, node) = (&self.upstream, &self.upstream.nodes()[self.node].name);
        tracing::warn!(upstream = upstream.name(), node, %error, "an answer ended early");
        upstream
            .balance()
            .report(self.node, AttemptOutcome::Failed, None);
        Poll::Ready(Some(Err(error)))
    }

    /// Whether the node has been silent for too long; if not, wakes the task periodically.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.silent_since.get_or_insert_with(|| {
            let now = Instant::now();
            self.timer.as_mut().reset(now + SIGN_OF_LIFE);
            now
        });
        let end = since + self.upstream.limits().idle_timeout;
        loop {
            if Instant::now() >= end {
                return Poll::Ready(());
            }
            let sooner = self.timer.deadline().min(end);
            if sooner < self.timer.deadline() {
                self.timer.as_mut().reset(sooner);
            }
            ready!(self.timer.as_mut().poll(cx));
            self.timer.as_mut().reset(Instant::now() + SIGN_OF_LIFE);
        }
    }
}

impl hyper::body::Body for Download {
    type Data = Bytes;
    type Error = DownloadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, DownloadError>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        loop {
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    this.silent_since = None;
                    this.upstream.balance().heard(this.node);
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                }
                Poll::Ready(Some(Err(error))) => return this.fail(DownloadError::Broken(error)),
                Poll::Ready(None) => {
                    this.ended = true;
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    ready!(this.poll_silence(cx));
                    return this.fail(DownloadError::Silent);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    /// Known only for bodies that are sent: HEAD and 304 do not show the length.
    fn size_hint(&self) -> SizeHint {
        if self.body.is_end_stream() {
            SizeHint::default()
        } else {
            self.body.size_hint()
        }
    }
}
