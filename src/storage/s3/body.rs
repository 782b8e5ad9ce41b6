//! The body of a PUT: its length, and the digests that the client has declared for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use http::{HeaderMap, Request};
use http_body_util::{BodyStream, StreamBody};
use md5::{Digest, Md5};
use s3s::checksum::ChecksumHasher;
use s3s::dto::{Checksum, StreamingBlob};
use s3s::stream::ByteStream;
use s3s::{Body, S3Result, TrailingHeaders, s3_error};

use crate::storage::StorageError;
use crate::storage::error::IncomingError;
use crate::storage::spool::{Check, Incoming};

/// The prefix of the headers that have checksums.
const CHECKSUM: &str = "x-amz-checksum-";

/// Checksums, in base64, by the name of their algorithm.
pub(super) type Checksums = BTreeMap<String, String>;

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

/// The digests that a client has declared.
pub(super) struct Declared {
    md5: Option<(Md5, String)>,
    hasher: Option<ChecksumHasher>,
    checksums: Checksums,
    trailers: Option<TrailingHeaders>,
    computed: Computed,
}

impl Declared {
    /// Reads the headers of a request.
    pub(super) fn of(
        headers: &HeaderMap,
        trailers: Option<TrailingHeaders>,
    ) -> S3Result<(Self, Computed)> {
        let text = |name: &str| headers.get(name).and_then(|it| it.to_str().ok());
        let md5 = text("content-md5").map(str::to_owned);
        if md5.as_ref().is_some_and(|md5| !is_md5(md5)) {
            return Err(s3_error!(InvalidDigest));
        }
        let algorithms = ["crc32", "crc32c", "sha1", "sha256", "crc64nvme"];
        let given = algorithms.iter().filter_map(|name| {
            let value = text(&format!("{CHECKSUM}{name}"))?;
            Some(((*name).to_owned(), value.to_owned()))
        });
        let checksums: Checksums = given.collect();
        let trailer = text("x-amz-trailer")
            .unwrap_or_default()
            .to_ascii_lowercase();
        let wanted = |name: &str| {
            checksums.contains_key(name)
                || trailer
                    .split(',')
                    .any(|it| it.trim() == format!("{CHECKSUM}{name}"))
        };
        let hasher = ChecksumHasher {
            crc32: wanted("crc32").then(Default::default),
            crc32c: wanted("crc32c").then(Default::default),
            sha1: wanted("sha1").then(Default::default),
            sha256: wanted("sha256").then(Default::default),
            crc64nvme: wanted("crc64nvme").then(Default::default),
        };
        let computed = Computed::default();
        let declared = Self {
            md5: md5.map(|md5| (Md5::new(), md5)),
            hasher: algorithms.iter().any(|name| wanted(name)).then_some(hasher),
            checksums,
            trailers,
            computed: computed.clone(),
        };
        Ok((declared, computed))
    }
}

/// The digests of a body that `s3s` reads as a whole, for the operation that acts on it.
#[derive(Clone)]
pub(super) struct Watched(Arc<Mutex<Declared>>);

impl Watched {
    /// Has the body of a request compared while it is read; the operation finds the outcome.
    pub(super) fn body(request: Request<Body>) -> S3Result<Request<Body>> {
        let (declared, _computed) = Declared::of(request.headers(), None)?;
        let watched = Self(Arc::new(Mutex::new(declared)));
        let (mut head, body) = request.into_parts();
        head.extensions.insert(watched.clone());
        let frames = BodyStream::new(body).inspect_ok(move |frame| {
            if let Some(bytes) = frame.data_ref() {
                watched.declared().update(bytes);
            }
        });
        let body = Body::http_body_unsync(StreamBody::new(frames));
        Ok(Request::from_parts(head, body))
    }

    /// Judges, when the body has been read.
    pub(super) fn check(&self) -> S3Result<()> {
        let judged = self.declared().finish();
        Ok(judged.map_err(StorageError::from)?)
    }

    fn declared(&self) -> MutexGuard<'_, Declared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Check for Declared {
    fn update(&mut self, bytes: &[u8]) {
        if let Some((md5, _)) = &mut self.md5 {
            md5.update(bytes);
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
    }

    fn finish(&mut self) -> Result<(), IncomingError> {
        if let Some((md5, expected)) = self.md5.take()
            && base64(&md5.finalize()) != expected
        {
            return Err(IncomingError::BadDigest);
        }
        let Some(hasher) = self.hasher.take() else {
            return Ok(());
        };
        let computed = by_name(hasher.finalize());
        let mut expected = self.checksums.clone();
        let trailers = self.trailers.as_ref();
        let in_trailers = trailers.and_then(|trailers| trailers.read(checksums_of));
        expected.extend(in_trailers.unwrap_or_default());
        let is_right = |(name, value): (&String, &String)| computed.get(name) == Some(value);
        // One that was announced as a trailer must have come.
        let all_came = computed.keys().all(|name| expected.contains_key(name));
        if !all_came || !expected.iter().all(is_right) {
            return Err(IncomingError::BadDigest);
        }
        let mut shared = self
            .computed
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *shared = computed;
        Ok(())
    }
}

fn checksums_of(trailers: &HeaderMap) -> Checksums {
    let pairs = trailers.iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix(CHECKSUM)?;
        Some((name.to_owned(), value.to_str().ok()?.to_owned()))
    });
    pairs.collect()
}

fn by_name(checksum: Checksum) -> Checksums {
    let all = [
        ("crc32", checksum.checksum_crc32),
        ("crc32c", checksum.checksum_crc32c),
        ("sha1", checksum.checksum_sha1),
        ("sha256", checksum.checksum_sha256),
        ("crc64nvme", checksum.checksum_crc64nvme),
    ];
    let given = all
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    given.collect()
}

/// The bytes of a body, and how many there will be.
pub(super) fn incoming(
    body: Option<StreamingBlob>,
    content_length: Option<i64>,
) -> S3Result<(Incoming, u64)> {
    let Some(body) = body else {
        return Ok((futures_util::stream::empty().boxed(), 0));
    };
    let declared = content_length.and_then(|length| u64::try_from(length).ok());
    let exact = || body.remaining_length().exact().map(|length| length as u64);
    let length = declared.or_else(exact);
    let length = length.ok_or_else(|| s3_error!(MissingContentLength))?;
    let bytes = body.map(|chunk: Result<Bytes, _>| chunk.map_err(|error| of_stream(&*error)));
    Ok((bytes.boxed(), length))
}

/// What is wrong with a body that `s3s` has verified on the way: its errors have no common type.
fn of_stream(error: &(dyn std::error::Error + 'static)) -> IncomingError {
    let text = tidegate_model::error_chain::chain(error).to_string();
    match text {
        text if text.contains("Sha256Mismatch") || text.contains("sha256") => {
            IncomingError::WrongSha256
        }
        text if text.contains("SignatureMismatch") => IncomingError::WrongSignature,
        _ => IncomingError::Incomplete,
    }
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
