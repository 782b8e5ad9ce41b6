//! Answers in small pieces.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::BoxError;
use bytes::Bytes;
use http::Version;
use hyper::body::{Body, Frame, SizeHint};

use super::activity::Activity;
use super::late_error::LateError;
use super::stream_task::note_answer;

/// Bytes of an HTTP/2 answer given to hyper at once: one frame.
const STREAM_PIECE_MAX: usize = 16 * 1024;

/// A body in pieces of one HTTP/2 frame, which keeps something until it is sent or dropped.
///
/// hyper queues everything that it is given, however small the client's window: a whole answer would appear
/// to be sent at once, and what it keeps would be free.
pub struct Pieces<B, G> {
    body: LateError<B>,
    /// The rest of the last frame of `body`.
    rest: Bytes,
    piece_max: usize,
    /// The connection, if its end is that of the body.
    ended_by: Option<Arc<Activity>>,
    _kept: G,
}

impl<B, G> Pieces<B, G> {
    /// Cuts a body; only HTTP/2 needs it.
    pub fn new(body: B, version: Version, kept: G) -> Self {
        let piece_max = if version == Version::HTTP_2 {
            STREAM_PIECE_MAX
        } else {
            usize::MAX
        };
        Self {
            body: LateError::new(body),
            rest: Bytes::new(),
            piece_max,
            ended_by: None,
            _kept: kept,
        }
    }

    /// Lets the connection know whether the body is whole, if only the connection's end shows that to the client.
    pub(super) fn ended_by(mut self, connection: Option<Arc<Activity>>) -> Self {
        self.ended_by = connection;
        self
    }

    fn next_piece(&mut self) -> Frame<Bytes> {
        if self.piece_max == usize::MAX {
            return Frame::data(std::mem::take(&mut self.rest));
        }
        let piece = self.rest.split_to(self.rest.len().min(self.piece_max));
        // A copy: a piece that the client does not take must not keep the whole answer in memory.
        Frame::data(Bytes::copy_from_slice(&piece))
    }
}

impl<B, G> Pieces<B, G>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.rest.is_empty() {
            let frame = Pin::new(&mut self.body).poll_frame(cx);
            note_answer(&frame);
            match ready!(frame).map(|it| it.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        } else {
            note_answer(&Poll::Ready(()));
        }
        Poll::Ready(Some(Ok(self.next_piece())))
    }

    fn is_at_end(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }
}

impl<B, G> Body for Pieces<B, G>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
    G: Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = self.poll_piece(cx);
        if let Some(connection) = &self.ended_by {
            let is_whole = match &polled {
                Poll::Ready(None) => true,
                Poll::Ready(Some(Ok(piece))) => piece.is_trailers() || self.is_at_end(),
                Poll::Ready(Some(Err(_))) | Poll::Pending => false,
            };
            connection.note_open_end(!is_whole);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.is_at_end()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::*;

    #[tokio::test]
    async fn a_body_in_one_piece_is_cut_into_frames_and_keeps_its_room_until_the_last() {
        let whole = Bytes::from(vec![7; 4 << 20]);
        let kept = Arc::new(());
        let mut pieces = Pieces::new(Full::new(whole), Version::HTTP_2, Arc::clone(&kept));
        let mut count = 0;
        while let Some(frame) = pieces.frame().await {
            assert_eq!(frame.unwrap().into_data().unwrap().len(), STREAM_PIECE_MAX);
            count += 1;
            assert_eq!(Arc::strong_count(&kept), 2);
        }
        assert_eq!(count, 256);
        drop(pieces);
        assert_eq!(Arc::strong_count(&kept), 1);
    }
}
