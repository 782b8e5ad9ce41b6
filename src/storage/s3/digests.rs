//! The digests that a client declares for a body: in headers, in the query of a presigned URL, in the fields of
//! a form, or behind the body. All of them are compared; none replaces another.

use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;
use s3s::{S3Request, S3Result, TrailingHeaders, s3_error};

use super::chunks::Chunks;
use super::guard::decoded;
use super::hashers::{Checksums, Hashers, is_kept};
use crate::storage::error::IncomingError;
use crate::storage::spool::Check;

/// The prefix of the headers that have checksums.
pub(super) const CHECKSUM: &str = "x-amz-checksum-";
/// The SHA-256 of the payload, in hexadecimal.
pub(super) const PAYLOAD: &str = "x-amz-content-sha256";
/// The CRC32 of an empty body: the SDK for JavaScript puts it into every URL that it presigns, whatever will be
/// uploaded there.
const CRC32_OF_NOTHING: (&str, &str) = ("crc32", "AAAAAA==");

/// The checksums that were computed, once the body has ended.
#[derive(Clone, Default)]
pub(super) struct Computed(Arc<Mutex<Checksums>>);

impl Computed {
    pub(super) fn get(&self) -> Checksums {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// What a request says of the digests of its body.
#[derive(Default)]
pub(super) struct Said {
    /// By algorithm; one may be said several times.
    expected: Vec<(String, String)>,
    /// Algorithms whose checksums follow the body.
    announced: Vec<String>,
    /// In hexadecimal.
    payloads: Vec<String>,
    /// Algorithms whose checksums nobody has said.
    computed: Vec<String>,
}

impl Said {
    /// Takes the headers and the query of a request.
    pub(super) fn of(headers: &HeaderMap, query: Option<&str>) -> S3Result<Self> {
        let said = Self::default().headers(headers)?;
        said.query(query.unwrap_or_default())
    }

    /// Takes the headers; `s3s` compares the SHA-256 of the payload that is there.
    fn headers(mut self, headers: &HeaderMap) -> S3Result<Self> {
        for (name, value) in headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            self.add(name.as_str(), &value)?;
        }
        Ok(self)
    }

    /// Takes what was moved from the headers into the query.
    fn query(mut self, query: &str) -> S3Result<Self> {
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name).to_ascii_lowercase(), decoded(value));
            let (algorithm, nothing) = CRC32_OF_NOTHING;
            if name.strip_prefix(CHECKSUM) == Some(algorithm) && value == nothing {
                continue;
            }
            self.add(&name, &value)?;
            self.add_payload(&name, &value)?;
        }
        Ok(self)
    }

    /// Takes the fields of a form, whose names are in lower case.
    pub(super) fn fields(mut self, fields: &[(String, String)]) -> S3Result<Self> {
        for (name, value) in fields {
            self.add(name, value)?;
            self.add_payload(name, value)?;
        }
        Ok(self)
    }

    /// Takes the SHA-256 of the payload also from the headers, if it is one.
    pub(super) fn payload(mut self, headers: &HeaderMap) -> S3Result<Self> {
        for value in headers.get_all(PAYLOAD) {
            let value = String::from_utf8_lossy(value.as_bytes());
            if !value.starts_with("STREAMING-") {
                self.add_payload(PAYLOAD, &value)?;
            }
        }
        Ok(self)
    }

    /// Has a checksum computed, though there is none to compare it with.
    pub(super) fn computed(algorithm: Option<&str>) -> Self {
        Self {
            computed: algorithm.into_iter().map(str::to_owned).collect(),
            ..Self::default()
        }
    }

    fn add(&mut self, name: &str, value: &str) -> S3Result<()> {
        match (name, name.strip_prefix(CHECKSUM)) {
            (_, Some("algorithm" | "mode" | "type")) => {}
            (_, Some(algorithm)) => self.expected.push((algorithm.to_owned(), value.to_owned())),
            ("content-md5", None) if !is_md5(value) => return Err(s3_error!(InvalidDigest)),
            ("content-md5", None) => self.expected.push(("md5".to_owned(), value.to_owned())),
            ("x-amz-trailer", None) => {
                let value = value.to_ascii_lowercase();
                let names = value.split(',').map(str::trim);
                let algorithms = names.filter_map(|name| name.strip_prefix(CHECKSUM));
                self.announced.extend(algorithms.map(str::to_owned));
            }
            (_, None) => {}
        }
        Ok(())
    }

    fn add_payload(&mut self, name: &str, value: &str) -> S3Result<()> {
        if name != PAYLOAD || value == "UNSIGNED-PAYLOAD" {
            return Ok(());
        }
        if value.len() != 64 || !value.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(s3_error!(
                InvalidArgument,
                "x-amz-content-sha256 must be a SHA-256 in hexadecimal, or UNSIGNED-PAYLOAD"
            ));
        }
        self.payloads.push(value.to_ascii_lowercase());
        Ok(())
    }

    fn wants(&self, algorithm: &str) -> bool {
        let mut named = self.announced.iter().chain(&self.computed);
        named.any(|it| it == algorithm) || self.expected.iter().any(|(it, _)| it == algorithm)
    }
}

/// The digests that a client has declared, which are compared when the body has ended.
pub(super) struct Declared {
    said: Said,
    /// Until the body has ended.
    hashers: Option<Hashers>,
    trailers: Option<TrailingHeaders>,
    chunks: Option<Chunks>,
    computed: Computed,
}

impl Declared {
    pub(super) fn new(said: Said) -> (Self, Computed) {
        let computed = Computed::default();
        let declared = Self {
            hashers: Some(Hashers::of(|it| said.wants(it), !said.payloads.is_empty())),
            said,
            trailers: None,
            chunks: None,
            computed: computed.clone(),
        };
        (declared, computed)
    }

    /// For the body of a request, which may come in chunks and have trailers.
    pub(super) fn of<T>(request: &mut S3Request<T>, said: Said) -> (Self, Computed) {
        let (mut declared, computed) = Self::new(said);
        declared.trailers = request.trailing_headers.take();
        declared.chunks = request.extensions.get::<Chunks>().cloned();
        (declared, computed)
    }

    fn judge(&self, computed: &Checksums, payload: Option<&String>) -> Result<(), IncomingError> {
        if !self.said.payloads.iter().all(|it| Some(it) == payload) {
            return Err(IncomingError::WrongSha256);
        }
        let trailers = self.trailers.as_ref();
        let trailers = trailers.and_then(|trailers| trailers.read(checksums_of));
        let trailers = trailers.unwrap_or_default();
        let has_come = |name: &String| trailers.iter().any(|(came, _)| came == name);
        let all_came = self.said.announced.iter().all(has_come);
        let mut expected = self.said.expected.iter().chain(&trailers);
        match all_came && expected.all(|(name, value)| computed.get(name) == Some(value)) {
            true => Ok(()),
            false => Err(IncomingError::BadDigest),
        }
    }
}

impl Check for Declared {
    fn update(&mut self, bytes: &[u8]) {
        if let Some(hashers) = &mut self.hashers {
            hashers.update(bytes);
        }
    }

    fn finish(&mut self) -> Result<(), IncomingError> {
        let Some(hashers) = self.hashers.take() else {
            return Ok(());
        };
        if self.chunks.as_ref().is_some_and(|it| !it.have_ended()) {
            return Err(IncomingError::Incomplete);
        }
        let (mut computed, payload) = hashers.finish();
        self.judge(&computed, payload.as_ref())?;
        computed.retain(|algorithm, _| is_kept(algorithm));
        let shared = &self.computed.0;
        *shared.lock().unwrap_or_else(PoisonError::into_inner) = computed;
        Ok(())
    }
}

fn checksums_of(trailers: &HeaderMap) -> Vec<(String, String)> {
    let pairs = trailers.iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix(CHECKSUM)?;
        let value = String::from_utf8_lossy(value.as_bytes());
        Some((name.to_owned(), value.into_owned()))
    });
    pairs.collect()
}

pub(super) fn is_md5(text: &str) -> bool {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text);
    bytes.is_ok_and(|bytes| bytes.len() == 16)
}

#[cfg(test)]
mod tests;
