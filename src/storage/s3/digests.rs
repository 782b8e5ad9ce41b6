//! The digests that a client declares for a body: in headers, in the query of a presigned URL, in the fields of
//! a form, or behind the body. All of them are compared; none replaces another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;
use md5::{Digest, Md5};
use ring::digest;
use s3s::checksum::ChecksumHasher;
use s3s::{S3Result, TrailingHeaders, s3_error};

use super::guard::decoded;
use crate::storage::error::IncomingError;
use crate::storage::hex::hex;
use crate::storage::spool::Check;

/// The prefix of the headers that have checksums.
pub(super) const CHECKSUM: &str = "x-amz-checksum-";
/// The SHA-256 of the payload, in hexadecimal.
const PAYLOAD: &str = "x-amz-content-sha256";
/// Algorithms whose checksums are compared, and kept with the object.
const KEPT: [&str; 5] = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"];
/// Those whose checksums are only compared.
const COMPARED: [&str; 2] = ["md5", "sha512"];
/// The CRC32 of an empty body: the SDK for JavaScript puts it into every URL that it presigns, whatever will be
/// uploaded there.
const CRC32_OF_NOTHING: (&str, &str) = ("crc32", "AAAAAA==");

/// Checksums, in base64, by the name of their algorithm.
pub(super) type Checksums = BTreeMap<String, String>;

/// Whether checksums of an algorithm can be compared.
pub(super) fn is_compared(algorithm: &str) -> bool {
    is_kept(algorithm) || COMPARED.contains(&algorithm)
}

/// Whether checksums of an algorithm are kept with an object.
pub(super) fn is_kept(algorithm: &str) -> bool {
    KEPT.contains(&algorithm)
}

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
    computed: Computed,
}

impl Declared {
    pub(super) fn new(said: Said, trailers: Option<TrailingHeaders>) -> (Self, Computed) {
        let computed = Computed::default();
        let declared = Self {
            hashers: Some(Hashers::of(&said)),
            said,
            trailers,
            computed: computed.clone(),
        };
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
        let (mut computed, payload) = hashers.finish();
        self.judge(&computed, payload.as_ref())?;
        computed.retain(|algorithm, _| is_kept(algorithm));
        let shared = &self.computed.0;
        *shared.lock().unwrap_or_else(PoisonError::into_inner) = computed;
        Ok(())
    }
}

/// Only those that are wanted.
struct Hashers {
    kept: ChecksumHasher,
    md5: Option<Md5>,
    sha512: Option<digest::Context>,
    payload: Option<digest::Context>,
}

impl Hashers {
    fn of(said: &Said) -> Self {
        let wants = |algorithm| said.wants(algorithm);
        Self {
            kept: ChecksumHasher {
                crc32: wants("crc32").then(Default::default),
                crc32c: wants("crc32c").then(Default::default),
                sha1: wants("sha1").then(Default::default),
                sha256: wants("sha256").then(Default::default),
                crc64nvme: wants("crc64nvme").then(Default::default),
            },
            md5: wants("md5").then(Md5::new),
            sha512: wants("sha512").then(|| digest::Context::new(&digest::SHA512)),
            payload: (!said.payloads.is_empty()).then(|| digest::Context::new(&digest::SHA256)),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.kept.update(bytes);
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        for context in [&mut self.sha512, &mut self.payload].into_iter().flatten() {
            context.update(bytes);
        }
    }

    /// The checksums, and the SHA-256 of the payload.
    fn finish(self) -> (Checksums, Option<String>) {
        let kept = self.kept.finalize();
        let md5 = self.md5.map(|md5| base64(&md5.finalize()));
        let sha512 = self.sha512.map(|context| base64(context.finish().as_ref()));
        let all = [
            ("crc32", kept.checksum_crc32),
            ("crc32c", kept.checksum_crc32c),
            ("sha1", kept.checksum_sha1),
            ("sha256", kept.checksum_sha256),
            ("crc64nvme", kept.checksum_crc64nvme),
            ("md5", md5),
            ("sha512", sha512),
        ];
        let given = all
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let payload = self.payload.map(|context| hex(context.finish().as_ref()));
        (given.collect(), payload)
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

fn is_md5(text: &str) -> bool {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text);
    bytes.is_ok_and(|bytes| bytes.len() == 16)
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests;
