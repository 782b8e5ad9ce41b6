//! Bytes of a blob that are compared where they lie, or written from one bucket into another.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use ring::digest::{Context, SHA256};
use tokio::time::timeout;

use super::StorageError;
use super::attempt::{Download, patience, silent, within_stream};
use super::backend::BucketBackend;
use super::error::IncomingError;
use super::fault::{Fault, FaultKind};
use super::hex::hex;
use super::object_name::ObjectName;
use super::sending::{Sending, send_body};
use super::spool::{Check, Spool};
use super::store::Store;

/// What the bytes of a blob must be.
#[derive(Debug, Clone)]
pub(super) struct Fingerprint {
    pub(super) size: u64,
    /// Lower-case hexadecimal; empty if it is not known yet.
    pub(super) sha256: String,
}

/// Why bytes did not arrive.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransferError {
    /// The source has other bytes.
    #[error("the source has other bytes than were stored")]
    WrongSource,
    /// The source does not give its bytes, or too slowly.
    #[error("the source does not give its bytes")]
    NoSource,
    /// The target does not take them.
    #[error("the bucket has failed: {0}")]
    Target(Fault),
    /// It took too long; whether the target has the bytes is not known.
    #[error("the bytes did not arrive in time")]
    TimedOut,
    /// Something here has failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Fingerprint {
    /// Reads an object in full. Returns its SHA-256, or nothing if it is not there, or has other bytes, more
    /// or fewer.
    pub(super) async fn read(
        &self,
        backend: &BucketBackend,
        object: ObjectName<'_>,
    ) -> Result<Option<String>, Fault> {
        let Some(mut bytes) = self.open(backend, object).await? else {
            return Ok(None);
        };
        let read = async {
            let (mut hash, mut length) = (Context::new(&SHA256), 0);
            while let Some(chunk) = within_stream(&mut bytes).await? {
                hash.update(&chunk);
                length += chunk.len() as u64;
                if length > self.size {
                    break;
                }
            }
            match length == self.size {
                true => Ok(hex(hash.finish().as_ref())),
                false => Err(Fault::other_size()),
            }
        };
        let read = timeout(patience(self.size), read).await;
        match read.unwrap_or_else(|_elapsed| Err(silent())) {
            Ok(sha256) => Ok(self.is(&sha256).then_some(sha256)),
            Err(Fault {
                kind: FaultKind::Absent | FaultKind::Damaged,
                ..
            }) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Begins to read an object. Nothing if it is not there, or has more or fewer bytes.
    async fn open(
        &self,
        backend: &BucketBackend,
        object: ObjectName<'_>,
    ) -> Result<Option<Download>, Fault> {
        if self.size == 0 {
            // No bucket has a range of it.
            let is_there = backend.head(object).await? == Some(0);
            return Ok(is_there.then(|| stream::empty().boxed()));
        }
        let fault = match backend.get(object, 0..self.size, self.size).await {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(fault) => fault,
        };
        let is_there = match fault.kind {
            FaultKind::Absent | FaultKind::Damaged => false,
            // It may be shorter: then a provider answers with another range than it was asked for.
            FaultKind::Connection | FaultKind::Other => {
                backend.head(object).await? == Some(self.size)
            }
            FaultKind::Quota
            | FaultKind::Refused
            | FaultKind::Throttled
            | FaultKind::Server
            | FaultKind::Slow => true,
        };
        match is_there {
            true => Err(fault),
            false => Ok(None),
        }
    }

    /// What the bytes of an object must be if it is read again: what is known of them, else what they are now.
    /// Nothing if it is not there.
    pub(super) async fn learnt(
        &self,
        backend: &BucketBackend,
        object: ObjectName<'_>,
    ) -> Result<Option<Self>, Fault> {
        if !self.sha256.is_empty() {
            return Ok(Some(self.clone()));
        }
        let read = self.read(backend, object).await?;
        Ok(read.map(|sha256| Self { sha256, ..*self }))
    }

    fn is(&self, sha256: &str) -> bool {
        self.sha256.is_empty() || self.sha256 == sha256
    }

    /// Writes the bytes of an object of one bucket into another one, if they are right; returns their
    /// SHA-256. What was sent of others is left to the caller.
    pub(super) async fn transfer(
        &self,
        store: &Store,
        from: &BucketBackend,
        object: ObjectName<'_>,
        to: &mut Sending<'_>,
    ) -> Result<String, TransferError> {
        let opened = match self.size {
            // No bucket has a range of it.
            0 => Ok(stream::empty().boxed()),
            size => from.get(object, 0..size, size).await,
        };
        let opened = opened.map_err(|fault| match fault.kind {
            FaultKind::Absent | FaultKind::Damaged => TransferError::WrongSource,
            _ => TransferError::NoSource,
        })?;
        // The client of this body is a bucket.
        let bytes = opened.map(|chunk| chunk.map_err(|_fault| IncomingError::Incomplete));
        let check = Expected {
            hash: Context::new(&SHA256),
            of: self.clone(),
        };
        let room = Arc::clone(&store.room);
        let spool = Spool::new(room, bytes.boxed(), self.size, Box::new(check));
        let mut spool = spool.map_err(StorageError::from)?;
        let sent = send_body(std::slice::from_mut(to), &mut spool, &store.index);
        // Which of the two buckets is too slow is not known.
        let sent = timeout(patience(self.size) * 2, sent).await;
        match sent.map_err(|_elapsed| TransferError::TimedOut)? {
            Err(StorageError::Body(IncomingError::BadDigest)) => {
                return Err(TransferError::WrongSource);
            }
            Err(StorageError::Body(_)) => return Err(TransferError::NoSource),
            sent => sent?,
        }
        match (&to.fault, spool.digests()) {
            (Some(fault), _) => Err(TransferError::Target(fault.clone())),
            (None, Some(digests)) => Ok(digests.sha256.clone()),
            (None, None) => Err(TransferError::NoSource),
        }
    }
}

/// Compares the bytes on the way, before the last of them is sent.
struct Expected {
    hash: Context,
    of: Fingerprint,
}

impl Check for Expected {
    fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
    }

    fn finish(&mut self) -> Result<(), IncomingError> {
        let sha256 = hex(self.hash.clone().finish().as_ref());
        match self.of.is(&sha256) {
            true => Ok(()),
            false => Err(IncomingError::BadDigest),
        }
    }
}
