//! A body on its way to several buckets at the same time, read from the client once.

use futures_util::future::{join, join_all};

use super::StorageError;
use super::backend::{BucketBackend, PART_BYTES};
use super::fault::{Fault, Left};
use super::index::Index;
use super::spool::{Part, Spool};
use super::upload::Upload;

/// A body on its way to one bucket.
pub(super) struct Sending<'a> {
    pub(super) bucket: usize,
    pub(super) copy: String,
    pub(super) fault: Option<Fault>,
    backend: &'a BucketBackend,
    upload: Option<Upload>,
    /// Whether the bucket may have put the parts together.
    is_completing: bool,
}

impl<'a> Sending<'a> {
    pub(super) fn new(bucket: usize, backend: &'a BucketBackend, copy: String) -> Self {
        Self {
            bucket,
            copy,
            fault: None,
            backend,
            upload: None,
            is_completing: false,
        }
    }

    async fn put(&mut self, body: &Part) {
        let sent = self.backend.put(&self.copy, body.bytes.clone()).await;
        self.fault = sent.err();
    }

    /// Begins to send in parts. Their id is noted before any of them, so that the sweeper can give them up.
    async fn begin(&mut self, index: &Index) -> Result<(), StorageError> {
        match self.backend.begin(&self.copy).await {
            Ok(upload) => {
                let id = upload.id().map(str::to_owned);
                self.upload = Some(upload);
                match id {
                    Some(id) => index.note_upload(&self.copy, &id).await,
                    None => Ok(()),
                }
            }
            Err(fault) => {
                self.fault = Some(fault);
                Ok(())
            }
        }
    }

    async fn part(&mut self, body: &Part) {
        if let (None, Some(upload)) = (&self.fault, &mut self.upload) {
            self.fault = upload.part(body.bytes.clone()).await.err();
        }
    }

    async fn complete(&mut self) {
        if let (None, Some(upload)) = (&self.fault, &mut self.upload) {
            self.is_completing = true;
            self.fault = upload.complete().await.err();
        }
    }

    /// Gives up the parts that have been sent.
    pub(super) async fn abort(&mut self) -> Result<(), Fault> {
        abort(self.upload.take()).await
    }

    /// Gives up what has been sent. The bucket is not waited for: one that is silent must not hold the
    /// client up.
    pub(super) async fn give_up(self, index: &Index) {
        let left = match (&self.fault, self.is_completing) {
            (_, true) => Left::Unknown,
            (Some(fault), false) => fault.left(),
            (None, false) => Left::Nothing,
        };
        let (copy, upload) = (self.copy, self.upload);
        if upload.is_none() {
            return index.give_up(&copy, left).await;
        }
        let index = index.clone();
        tokio::spawn(async move {
            if abort(upload).await.is_ok() {
                index.give_up(&copy, left).await;
            }
        });
    }
}

async fn abort(upload: Option<Upload>) -> Result<(), Fault> {
    let Some(mut upload) = upload else {
        return Ok(());
    };
    let aborted = upload.abort().await;
    aborted.inspect_err(|fault| {
        tracing::debug!(%fault, "the parts of an upload are left to the sweeper");
    })
}

/// Sends a body to some buckets: at once if it is small, else in parts, of which the next one is received
/// while one is sent. Every bucket has all of it, or a fault.
///
/// # Errors
/// If the body cannot be used, whatever the buckets say.
pub(super) async fn send_body(
    to: &mut [Sending<'_>],
    spool: &mut Spool,
    index: &Index,
) -> Result<(), StorageError> {
    let first = spool.take(PART_BYTES).await?;
    if spool.declared() <= PART_BYTES as u64 {
        // The end is seen, and the digests are compared, before anything is sent.
        spool.take(1).await?;
        join_all(to.iter_mut().map(|it| it.put(&first))).await;
        return Ok(());
    }
    let begun = join_all(to.iter_mut().map(|it| it.begin(index))).await;
    begun.into_iter().collect::<Result<(), _>>()?;
    let mut part = first;
    while to.iter().any(|it| it.fault.is_none()) {
        let sent = async {
            // Its memory is free as soon as it is sent.
            let part = part;
            join_all(to.iter_mut().map(|it| it.part(&part))).await;
        };
        let ((), next) = join(sent, spool.take(PART_BYTES)).await;
        part = next?;
        if part.bytes.is_empty() {
            join_all(to.iter_mut().map(Sending::complete)).await;
            break;
        }
    }
    Ok(())
}
