//! A body on its way into a bucket in parts.

use std::sync::Arc;

use bytes::Bytes;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, MultipartUpload, PutPayload};

use super::attempt::{FIRST_BYTE, patience, within};
use super::fault::Fault;

/// A body on its way into a bucket, in parts.
pub(super) enum Upload {
    /// Its provider keeps the parts under an id until they are put together or given up.
    Remote {
        store: Arc<dyn MultipartStore>,
        path: Path,
        id: MultipartId,
        parts: Vec<PartId>,
    },
    /// A local file.
    File(Box<dyn MultipartUpload>),
}

impl Upload {
    /// The provider's id, with which the parts can be given up after a crash.
    pub(super) fn id(&self) -> Option<&str> {
        match self {
            Self::Remote { id, .. } => Some(id),
            Self::File(_) => None,
        }
    }

    /// Sends a part.
    pub(super) async fn part(&mut self, body: Vec<Bytes>) -> Result<(), Fault> {
        let patience = patience(body.iter().map(|it| it.len() as u64).sum());
        let body = PutPayload::from_iter(body);
        match self {
            Self::Remote {
                store,
                path,
                id,
                parts,
            } => {
                let sent = store.put_part(path, id, parts.len(), body);
                parts.push(within(patience, sent).await?);
                Ok(())
            }
            Self::File(file) => within(patience, file.put_part(body)).await,
        }
    }

    /// Puts the parts together.
    pub(super) async fn complete(&mut self) -> Result<(), Fault> {
        let completed = match self {
            Self::Remote {
                store,
                path,
                id,
                parts,
            } => store.complete_multipart(path, id, parts.clone()),
            Self::File(file) => file.complete(),
        };
        within(FIRST_BYTE * 4, completed).await.map(drop)
    }

    /// Gives the parts up.
    pub(super) async fn abort(&mut self) -> Result<(), Fault> {
        let aborted = match self {
            Self::Remote {
                store, path, id, ..
            } => store.abort_multipart(path, id),
            Self::File(file) => file.abort(),
        };
        within(FIRST_BYTE, aborted).await
    }
}
