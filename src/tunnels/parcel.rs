//! A request as it is handed on.

use axum::body::Body;
use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, HeaderValue, Method, Request};
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use tokio::time::{Duration, Instant};

use crate::http::TIDEGATE_DEADLINE;
use crate::upstream::{Upload, UploadState, encode_path};
use tidegate_model::RegionId;

const WEBSOCKET: Protocol = Protocol::from_static("websocket");

/// A request that can be sent to one region after the other.
#[derive(Debug)]
pub struct Parcel {
    /// Its method.
    pub method: Method,
    /// Its normalised path.
    pub path: String,
    /// Its query, as sent by the client.
    pub query: Option<String>,
    /// The host that the client asked for.
    pub host: Option<Authority>,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body.
    pub payload: Payload,
    /// How long the answer may take, from the last byte of the request.
    pub time: Duration,
    /// When it was read, without its body.
    pub started: Instant,
    /// The share of a region's requests that may be tried elsewhere, in millionths.
    pub budget: u32,
    /// Whether a probe may ask for the same.
    pub may_be_probed: bool,
    /// The client's connection, if it wants to become a WebSocket.
    pub websocket: Option<OnUpgrade>,
}

/// The body of a request.
#[derive(Debug)]
pub enum Payload {
    /// It has none.
    None,
    /// It was read and is kept.
    Whole(Bytes),
    /// It is passed on as it arrives.
    Stream(Upload),
}

impl Payload {
    /// Returns whether all of it can be sent once more.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        match self {
            Self::None | Self::Whole(_) => true,
            Self::Stream(upload) => upload.state() == UploadState::Whole,
        }
    }

    fn body(&self) -> Body {
        match self {
            Self::None => Body::empty(),
            Self::Whole(bytes) => Body::from(bytes.clone()),
            Self::Stream(upload) => Body::new(upload.body()),
        }
    }
}

impl Parcel {
    /// Whether it changes nothing and has no body.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        let safe = matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS);
        safe && matches!(self.payload, Payload::None)
    }

    /// Returns when the last byte of the request was read, as far as it was.
    pub(super) fn read_at(&self) -> Option<Instant> {
        match &self.payload {
            Payload::None | Payload::Whole(_) => Some(self.started),
            Payload::Stream(upload) => match upload.state() {
                UploadState::Taken(at) => Some(at),
                _ => None,
            },
        }
    }

    /// Returns the time that is left for it.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        let since = self.read_at().map_or(Duration::ZERO, |at| at.elapsed());
        self.time.saturating_sub(since)
    }

    /// Makes the request for a region's gateway.
    pub(super) fn request(&self, region: &RegionId) -> Request<Body> {
        let mut request = Request::new(self.payload.body());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri(region);
        *request.headers_mut() = self.headers.clone();
        if self.websocket.is_some() {
            // RFC 8441.
            *request.method_mut() = Method::CONNECT;
            request.extensions_mut().insert(WEBSOCKET);
        }
        let millis = self.time_left().as_millis();
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        let headers = request.headers_mut();
        headers.insert(&TIDEGATE_DEADLINE, HeaderValue::from(millis));
        request
    }

    fn uri(&self, region: &RegionId) -> Uri {
        let path = encode_path(&self.path);
        let target = match &self.query {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        // HTTP/1.0 has no host, HTTP/2 needs one.
        let unnamed = || Authority::try_from(region.as_str()).ok();
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTPS);
        parts.authority = self.host.clone().or_else(unnamed);
        // Encoded, and a query that was sent is valid.
        parts.path_and_query = PathAndQuery::try_from(target).ok();
        Uri::from_parts(parts).unwrap_or_default()
    }
}
