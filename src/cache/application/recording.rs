//! The body of an answer on its way to the client, of which a copy is stored.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{Recorded, Storing};

/// A body that is stored when its last byte has passed. It is held back for nothing: what is too large, or
/// ends early, is just not stored.
pub struct Recording {
    body: Body,
    copy: Option<Copy>,
}

/// What has passed so far.
struct Copy {
    storing: Storing,
    recorded: Recorded,
    bytes: Vec<u8>,
    /// How long the body is, if that is known.
    length: Option<u64>,
}

impl Recording {
    /// Records a body; nothing of it if it is known to be too large.
    pub fn new(body: Body, storing: Storing, recorded: Recorded) -> Self {
        let (least, length) = (body.size_hint().lower(), body.size_hint().exact());
        let most = storing.cache().entry_bytes_max();
        let fits = usize::try_from(least).is_ok_and(|least| least <= most);
        let is_empty =
            length == Some(0) || body.is_end_stream() || recorded.status == StatusCode::NO_CONTENT;
        let copy = Copy {
            storing,
            recorded,
            bytes: Vec::new(),
            length,
        };
        let mut recording = Self {
            body,
            copy: fits.then_some(copy),
        };
        // The client's connection asks an empty body for nothing.
        if is_empty && let Some(copy) = recording.copy.take() {
            copy.store();
        }
        recording
    }

    fn take(&mut self, data: &Bytes) {
        let Some(copy) = &mut self.copy else { return };
        let cache = copy.storing.cache();
        let fits = copy.bytes.len() + data.len() <= cache.entry_bytes_max();
        match fits && cache.take_room(data.len()) {
            true => copy.bytes.extend_from_slice(data),
            false => self.copy = None,
        }
        self.store_if_whole();
    }

    fn store_if_whole(&mut self) {
        let is_whole = |copy: &mut Copy| copy.length == Some(copy.bytes.len() as u64);
        if let Some(copy) = self.copy.take_if(|copy| is_whole(copy)) {
            copy.store();
        }
    }
}

impl Copy {
    fn store(mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.storing.cache().give_room(bytes.len());
        // A copy in memory of its own size.
        let body = Bytes::copy_from_slice(&bytes);
        let recorded = Recorded {
            headers: self.recorded.headers.clone(),
            selection: self.recorded.selection.clone(),
            served: self.recorded.served.clone(),
            ..self.recorded
        };
        let _stored = self.storing.store(recorded, body);
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.storing.cache().give_room(self.bytes.len());
    }
}

impl HttpBody for Recording {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.take(data);
                }
            }
            Some(Err(_)) => self.copy = None,
            // One of known length has been stored by now, or has ended early.
            None => {
                if let Some(copy) = self.copy.take().filter(|copy| copy.length.is_none()) {
                    copy.store();
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && self.copy.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
