//! One bucket at its provider, by `object_store`: put, get range, head, delete, copy, presign, probe.
//!
//! `object_store` retries nothing here: which bucket is next is decided above, within one request.

mod azure;
mod file;
mod gcs;
pub(super) mod remote;
mod s3;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use http::Method;
use object_store::path::Path;
use object_store::signer::SignedUrlOptions;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};
use tokio::time::timeout;

use self::remote::Remote;
use super::attempt::{Download, FIRST_BYTE, fault, patience, silent, within, within_stream};
use super::bucket_span::traced;
use super::connector::Guarded;
use super::credentials::BucketCredentials;
use super::fault::FaultKind;
use super::object_name::{ObjectName, PREFIX, own_path as path, trial_id};
use super::unnamable::{Found, Unnamable};
use super::upload::Upload;
use super::{BucketRow, NewBucket, Provider, StorageError, fault::Fault};

/// What is sent at once; a body that is larger goes in parts of this size.
pub(super) const PART_BYTES: usize = 8 << 20;

/// One bucket at its provider.
#[derive(Debug)]
pub struct BucketBackend {
    name: Arc<str>,
    provider: Provider,
    store: Arc<dyn ObjectStore>,
    kind: Kind,
    unnamable: Arc<Unnamable>,
}

/// What only some buckets can do.
#[derive(Debug)]
enum Kind {
    Remote(Remote),
    /// A directory, by its path without links.
    File(PathBuf),
}

impl BucketBackend {
    /// Prepares access to a bucket; nothing is connected yet.
    ///
    /// # Errors
    /// If what is declared cannot be used.
    pub fn new(bucket: &BucketRow, file_root: &str) -> Result<Self, StorageError> {
        bucket.check()?;
        Self::of(&bucket.declared, bucket.credentials.as_ref(), file_root)
    }

    /// The same for a bucket that has no row yet.
    ///
    /// # Errors
    /// If what is declared cannot be used.
    pub fn of(
        declared: &NewBucket,
        credentials: Option<&BucketCredentials>,
        file_root: &str,
    ) -> Result<Self, StorageError> {
        let location = declared
            .opened_by(credentials)
            .map_err(StorageError::Invalid)?;
        let Some(credentials) = credentials else {
            let (store, directory) = file::open(&location.bucket, file_root)?;
            return Ok(Self {
                name: declared.name.as_str().into(),
                provider: declared.provider,
                store: Arc::new(store),
                kind: Kind::File(directory),
                unnamable: Arc::default(),
            });
        };
        let connector = Guarded::new(location.reach);
        let remote = match (declared.provider, credentials) {
            (Provider::Azure, _) => azure::open(&location, &connector, credentials)?,
            (
                Provider::Gcp,
                BucketCredentials::ServiceAccount { .. } | BucketCredentials::Role { .. },
            ) => gcs::open(&location, &connector, credentials)?,
            (Provider::Aws | Provider::Gcp | Provider::S3 | Provider::File, _) => {
                s3::open(declared, &location, &connector, credentials)?
            }
        };
        Ok(Self {
            name: declared.name.as_str().into(),
            provider: declared.provider,
            store: Arc::clone(&remote.objects),
            kind: Kind::Remote(remote),
            unnamable: connector.unnamable(),
        })
    }

    /// Fails if the bucket is a directory that is gone, or replaced by a link. Of others, their providers say so.
    async fn check_there(&self) -> Result<(), Fault> {
        match &self.kind {
            Kind::Remote(_) => Ok(()),
            Kind::File(directory) => file::check(directory).await,
        }
    }

    /// Stores a body that is sent at once.
    pub(super) async fn put(&self, id: &str, body: Vec<Bytes>) -> Result<(), Fault> {
        self.check_there().await?;
        let patience = patience(body.iter().map(|it| it.len() as u64).sum());
        let payload = PutPayload::from_iter(body);
        let path = path(id);
        let put = within(patience, self.store.put(&path, payload));
        traced(&self.name, "bucket put", put).await.map(drop)
    }

    /// Begins a body that is sent in parts.
    pub(super) async fn begin(&self, id: &str) -> Result<Upload, Fault> {
        self.check_there().await?;
        let path = path(id);
        match &self.kind {
            Kind::Remote(remote) => Ok(Upload::Remote {
                id: {
                    let begun = within(FIRST_BYTE, remote.parts.create_multipart(&path));
                    traced(&self.name, "bucket upload", begun).await?
                },
                store: Arc::clone(&remote.parts),
                path,
                parts: Vec::new(),
            }),
            Kind::File(_) => {
                let upload = within(FIRST_BYTE, self.store.put_multipart(&path)).await?;
                Ok(Upload::File(upload))
            }
        }
    }

    /// Returns bytes of an object that must have a certain size: of one that has another, none are those that
    /// were stored. The stream ends with a fault if the bucket is silent, or too slow.
    pub(super) async fn get<'a>(
        &self,
        object: impl Into<ObjectName<'a>>,
        range: Range<u64>,
        size: u64,
    ) -> Result<Download, Fault> {
        let object = object.into();
        self.check_there().await?;
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            if_match: object.etag(),
            ..GetOptions::default()
        };
        let path = object.path()?;
        let found = within(FIRST_BYTE, self.store.get_opts(&path, options));
        let found = match traced(&self.name, "bucket get", found).await {
            Err(fault) if fault.kind == FaultKind::Absent => {
                self.check_there().await?;
                return Err(fault);
            }
            found => found?,
        };
        if found.meta.size != size {
            return Err(Fault::other_size());
        }
        let bytes = found.into_stream();
        Ok(bytes
            .map(|chunk| chunk.map_err(|error| fault(&error)))
            .boxed())
    }

    /// Returns an object's size, or nothing if it is not there.
    pub(super) async fn head<'a>(
        &self,
        object: impl Into<ObjectName<'a>>,
    ) -> Result<Option<u64>, Fault> {
        let meta = self.meta(&object.into().path()?).await?;
        Ok(meta.map(|meta| meta.size))
    }

    /// Returns what its provider says about an object, if it is there.
    pub(super) async fn meta(&self, path: &Path) -> Result<Option<ObjectMeta>, Fault> {
        self.check_there().await?;
        match within(FIRST_BYTE, self.store.head(path)).await {
            Ok(meta) => Ok(Some(meta)),
            Err(fault) if fault.kind == FaultKind::Absent => {
                self.check_there().await.map(|()| None)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Takes the keys that lists have left out since the last time.
    pub(super) fn unnamable(&self) -> Found {
        self.unnamable.take()
    }

    /// Returns all objects below a prefix, which ends where a segment of a key does; without those whose
    /// keys are [no paths](super::unnamable), or too long.
    pub(super) fn list(
        &self,
        prefix: Option<&Path>,
    ) -> BoxStream<'static, Result<ObjectMeta, Fault>> {
        let listed = self.store.list(prefix);
        let unnamable = Arc::clone(&self.unnamable);
        let named = listed.filter(move |found| {
            let too_long = |it: &ObjectMeta| !unnamable.has_room(&it.location);
            std::future::ready(!found.as_ref().is_ok_and(too_long))
        });
        let directory = match &self.kind {
            Kind::Remote(_) => None,
            Kind::File(directory) => Some(directory.clone()),
        };
        // A list of a directory that is gone ends as if there were nothing more.
        let gone = stream::iter(directory).filter_map(|directory| async move {
            let there = file::check(&directory).await;
            there.err().map(Err)
        });
        named
            .map(|found| found.map_err(|error| fault(&error)))
            .chain(gone)
            .boxed()
    }

    /// Deletes an object; succeeds if it is not there.
    pub(super) async fn delete<'a>(&self, object: impl Into<ObjectName<'a>>) -> Result<(), Fault> {
        let path = object.into().path()?;
        self.check_there().await?;
        let deleted = within(FIRST_BYTE, self.store.delete(&path));
        match traced(&self.name, "bucket delete", deleted).await {
            Err(fault) if fault.kind == FaultKind::Absent => self.check_there().await,
            deleted => deleted,
        }
    }

    /// Gives up what is left of an object that was not completed: the parts of an upload with this id of
    /// its provider, or the file that was to become it. Succeeds if there is nothing, and if the bucket
    /// refuses: not all say in the same way that there is none.
    pub(super) async fn abandon(&self, id: &str, upload: Option<&str>) -> Result<(), Fault> {
        let aborted = match (&self.kind, upload) {
            (Kind::Remote(remote), Some(upload)) => {
                let (path, upload) = (path(id), upload.to_owned());
                within(FIRST_BYTE, remote.parts.abort_multipart(&path, &upload)).await
            }
            (Kind::Remote(_), None) => Ok(()),
            (Kind::File(directory), _) => {
                if file::check(directory).await.is_ok() {
                    // Where `object_store` gathers the bytes of a file.
                    let _removed_or_absent =
                        tokio::fs::remove_file(directory.join(format!("{PREFIX}/{id}#1"))).await;
                }
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
        self.check_there().await?;
        let (from, to) = (path(from), path(to));
        let copied = within(patience(bytes), self.store.copy(&from, &to));
        traced(&self.name, "bucket copy", copied).await
    }

    /// Returns a URL with which a client can read an object for a while; nothing if the answer cannot have
    /// what the parameters ask for.
    pub(super) async fn presigned(
        &self,
        id: &str,
        valid: Duration,
        parameters: &[(&'static str, String)],
    ) -> Option<String> {
        let Kind::Remote(remote) = &self.kind else {
            return None;
        };
        let mut names = parameters.iter().map(|(name, _)| *name);
        if !names.all(|name| self.provider.answers(name)) {
            return None;
        }
        let path = path(id);
        let query = parameters
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        let options = SignedUrlOptions::default().with_query(query);
        let signed = remote
            .signer
            .signed_url_opts(Method::GET, &path, valid, &options);
        within(FIRST_BYTE, signed).await.ok().map(String::from)
    }

    /// Asks for something that is not there, which shows that the bucket answers.
    pub(super) async fn probe(&self) -> Result<(), Fault> {
        self.head("probe").await.map(drop)
    }

    /// Reads a small object and compares it. Neither a body without end nor one that trickles in is read
    /// for long.
    pub(super) async fn comes_back(&self, id: &str, expected: &[u8]) -> Result<(), Fault> {
        let read = async {
            let size = expected.len() as u64;
            let mut bytes = self.get(id, 0..size, size).await?;
            let mut left = expected;
            while let Some(chunk) = within_stream(&mut bytes).await? {
                left = left.strip_prefix(&*chunk).ok_or_else(other_bytes)?;
            }
            match left.is_empty() {
                true => Ok(()),
                false => Err(other_bytes()),
            }
        };
        timeout(FIRST_BYTE, read)
            .await
            .unwrap_or_else(|_elapsed| Err(silent()))
    }

    /// Writes, reads, lists and deletes a small object, each within 5 s; returns the outcome of each.
    pub async fn check(&self) -> [(&'static str, Result<(), Fault>); 4] {
        const BODY: &[u8] = b"tidegate storage bucket check";
        let id = trial_id();
        let written = self.put(&id, vec![Bytes::from_static(BODY)]).await;
        let read = self.comes_back(&id, BODY).await;
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

fn other_bytes() -> Fault {
    Fault {
        kind: FaultKind::Damaged,
        detail: "other bytes came back".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(directory: &str) -> BucketBackend {
        let row = BucketRow::sample(Provider::File, &format!("file://{directory}"));
        BucketBackend::new(&row, directory).unwrap()
    }

    fn bytes() -> Vec<Bytes> {
        vec![Bytes::from_static(b"bytes")]
    }

    /// Why operations of all kinds fail.
    async fn faults(backend: &BucketBackend) -> [FaultKind; 6] {
        let failed = [
            backend.put("other", bytes()).await,
            backend.begin("other").await.map(drop),
            backend.copy("key", "other", 5).await,
            backend.get("key", 0..5, 5).await.map(drop),
            backend.head("key").await.map(drop),
            backend.delete("key").await,
        ];
        failed.map(|it| it.unwrap_err().kind)
    }

    #[tokio::test]
    async fn a_key_that_is_longer_than_those_of_s3_is_not_listed_but_kept_by_name() {
        let root = tempfile::tempdir().unwrap();
        let backend = files(&root.path().display().to_string());
        let folder = "x".repeat(250);
        let deep = [folder.as_str(); 4].join("/");
        std::fs::create_dir_all(root.path().join(&deep)).unwrap();
        let (longest, too_long) = (format!("{deep}/{}", "y".repeat(20)), "y".repeat(21));
        assert_eq!(longest.len(), 1_024);
        std::fs::write(root.path().join(&longest), "bytes").unwrap();
        std::fs::write(root.path().join(&deep).join(&too_long), "bytes").unwrap();
        let listed: Vec<_> = backend.list(None).collect().await;
        let keys = listed
            .into_iter()
            .map(|it| it.unwrap().location.to_string());
        assert_eq!(keys.collect::<Vec<_>>(), [longest]);
        let found = backend.unnamable();
        assert_eq!(found.count, 1);
        assert_eq!(found.keys, [format!("{deep}/{too_long}")]);
    }

    #[tokio::test]
    async fn a_file_of_another_size_is_damaged_and_does_not_accuse_its_bucket() {
        let root = tempfile::tempdir().unwrap();
        let backend = files(&root.path().display().to_string());
        backend.put("key", bytes()).await.unwrap();
        let file = root.path().join("tidegate/key");
        for (bytes, range) in [("by", 3..5), ("by", 0..1), ("bytes and more", 0..5)] {
            std::fs::write(&file, bytes).unwrap();
            let fault = backend.get("key", range, 5).await.err().unwrap();
            assert_eq!(fault.kind, FaultKind::Damaged, "{bytes}: {fault}");
        }
    }

    #[tokio::test]
    async fn a_directory_that_is_gone_is_not_made_anew_and_accuses_its_bucket() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("mounted");
        std::fs::create_dir(&directory).unwrap();
        let backend = files(&directory.display().to_string());
        backend.put("key", bytes()).await.unwrap();
        let elsewhere = root.path().join("elsewhere");
        std::fs::rename(&directory, &elsewhere).unwrap();
        assert_eq!(faults(&backend).await, [FaultKind::Connection; 6]);
        let probed = backend.probe().await.unwrap_err();
        assert_eq!(probed.kind, FaultKind::Connection);
        let listed: Vec<_> = backend.list(None).collect().await;
        let [Err(fault)] = &listed[..] else {
            panic!("{listed:?}");
        };
        assert_eq!(fault.kind, FaultKind::Connection);
        assert!(!directory.exists());
        std::fs::rename(&elsewhere, &directory).unwrap();
        assert_eq!(backend.list(None).count().await, 1);
        backend.put("other", bytes()).await.unwrap();
        assert_eq!(backend.head("key").await.unwrap(), Some(5));
        backend.delete("key").await.unwrap();
        assert_eq!(backend.head("key").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_link_in_the_place_of_a_directory_is_not_followed() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let directory = root.path().join("mounted");
        std::fs::create_dir(&directory).unwrap();
        let backend = files(&directory.display().to_string());
        let others = outside.path().join("tidegate");
        std::fs::create_dir(&others).unwrap();
        for name in ["key", "key#1"] {
            std::fs::write(others.join(name), "bytes").unwrap();
        }
        std::fs::remove_dir(&directory).unwrap();
        std::os::unix::fs::symlink(outside.path(), &directory).unwrap();
        assert_eq!(faults(&backend).await, [FaultKind::Connection; 6]);
        backend.abandon("key", None).await.unwrap();
        let listed: Vec<_> = backend.list(None).collect().await;
        assert!(listed.last().is_some_and(Result::is_err), "{listed:?}");
        assert_eq!(std::fs::read_dir(&others).unwrap().count(), 2);
        assert!(others.join("key").exists() && others.join("key#1").exists());
    }
}
