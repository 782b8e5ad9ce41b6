//! One bucket at its provider, by `object_store`: put, get range, head, delete, copy, presign, probe.
//!
//! `object_store` retries nothing here: which bucket is next is decided above, within one request.

use std::future::Future;
use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::Method;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpClient, HttpConnector};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{
    ClientOptions, GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload,
    RetryConfig,
};
use tokio::time::timeout;

use super::bucket::is_forbidden_address;
use super::fault::{FaultKind, of_text};
use super::{BucketRow, Provider, StorageError, fault::Fault};

/// Time for a bucket's first byte, as the answer to a request of any kind.
pub(super) const FIRST_BYTE: Duration = Duration::from_secs(5);
/// The slowest that a bucket may be with a body.
pub(super) const BYTES_PER_SECOND_MIN: u64 = 256 << 10;
/// What is sent at once; a body that is larger goes in parts of this size.
pub(super) const PART_BYTES: usize = 8 << 20;
/// Objects that `check` writes begin so, below the prefix of all others.
const PREFIX: &str = "tidegate";

/// One bucket at its provider.
#[derive(Debug)]
pub struct BucketBackend {
    store: Arc<dyn ObjectStore>,
    signer: Option<Arc<AmazonS3>>,
}

/// A body on its way into a bucket, in parts.
pub(super) struct Upload(Box<dyn MultipartUpload>);

/// Bytes from a bucket.
pub(super) type Download = BoxStream<'static, Result<Bytes, Fault>>;

impl BucketBackend {
    /// Prepares access to a bucket; nothing is connected yet.
    ///
    /// # Errors
    /// If what is declared cannot be used.
    pub fn new(bucket: &BucketRow, file_root: &str) -> Result<Self, StorageError> {
        let declared = &bucket.declared;
        let location = declared.location().map_err(StorageError::Invalid)?;
        if declared.provider == Provider::File {
            let store = local(&location.bucket, file_root)?;
            return Ok(Self {
                store: Arc::new(store),
                signer: None,
            });
        }
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&location.bucket)
            .with_region(&declared.region)
            .with_http_connector(Guarded)
            .with_retry(RetryConfig {
                max_retries: 0,
                ..RetryConfig::default()
            })
            // The body travels over TLS, or in a network that is trusted; its hash is checked here.
            .with_unsigned_payload(true)
            .with_disable_tagging(true);
        if let Some(endpoint) = &location.endpoint {
            builder = builder
                .with_endpoint(endpoint)
                .with_allow_http(endpoint.starts_with("http://"));
        }
        let credentials = bucket.credentials.as_ref();
        let credentials = credentials
            .ok_or_else(|| StorageError::Invalid("the bucket has no credentials".to_owned()))?;
        let builder = builder
            .with_access_key_id(&credentials.access_key_id)
            .with_secret_access_key(secrecy::ExposeSecret::expose_secret(&credentials.secret()));
        let store = builder.build();
        let store = store.map_err(|error| StorageError::Invalid(error.to_string()))?;
        let store = Arc::new(store);
        Ok(Self {
            signer: Some(Arc::clone(&store)),
            store,
        })
    }

    /// Stores a body that is sent at once.
    pub(super) async fn put(&self, id: &str, body: Vec<Bytes>) -> Result<(), Fault> {
        let patience = patience(body.iter().map(Bytes::len).sum());
        let payload = PutPayload::from_iter(body);
        within(patience, self.store.put(&path(id), payload))
            .await
            .map(drop)
    }

    /// Begins a body that is sent in parts.
    pub(super) async fn begin(&self, id: &str) -> Result<Upload, Fault> {
        let upload = within(FIRST_BYTE, self.store.put_multipart(&path(id))).await?;
        Ok(Upload(upload))
    }

    /// Returns bytes of an object. The stream ends with a fault if the bucket is silent, or too slow.
    pub(super) async fn get(&self, id: &str, range: Range<u64>) -> Result<Download, Fault> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        let found = within(FIRST_BYTE, self.store.get_opts(&path(id), options)).await?;
        let bytes = found.into_stream();
        Ok(bytes
            .map(|chunk| chunk.map_err(|error| fault(&error)))
            .boxed())
    }

    /// Returns an object's size, or nothing if it is not there.
    pub(super) async fn head(&self, id: &str) -> Result<Option<u64>, Fault> {
        match within(FIRST_BYTE, self.store.head(&path(id))).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(fault) if fault.kind == FaultKind::Absent => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Deletes an object; succeeds if it is not there.
    pub(super) async fn delete(&self, id: &str) -> Result<(), Fault> {
        match within(FIRST_BYTE, self.store.delete(&path(id))).await {
            Err(fault) if fault.kind != FaultKind::Absent => Err(fault),
            _ => Ok(()),
        }
    }

    /// Copies an object within the bucket, without its bytes passing here.
    pub(super) async fn copy(&self, from: &str, to: &str, bytes: u64) -> Result<(), Fault> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        within(patience(bytes), self.store.copy(&path(from), &path(to))).await
    }

    /// Returns a URL with which a client can read an object for a while.
    pub(super) async fn presigned(&self, id: &str, valid: Duration) -> Option<String> {
        let signer = self.signer.as_ref()?;
        let url = signer.signed_url(Method::GET, &path(id), valid).await;
        url.ok().map(String::from)
    }

    /// Asks for something that is not there, which shows that the bucket answers.
    pub(super) async fn probe(&self) -> Result<(), Fault> {
        self.head("probe").await.map(drop)
    }

    /// Writes, reads, lists and deletes a small object; returns the outcome of each.
    pub async fn check(&self) -> [(&'static str, Result<(), Fault>); 4] {
        const BODY: &[u8] = b"tidegate storage bucket check";
        let id = format!("check-{}", uuid::Uuid::now_v7().simple());
        let written = self.put(&id, vec![Bytes::from_static(BODY)]).await;
        let read = async {
            let mut bytes = self.get(&id, 0..BODY.len() as u64).await?;
            let mut all = Vec::new();
            while let Some(chunk) = within_stream(&mut bytes).await? {
                all.extend_from_slice(&chunk);
            }
            match all == BODY {
                true => Ok(()),
                false => Err(Fault {
                    kind: FaultKind::Damaged,
                    detail: "other bytes came back".to_owned(),
                }),
            }
        };
        let read = read.await;
        let prefix = Path::from(PREFIX);
        let mut list = self.store.list(Some(&prefix));
        let listed = timeout(FIRST_BYTE, list.next()).await;
        let listed = match listed {
            Ok(Some(Err(error))) => Err(fault(&error)),
            Ok(_) => Ok(()),
            Err(_elapsed) => Err(silent()),
        };
        let deleted = self.delete(&id).await;
        [
            ("write", written),
            ("read", read),
            ("list", listed),
            ("delete", deleted),
        ]
    }
}

impl Upload {
    /// Sends a part.
    pub(super) async fn part(&mut self, body: Vec<Bytes>) -> Result<(), Fault> {
        let patience = patience(body.iter().map(Bytes::len).sum());
        within(patience, self.0.put_part(PutPayload::from_iter(body))).await
    }

    /// Puts the parts together.
    pub(super) async fn complete(&mut self) -> Result<(), Fault> {
        within(FIRST_BYTE * 4, self.0.complete()).await.map(drop)
    }

    /// Gives the parts up, if the bucket answers.
    pub(super) async fn abort(&mut self) {
        if let Err(fault) = within(FIRST_BYTE, self.0.abort()).await {
            tracing::debug!(%fault, "an upload's parts may be left behind");
        }
    }
}

/// Waits for the next bytes of a download.
pub(super) async fn within_stream(bytes: &mut Download) -> Result<Option<Bytes>, Fault> {
    match timeout(FIRST_BYTE, bytes.next()).await {
        Ok(next) => next.transpose(),
        Err(_elapsed) => Err(silent()),
    }
}

/// The key in the bucket.
fn path(id: &str) -> Path {
    Path::from_iter([PREFIX, id])
}

/// Time for a request with a body.
fn patience(bytes: usize) -> Duration {
    FIRST_BYTE + Duration::from_secs(bytes as u64 / BYTES_PER_SECOND_MIN)
}

async fn within<T>(
    patience: Duration,
    request: impl Future<Output = object_store::Result<T>>,
) -> Result<T, Fault> {
    match timeout(patience, request).await {
        Ok(answer) => answer.map_err(|error| fault(&error)),
        Err(_elapsed) => Err(silent()),
    }
}

fn silent() -> Fault {
    Fault {
        kind: FaultKind::Slow,
        detail: "no answer in time".to_owned(),
    }
}

fn fault(error: &object_store::Error) -> Fault {
    let detail = tidegate_model::error_chain::chain(error).to_string();
    let by_status = of_text(&detail);
    let kind = match error {
        object_store::Error::NotFound { .. } => FaultKind::Absent,
        _ => by_status.unwrap_or(FaultKind::Connection),
    };
    Fault { kind, detail }
}

/// Connects to buckets: follows no redirect, and never to an address that must not be an endpoint.
#[derive(Debug)]
struct Guarded;

impl HttpConnector for Guarded {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        // Only an endpoint that was declared with `http://` is asked without TLS: no redirect leads away.
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(Self))
            .connect_timeout(FIRST_BYTE)
            .pool_idle_timeout(Duration::from_secs(30))
            .user_agent("tidegate")
            .build();
        let failed = |error| object_store::Error::Generic {
            store: "S3",
            source: Box::new(error),
        };
        client.map(HttpClient::new).map_err(failed)
    }
}

impl reqwest::dns::Resolve for Guarded {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<_> = found
                .filter(|address| !is_forbidden_address(address.ip()))
                .collect();
            if allowed.is_empty() {
                return Err("the name has no address that may be an endpoint".into());
            }
            Ok(Box::new(allowed.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

/// Opens a directory below `file_root`, which links must not leave.
fn local(directory: &str, file_root: &str) -> Result<LocalFileSystem, StorageError> {
    if file_root.is_empty() {
        let why = "`file` buckets need [storage] file_root";
        return Err(StorageError::Invalid(why.to_owned()));
    }
    let resolved = |path: &str| {
        let failed = |error| StorageError::Invalid(format!("{path}: {error}"));
        FilePath::new(path).canonicalize().map_err(failed)
    };
    if !resolved(directory)?.starts_with(resolved(file_root)?) {
        let why = format!("{directory} is not below [storage] file_root");
        return Err(StorageError::Invalid(why));
    }
    let store = LocalFileSystem::new_with_prefix(directory);
    store.map_err(|error| StorageError::Invalid(error.to_string()))
}
