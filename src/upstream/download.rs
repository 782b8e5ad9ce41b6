//! The transfer of an answer's body to the client: nothing is read ahead, and silence ends it.
//!
//! Trailers are dropped. While the client does not read, nothing is read from the node, and its
//! silence does not count.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Duration, Instant, Sleep, sleep};

use super::Upstream;
use super::link::AnswerBody;
use super::node::Visit;
use super::upload::OpenUpload;
use crate::http::LoggedId;
use tidegate_model::error_chain;
use tidegate_steering::AttemptOutcome;

/// The places occupied until the last byte: one in the upstream's `connections_max`, and one at the
/// node.
pub(super) type Place = (OwnedSemaphorePermit, Visit);

/// How often a body that waits for its node signals progress: the server ends HTTP/2 streams
/// without progress for about thirty seconds, such as those of clients that do not read.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// What sends an answer, and learns how its transfer goes. Dropped when the transfer ends.
pub trait AnswerSource: Unpin {
    /// How long it may be silent.
    fn idle_timeout(&self) -> Duration;

    /// Something has arrived.
    fn heard(&self);

    /// The answer has ended early.
    fn failed(&self, error: &DownloadError);
}

/// The body of one answer.
pub struct Download<S, B = AnswerBody> {
    body: B,
    source: S,
    /// When the wait for the source began.
    silent_since: Option<Instant>,
    /// Absent until it has waited.
    timer: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

/// A node of an upstream. An answer counts towards the upstream's `connections_max` until it ends.
pub(super) struct FromNode {
    pub(super) upstream: Arc<Upstream>,
    pub(super) node: usize,
    pub(super) request_id: Option<LoggedId>,
    pub(super) _place: Place,
    pub(super) _upload: Option<OpenUpload>,
}

/// Why an answer ends early; the client's connection ends with it, so that the client notices.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The connection broke.
    #[error("the answer was interrupted: {}", error_chain::first(.0))]
    Broken(#[source] hyper::Error),
    /// Nothing came for too long.
    #[error("the answer stalled")]
    Silent,
}

impl AnswerSource for FromNode {
    fn idle_timeout(&self) -> Duration {
        self.upstream.limits().idle_timeout
    }

    fn heard(&self) {
        self.upstream.balance().heard(self.node);
    }

    fn failed(&self, error: &DownloadError) {
        let (upstream, node) = (&self.upstream, &self.upstream.nodes()[self.node].name);
        let request_id = self.request_id.as_ref().and_then(LoggedId::as_str);
        tracing::warn!(request_id, upstream = upstream.name(), node, %error, "an answer ended early");
        let balance = upstream.balance();
        balance.report(self.node, AttemptOutcome::Failed, None);
    }
}

impl<S, B> Download<S, B>
where
    S: AnswerSource,
    B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    /// Transfers the body that a source sends.
    pub fn new(body: B, source: S) -> Self {
        Self {
            body,
            source,
            silent_since: None,
            timer: None,
            ended: false,
        }
    }

    fn fail(&mut self, error: DownloadError) -> Poll<Option<Result<Frame<Bytes>, DownloadError>>> {
        self.ended = true;
        self.source.failed(&error);
        Poll::Ready(Some(Err(error)))
    }

    /// Whether the node has been silent for too long; if not, wakes the task periodically.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep(SIGN_OF_LIFE)));
        let since = *self.silent_since.get_or_insert_with(|| {
            let now = Instant::now();
            timer.as_mut().reset(now + SIGN_OF_LIFE);
            now
        });
        let end = since + self.source.idle_timeout();
        loop {
            if Instant::now() >= end {
                return Poll::Ready(());
            }
            let sooner = timer.deadline().min(end);
            if sooner < timer.deadline() {
                timer.as_mut().reset(sooner);
            }
            ready!(timer.as_mut().poll(cx));
            timer.as_mut().reset(Instant::now() + SIGN_OF_LIFE);
        }
    }
}

impl<S, B> Body for Download<S, B>
where
    S: AnswerSource,
    B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
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
                    this.source.heard();
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
        match self.body.is_end_stream() {
            true => SizeHint::default(),
            false => self.body.size_hint(),
        }
    }
}
