//! Whether an answer is compressed, and what its head then says.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Body as _;

use super::accepted::preferred;
use super::eligible::{is_eligible, is_guessable, is_text, may_be_transformed};
use super::encoder::Encoder;
use super::{Coding, Compressed, CompressedForms, CompressionSettings};

/// The compression of a process.
#[derive(Debug)]
pub struct Compression {
    offered: Vec<Coding>,
    min_bytes: u64,
}

/// What a 304 stands for, in its extensions: the answer that would have been sent.
#[derive(Debug, Clone)]
pub struct NotSent {
    /// Its length.
    pub length: u64,
    /// Its media type.
    pub content_type: Option<HeaderValue>,
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
pub struct StoredCoding(Option<Coding>);

impl StoredCoding {
    /// Completes the head of the answer, or of the 304 in its place, and returns its bytes.
    #[must_use]
    pub fn apply(self, headers: &mut HeaderMap, body: Bytes, forms: &CompressedForms) -> Bytes {
        add_vary(headers);
        let Some(coding) = self.0 else { return body };
        if body.is_empty() {
            weaken(headers);
            return body;
        }
        match forms.get(coding, &body) {
            Some(form) => {
                describe(headers, coding);
                form
            }
            None => body,
        }
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

    /// Returns the coding that the answer to a request may be sent in.
    #[must_use]
    pub fn wanted(&self, request: &HeaderMap) -> Option<Coding> {
        preferred(request, &self.offered).filter(|_| !is_guessable(request))
    }

    /// Compresses an answer if it may be, in the coding that its client wants, if it wants one. An answer to
    /// HEAD says what that to GET would.
    #[must_use]
    pub fn apply(&self, wanted: Option<Coding>, is_head: bool, mut response: Response) -> Response {
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
        let Some(coding) = wanted else {
            return response;
        };
        let form = stored.and_then(|it| it.forms.get(coding, &it.body));
        // That of an answer to HEAD is not sent, but has the length that is stated.
        let encoder = match form {
            Some(form) => Ok(Body::from(form)),
            None => Encoder::new(coding).map(|encoder| {
                let body = std::mem::take(response.body_mut());
                Body::new(Compressed::new(encoder, body))
            }),
        };
        match encoder {
            Ok(body) => {
                *response.body_mut() = body;
                describe(response.headers_mut(), coding);
            }
            // It has failed before it took the body.
            Err(error) => tracing::warn!(%error, "an answer is sent plain"),
        }
        response
    }

    /// Returns what a client wants of a stored answer that passes no layers; nothing if it cannot be compressed
    /// anyway.
    #[must_use]
    pub fn of_stored(&self, stored: Stored<'_>, request: &HeaderMap) -> Option<StoredCoding> {
        let is_wanted = self.is_long(Some(stored.body.len() as u64))
            && !stored.is_fixed
            && is_eligible(StatusCode::OK, stored.headers);
        is_wanted.then(|| StoredCoding(self.wanted(request)))
    }

    fn vary_unsent(
        &self,
        wanted: Option<Coding>,
        not_sent: Option<NotSent>,
        headers: &mut HeaderMap,
    ) {
        if !may_be_transformed(headers) {
            return;
        }
        match not_sent {
            Some(it)
                if self.is_long(Some(it.length))
                    && it.content_type.as_ref().is_some_and(is_text) =>
            {
                add_vary(headers);
                if wanted.is_some() {
                    weaken(headers);
                }
            }
            Some(_) => {}
            // An application does not say what it has not sent. At worst caches keep it twice.
            None if headers.get(CONTENT_TYPE).is_none_or(is_text) => add_vary(headers),
            None => {}
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
