//! The body of a client's request: its end is recorded, because the connection depends on it.
//!
//! A service that does not need all of a body drops it. On HTTP/1 the connection closes then, in stages.
//! On HTTP/2 the stream would be reset at once, and several clients, curl among them, do not show an
//! answer whose stream was reset; so the rest is discarded here, within the same bounds.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use super::activity::OpenBody;
use super::linger::{BYTES_MAX, SILENCE_MAX, TIME_MAX};

/// The body of a request as it arrives.
#[derive(Debug)]
pub struct ClientBody {
    /// Present until the body is dropped.
    body: Option<Incoming>,
    /// Present until the body has ended.
    open: Option<OpenBody>,
}

impl ClientBody {
    pub(super) fn new(body: Incoming, open: Option<OpenBody>) -> Self {
        Self {
            body: Some(body),
            open,
        }
    }

    fn end(&mut self) {
        if let Some(open) = self.open.take() {
            open.end();
        }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        match &frame {
            // The client may go on after what is not valid.
            Some(Err(_broken)) => {
                if let Some(open) = this.open.take() {
                    open.fail();
                }
            }
            // Many readers of a body of known length do not ask for its end.
            Some(Ok(_)) if !body.is_end_stream() => {}
            Some(Ok(_)) | None => this.end(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.body.as_ref();
        body.map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        let (Some(body), Some(open)) = (self.body.take(), self.open.take()) else {
            return;
        };
        if !open.is_stream() {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                discard(body).await;
                drop(open);
            });
        }
    }
}

/// Reads and discards what a client still sends on its stream.
async fn discard(mut body: Incoming) {
    let until = Instant::now() + TIME_MAX;
    let mut bytes_left = BYTES_MAX;
    loop {
        let silent = Instant::now() + SILENCE_MAX;
        let Ok(Some(Ok(frame))) = timeout_at(until.min(silent), body.frame()).await else {
            return;
        };
        let length = frame.data_ref().map_or(0, Bytes::len);
        match bytes_left.checked_sub(length) {
            Some(left) => bytes_left = left,
            None => return,
        }
    }
}
