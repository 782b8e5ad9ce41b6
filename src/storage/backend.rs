//! One bucket at its provider, by `object_store`: put, get range, head, delete, copy, presign, probe.
//!
//! `object_store` retries nothing here: which bucket is next is decided above, within one request.

use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::Method;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::local::LocalFileSystem;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig};
use tokio::time::timeout;

use super::attempt::{Download, FIRST_BYTE, fault, patience, silent, within, within_stream};
use super::connector::Guarded;
use super::fault::FaultKind;
use super::upload::Upload;
use super::{BucketRow, Provider, StorageError, fault::Fault};

/// What is sent at once; a body that is larger goes in parts of this size.
pub(super) const PART_BYTES: usize = 8 << 20;
/// Objects that `check` writes begin so, below the prefix of all others.
const PREFIX: &str = "tidegate";

/// One bucket at its provider.
#[derive(Debug)]
pub struct BucketBackend {
    store: Arc<dyn ObjectStore>,
    kind: Kind,
}

/// What only some buckets can do.
#[derive(Debug)]
enum Kind {
    S3(Arc<AmazonS3>),
    /// A directory.
    File(PathBuf),
}

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
                kind: Kind::File(location.bucket.into()),
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
            .with_disable_tagging(true)
            // Not every server that speaks S3 deletes several objects at once.
            .with_disable_bulk_delete(true);
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
            kind: Kind::S3(Arc::clone(&store)),
            store,
        })
    }

    /// Stores a body that is sent at once.
    pub(super) async fn put(&self, id: &str, body: Vec<Bytes>) -> Result<(), Fault> {
        let patience = patience(body.iter().map(|it| it.len() as u64).sum());
        let payload = PutPayload::from_iter(body);
        within(patience, self.store.put(&path(id), payload))
            .await
            .map(drop)
    }

    /// Begins a body that is sent in parts.
    pub(super) async fn begin(&self, id: &str) -> Result<Upload, Fault> {
        let path = path(id);
        match &self.kind {
            Kind::S3(store) => Ok(Upload::S3 {
                id: within(FIRST_BYTE, store.create_multipart(&path)).await?,
                store: Arc::clone(store),
                path,
                parts: Vec::new(),
            }),
            Kind::File(_) => {
                let upload = within(FIRST_BYTE, self.store.put_multipart(&path)).await?;
                Ok(Upload::File(upload))
            }
        }
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

    /// Gives up what is left of an object that was not completed: the parts of an upload with this id of
    /// its provider, or the file that was to become it. Succeeds if there is nothing, and if the bucket
    /// refuses: not all say in the same way that there is none.
    pub(super) async fn abandon(&self, id: &str, upload: Option<&str>) -> Result<(), Fault> {
        let aborted = match (&self.kind, upload) {
            (Kind::S3(store), Some(upload)) => {
                let upload = upload.to_owned();
                within(FIRST_BYTE, store.abort_multipart(&path(id), &upload)).await
            }
            (Kind::S3(_), None) => Ok(()),
            (Kind::File(directory), _) => {
                // Where `object_store` gathers the bytes of a file.
                let _removed_or_absent =
                    tokio::fs::remove_file(directory.join(format!("{PREFIX}/{id}#1"))).await;
                Ok(())
            }
        };
        match aborted {
            Err(fault) if fault.kind.is_silence() => Err(fault),
            _ => Ok(()),
        }
    }

    /// Copies an object within the bucket, without its bytes passing here.
    pub(super) async fn copy(&self, from: &str, to: &str, bytes: u64) -> Result<(), Fault> {
        within(patience(bytes), self.store.copy(&path(from), &path(to))).await
    }

    /// Returns a URL with which a client can read an object for a while.
    pub(super) async fn presigned(&self, id: &str, valid: Duration) -> Option<String> {
        let Kind::S3(signer) = &self.kind else {
            return None;
        };
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

/// The key in the bucket.
fn path(id: &str) -> Path {
    Path::from_iter([PREFIX, id])
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
    let store = store.map_err(|error| StorageError::Invalid(error.to_string()))?;
    Ok(store.with_fsync(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::NewBucket;

    #[tokio::test]
    async fn a_file_that_is_too_short_is_damaged_and_does_not_accuse_its_bucket() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().display().to_string();
        let row = BucketRow {
            id: "id".to_owned(),
            declared: NewBucket {
                name: "files".to_owned(),
                provider: Provider::File,
                region: "here".to_owned(),
                url: format!("file://{directory}"),
                soft_cap: 1.0,
                credit: None,
                quota: None,
                price_out: None,
            },
            credentials: None,
            writes: true,
            held: 0,
            written: 0,
        };
        let backend = BucketBackend::new(&row, &directory).unwrap();
        let bytes = vec![Bytes::from_static(b"bytes")];
        backend.put("key", bytes).await.unwrap();
        std::fs::write(root.path().join("tidegate/key"), b"by").unwrap();
        let fault = backend.get("key", 3..5).await.err().unwrap();
        assert_eq!(fault.kind, FaultKind::Damaged, "{fault}");
    }
}
