//! Whether an answer is compressed, and what its head then says.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Body as _;
use http_body_util::{Either, Full};
use tokio::sync::Semaphore;

use super::accepted::preferred;
use super::eligible::{is_eligible, is_guessable, is_text, may_be_transformed};
use super::encoder::Encoder;
use super::{Coding, Compressed, CompressedForms, CompressionSettings};

/// The compression of a process.
#[derive(Debug)]
pub struct Compression {
    offered: Vec<Coding>,
    min_bytes: u64,
    /// The encoders that may still be opened.
    encoders: Arc<Semaphore>,
}

/// Most encoders of streams that are open at a time: each takes up to one MiB. Further answers go out plain.
const ENCODERS_MAX: usize = 512;

/// What a request says about the coding of its answer.
#[derive(Debug, Clone)]
pub struct Wanted {
    coding: Option<Coding>,
    /// Its `If-None-Match`.
    held: Vec<HeaderValue>,
}

impl Wanted {
    /// Whether the request lists the weak form of a tag: that of a compressed answer.
    fn holds_weak(&self, tag: &HeaderValue) -> bool {
        let weak = [b"W/", tag.as_bytes()].concat();
        let mut held = self.held.iter();
        held.any(|line| line.as_bytes().windows(weak.len()).any(|it| it == weak))
    }
}

/// What a 304 stands for, in its extensions: the answer that would have been sent.
#[derive(Debug, Clone)]
pub struct NotSent {
    length: u64,
    is_eligible: bool,
}

impl NotSent {
    /// Takes the length and the fields of the 200.
    #[must_use]
    pub fn new(length: usize, headers: &HeaderMap) -> Self {
        Self {
            length: length as u64,
            is_eligible: is_eligible(StatusCode::OK, headers),
        }
    }
}

/// A stored answer on the fast path.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    /// Its own fields.
    pub headers: &'a HeaderMap,
    /// Whether its policy row or its application forbids to transform it.
    pub is_fixed: bool,
    /// Its bytes.
    pub body: &'a Bytes,
}

/// The coding that a client wants of a stored answer that could be compressed, if it wants one.
#[derive(Debug, Clone, Copy)]
pub struct StoredCoding<'a>(Option<Coding>, &'a Compression);

impl StoredCoding<'_> {
    /// Completes the head of the answer, or of the 304 in its place, and returns its body.
    #[must_use]
    pub fn apply(
        self,
        headers: &mut HeaderMap,
        body: Bytes,
        forms: &Arc<CompressedForms>,
    ) -> Either<Full<Bytes>, Body> {
        let Self(coding, compression) = self;
        add_vary(headers);
        let Some(coding) = coding else {
            return Either::Left(Full::new(body));
        };
        if body.is_empty() {
            weaken(headers);
            return Either::Left(Full::new(body));
        }
        if let Some(form) = forms.get(coding, &body) {
            describe(headers, coding);
            return Either::Left(Full::new(form));
        }
        let mut compressed = Body::from(body);
        if compression.compress(coding, &mut compressed) {
            describe(headers, coding);
        }
        Either::Right(compressed)
    }
}

/// A stored body, in the extensions of an answer that has it.
#[derive(Debug, Clone)]
pub struct StoredBody {
    /// Its bytes.
    pub body: Bytes,
    /// Its compressed forms.
    pub forms: Arc<CompressedForms>,
}

impl Compression {
    /// Takes the settings.
    #[must_use]
    pub fn new(settings: &CompressionSettings) -> Self {
        Self {
            offered: settings.encodings.clone(),
            min_bytes: settings.min_bytes as u64,
            encoders: Arc::new(Semaphore::new(ENCODERS_MAX)),
        }
    }

    /// Whether an answer of a length is long enough; one of unknown length counts as long.
    fn is_long(&self, length: Option<u64>) -> bool {
        !self.offered.is_empty() && length.is_none_or(|length| length >= self.min_bytes)
    }

    /// Returns the bytes to set aside for the compressed forms of a stored body.
    #[must_use]
    pub fn room(&self, status: StatusCode, headers: &HeaderMap, body: &Bytes) -> usize {
        match self.is_long(Some(body.len() as u64)) && is_eligible(status, headers) {
            true => CompressedForms::room(body.len()),
            false => 0,
        }
    }

    /// Returns what a request says about the coding of its answer.
    #[must_use]
    pub fn wanted(&self, request: &HeaderMap) -> Wanted {
        Wanted {
            coding: self.coding(request),
            held: request.get_all(IF_NONE_MATCH).iter().cloned().collect(),
        }
    }

    /// Returns the coding that the answer to a request may be sent in.
    fn coding(&self, request: &HeaderMap) -> Option<Coding> {
        preferred(request, &self.offered).filter(|_| !is_guessable(request))
    }

    /// Compresses a body on its way; false if it stays as it is.
    fn compress(&self, coding: Coding, body: &mut Body) -> bool {
        let Ok(permit) = Arc::clone(&self.encoders).try_acquire_owned() else {
            return false;
        };
        match Encoder::new(coding, body.size_hint().exact()) {
            Ok(encoder) => {
                let plain = std::mem::take(body);
                *body = Body::new(Compressed::new(encoder, plain, permit));
                true
            }
            Err(error) => {
                tracing::warn!(%error, "an answer is sent plain");
                false
            }
        }
    }

    /// Compresses an answer if it may be, in the coding that its client wants, if it wants one. An answer to
    /// HEAD says what that to GET would.
    #[must_use]
    pub fn apply(&self, wanted: &Wanted, is_head: bool, mut response: Response) -> Response {
        if self.offered.is_empty() {
            return response;
        }
        let not_sent = response.extensions_mut().remove::<NotSent>();
        let stored = response.extensions_mut().remove::<StoredBody>();
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED {
            self.vary_unsent(wanted, not_sent, response.headers_mut());
            return response;
        }
        let length = length(&response, is_head);
        if !self.is_long(length) || !is_eligible(status, response.headers()) {
            return response;
        }
        add_vary(response.headers_mut());
        let Some(coding) = wanted.coding else {
            return response;
        };
        let form = stored.and_then(|it| it.forms.get(coding, &it.body));
        let is_compressed = match form {
            Some(form) => {
                *response.body_mut() = Body::from(form);
                true
            }
            // That of an answer to HEAD is not sent, and says nothing of the length.
            None => self.compress(coding, response.body_mut()),
        };
        if is_compressed {
            describe(response.headers_mut(), coding);
        }
        response
    }

    /// Returns what a client wants of a stored answer that passes no layers; nothing if it cannot be compressed
    /// anyway.
    #[must_use]
    pub fn of_stored(&self, stored: Stored<'_>, request: &HeaderMap) -> Option<StoredCoding<'_>> {
        let is_wanted = self.is_long(Some(stored.body.len() as u64))
            && !stored.is_fixed
            && is_eligible(StatusCode::OK, stored.headers);
        is_wanted.then(|| StoredCoding(self.coding(request), self))
    }

    fn vary_unsent(&self, wanted: &Wanted, not_sent: Option<NotSent>, headers: &mut HeaderMap) {
        if !may_be_transformed(headers) {
            return;
        }
        let weakens = match not_sent {
            Some(it) if self.is_long(Some(it.length)) && it.is_eligible => true,
            // An application does not say what it has not sent. At worst caches keep it twice.
            None if headers.get(CONTENT_TYPE).is_none_or(is_text) => {
                headers.get(ETAG).is_some_and(|tag| wanted.holds_weak(tag))
            }
            Some(_) | None => return,
        };
        add_vary(headers);
        if weakens && wanted.coding.is_some() {
            weaken(headers);
        }
    }
}

/// The length of an answer, as far as it is known. The answer to HEAD may have no body where that to GET has.
fn length(response: &Response, is_head: bool) -> Option<u64> {
    let stated = response.headers().get(CONTENT_LENGTH);
    let stated = stated.and_then(|length| length.to_str().ok()?.parse().ok());
    let exact = response.body().size_hint().exact();
    stated.or(exact.filter(|length| !is_head || *length > 0))
}

/// Says that an answer depends on `Accept-Encoding`, unless it says so already.
fn add_vary(headers: &mut HeaderMap) {
    let lines = headers.get_all(VARY).iter();
    let mut names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let is_said = names.any(|name| {
        let name = name.trim_ascii();
        name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding")
    });
    if !is_said {
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// Says that an answer is compressed.
fn describe(headers: &mut HeaderMap, coding: Coding) {
    headers.insert(CONTENT_ENCODING, coding.field());
    headers.remove(CONTENT_LENGTH);
    // Ranges would be of the plain bytes.
    headers.remove(ACCEPT_RANGES);
    weaken(headers);
}

/// Makes a strong tag weak: other bytes stand for the same.
fn weaken(headers: &mut HeaderMap) {
    let Some(tag) = headers
        .get(ETAG)
        .filter(|tag| tag.as_bytes().starts_with(b"\""))
    else {
        return;
    };
    let weak = [b"W/", tag.as_bytes()].concat();
    if let Ok(weak) = HeaderValue::from_bytes(&weak) {
        headers.insert(ETAG, weak);
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    /// A short text, and whether it is compressed.
    fn answer(compression: &Compression) -> (Response, bool) {
        let mut request = HeaderMap::new();
        request.insert("accept-encoding", HeaderValue::from_static("gzip"));
        let mut response = Response::new(Body::from("text"));
        let text = HeaderValue::from_static("text/plain");
        response.headers_mut().insert(CONTENT_TYPE, text);
        let wanted = compression.wanted(&request);
        let response = compression.apply(&wanted, false, response);
        let is_compressed = response.headers().contains_key(CONTENT_ENCODING);
        assert_eq!(response.headers()[VARY], "Accept-Encoding");
        (response, is_compressed)
    }

    #[tokio::test]
    async fn an_answer_goes_out_plain_while_all_encoders_are_in_use() {
        let settings = CompressionSettings {
            min_bytes: 1,
            ..CompressionSettings::default()
        };
        let compression = Compression::new(&settings);
        let most = compression.encoders.available_permits();
        assert_eq!(most, ENCODERS_MAX);
        let rest = compression.encoders.try_acquire_many(510).unwrap();
        let open: Vec<_> = (510..most).map(|_| answer(&compression)).collect();
        assert!(open.iter().all(|(_, is_compressed)| *is_compressed));

        let (plain, is_compressed) = answer(&compression);
        assert!(!is_compressed);
        let body = plain.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(&*body, b"text");

        drop(open);
        assert!(answer(&compression).1, "its encoder is free again");
        drop(rest);
    }
}
