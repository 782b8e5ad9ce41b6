//! A body that is compressed on its way to the client.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::{Buf, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use super::encoder::Encoder;

/// Bytes that are compressed at a time: other tasks of the thread wait for that, and have their turn then.
pub(super) const PIECE: usize = 16 << 10;

/// Compresses another body. Whenever that pauses, all that it has given so far is passed on.
pub(super) struct Compressed {
    body: Body,
    encoder: Option<Encoder>,
    /// What the body has given and is not compressed yet.
    rest: Bytes,
    /// Whether the encoder may hold something back.
    holds_back: bool,
    /// What follows the last byte.
    trailers: Option<Frame<Bytes>>,
    /// Whether a piece was compressed since other tasks had their turn.
    yields: bool,
    /// Its share of the encoders that may be open.
    _permit: OwnedSemaphorePermit,
}

impl Compressed {
    pub(super) fn new(encoder: Encoder, body: Body, permit: OwnedSemaphorePermit) -> Self {
        Self {
            body,
            encoder: Some(encoder),
            rest: Bytes::new(),
            holds_back: false,
            trailers: None,
            yields: false,
            _permit: permit,
        }
    }

    /// Compresses the next piece of what the body has given.
    fn compress(&mut self) -> Result<Bytes, axum::Error> {
        let Some(encoder) = &mut self.encoder else {
            return Ok(Bytes::new());
        };
        let length = self.rest.len().min(PIECE);
        let ready = encoder
            .write(&self.rest[..length])
            .map_err(axum::Error::new)?;
        self.rest.advance(length);
        self.holds_back = true;
        self.yields = true;
        Ok(ready)
    }

    fn flush(&mut self) -> Result<Bytes, axum::Error> {
        self.holds_back = false;
        match &mut self.encoder {
            Some(encoder) => encoder.flush().map_err(axum::Error::new),
            None => Ok(Bytes::new()),
        }
    }

    fn finish(&mut self) -> Result<Bytes, axum::Error> {
        match self.encoder.take() {
            Some(encoder) => encoder.finish().map_err(axum::Error::new),
            None => Ok(Bytes::new()),
        }
    }
}

impl HttpBody for Compressed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        loop {
            if std::mem::take(&mut self.yields) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let ready = if !self.rest.is_empty() {
                self.compress()
            } else if self.encoder.is_none() {
                return Poll::Ready(self.trailers.take().map(Ok));
            } else {
                match Pin::new(&mut self.body).poll_frame(context) {
                    Poll::Pending if self.holds_back => self.flush(),
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(None) => self.finish(),
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) => {
                            self.rest = data;
                            continue;
                        }
                        Err(trailers) => {
                            self.trailers = Some(trailers);
                            self.finish()
                        }
                    },
                }
            };
            match ready {
                Ok(ready) if ready.is_empty() => {}
                ready => return Poll::Ready(Some(ready.map(Frame::data))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
