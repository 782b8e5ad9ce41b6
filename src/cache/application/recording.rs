//! The body of an answer on its way to the client, of which a copy is stored.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{Recorded, Replaced, Storing};

/// A body that is stored when its last byte has passed. It is held back for nothing: what is too large, or
/// ends early, is just not stored.
///
/// What is too large shows that what was stored before is out of date, so that is forgotten: otherwise
/// clients would go back in time. What ends early shows nothing.
pub struct Recording {
    body: Body,
    copy: Option<BodyCopy>,
}

/// What has passed so far.
struct BodyCopy {
    storing: Storing,
    recorded: Recorded,
    bytes: Vec<u8>,
    /// How long the body is, if that is known.
    length: Option<u64>,
    /// The stored answers whose place it takes.
    replaced: Replaced,
}

impl Recording {
    /// Records the body of an answer that takes the place of others.
    pub fn new(body: Body, storing: Storing, recorded: Recorded, replaced: Replaced) -> Self {
        let length = body.size_hint().exact();
        let is_empty =
            length == Some(0) || body.is_end_stream() || recorded.status == StatusCode::NO_CONTENT;
        let copy = BodyCopy {
            storing,
            recorded,
            bytes: Vec::new(),
            length,
            replaced,
        };
        let mut recording = Self {
            body,
            copy: Some(copy),
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
            false => {
                copy.forget_replaced();
                self.copy = None;
            }
        }
        self.store_if_whole();
    }

    fn store_if_whole(&mut self) {
        let is_whole = |copy: &mut BodyCopy| copy.length == Some(copy.bytes.len() as u64);
        if let Some(copy) = self.copy.take_if(|copy| is_whole(copy)) {
            copy.store();
        }
    }
}

impl BodyCopy {
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
        if self.storing.store(recorded, body).is_none() {
            self.forget_replaced();
        }
    }

    fn forget_replaced(&self) {
        self.storing.forget_replaced(&self.replaced);
    }
}

impl Drop for BodyCopy {
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use futures_util::stream;
    use http::header::{ACCEPT_LANGUAGE, VARY};
    use http::{HeaderMap, HeaderValue};
    use http_body_util::BodyExt;
    use tidegate_policy::http_cache::Selection;

    use super::super::answer::testing;
    use super::*;
    use crate::cache::{AnswerCache, CacheKey, CacheSettings, HttpCache};
    use crate::http::{Compression, CompressionSettings};

    const BYTES_MAX: usize = 1 << 20;
    const LARGEST: usize = 1 << 10;

    type Piece = Result<Bytes, io::Error>;

    fn cache() -> Arc<HttpCache> {
        let settings = CacheSettings {
            bytes_max: BYTES_MAX,
            entry_bytes_max: LARGEST,
        };
        let store = Arc::new(AnswerCache::new(&settings).unwrap());
        let compression = Arc::new(Compression::new(&CompressionSettings::default()));
        Arc::new(HttpCache::new(store, compression))
    }

    fn recorded() -> Recorded {
        let headers = HeaderMap::new();
        Recorded {
            status: StatusCode::OK,
            terms: testing::terms(),
            selection: Selection::of(&headers, &headers).unwrap(),
            headers,
            served: None,
        }
    }

    fn piece(bytes: usize) -> Piece {
        Ok(Bytes::from(vec![b'x'; bytes]))
    }

    /// The bytes of the stored answer after another one of three bytes was stored, and these have passed.
    async fn stored_after(cache: &Arc<HttpCache>, pieces: Vec<Piece>) -> Option<usize> {
        let key = CacheKey::new(1, "/a", []).unwrap();
        let old = cache.begin(&key);
        let old = old.store(recorded(), Bytes::from_static(b"old")).unwrap();
        let body = Body::from_stream(stream::iter(pieces));
        let recording = Recording::new(body, cache.begin(&key), recorded(), Replaced::One(old));
        let _passed = recording.collect().await;
        let stored = cache.find(&key, &HeaderMap::new());
        stored.map(|answer| answer.body.len())
    }

    #[tokio::test]
    async fn what_is_too_large_ends_the_stored_answer_and_what_breaks_off_does_not() {
        let broken = Err(io::Error::other("gone"));
        for (pieces, expected) in [
            (vec![piece(10)], Some(10)),
            (vec![piece(LARGEST)], Some(LARGEST)),
            (vec![piece(LARGEST), piece(1)], None),
            (vec![piece(10), broken], Some(3)),
        ] {
            assert_eq!(stored_after(&cache(), pieces).await, expected);
        }
    }

    #[tokio::test]
    async fn what_is_too_large_and_does_not_vary_ends_every_stored_answer_of_its_url() {
        let (cache, key) = (cache(), CacheKey::new(1, "/a", []).unwrap());
        let request = |language: &'static str| {
            let language = HeaderValue::from_static(language);
            HeaderMap::from_iter([(ACCEPT_LANGUAGE, language)])
        };
        let varies = HeaderValue::from_static("accept-language");
        let varies = HeaderMap::from_iter([(VARY, varies)]);
        for language in ["de", "en"] {
            let selection = Selection::of(&request(language), &varies).unwrap();
            let recorded = Recorded {
                selection,
                ..recorded()
            };
            let storing = cache.begin(&key);
            storing.store(recorded, Bytes::from_static(b"old")).unwrap();
        }
        let stored = || ["de", "en"].map(|it| cache.find(&key, &request(it)).is_some());
        assert_eq!(stored(), [true, true]);
        let body = Body::from_stream(stream::iter([piece(LARGEST), piece(1)]));
        let recording = Recording::new(body, cache.begin(&key), recorded(), Replaced::All);
        let _passed = recording.collect().await;
        assert_eq!(stored(), [false, false]);
    }

    #[tokio::test]
    async fn an_answer_without_room_to_arrive_ends_the_stored_one() {
        let cache = cache();
        let mut taken = 0;
        while cache.take_room(LARGEST) {
            taken += LARGEST;
        }
        assert!(taken < BYTES_MAX);
        assert_eq!(stored_after(&cache, vec![piece(10)]).await, None);
        cache.give_room(taken);
        assert_eq!(stored_after(&cache, vec![piece(10)]).await, Some(10));
    }
}
