//! A client's body on its way to a bucket, kept until some bucket has it: in memory as far as there is
//! room for all requests, past that in an encrypted file that has no name.
//!
//! Bytes are taken from the client only as fast as a bucket takes them.

mod chunk;
mod file;
mod room;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use md5::{Digest, Md5};
use ring::digest;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

pub(super) use self::chunk::Part;
use self::chunk::{Chunk, Kept};
use self::file::SpoolFile;
pub(super) use self::room::SpoolRoom;
use self::room::units_of;
use super::StorageError;
use super::attempt::patience;
use super::error::IncomingError;
use super::hex::hex;

/// A body may be silent for so long.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Largest upload, as S3 has it.
pub(super) const BODY_BYTES_MAX: u64 = 5 << 30;
/// What is taken of a body that was refused.
const DRAIN_BYTES_MAX: usize = 64 << 20;
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// What a client sends.
pub(super) type Incoming = BoxStream<'static, Result<Bytes, IncomingError>>;

/// What follows a body: digests that could be compared only when it has ended.
pub(super) trait Check: Send {
    /// Takes the next bytes.
    fn update(&mut self, bytes: &[u8]);

    /// Judges, when all bytes have been taken.
    fn finish(&mut self) -> Result<(), IncomingError>;
}

/// A body, as far as it has arrived.
pub(super) struct Spool {
    room: Arc<SpoolRoom>,
    incoming: Incoming,
    declared: u64,
    received: u64,
    check: Box<dyn Check>,
    md5: Md5,
    sha256: digest::Context,
    digests: Option<Digests>,
    /// Why the client's body cannot be used; it stays so.
    failed: Option<IncomingError>,
    /// What begins with the first byte, or, if bytes were let go, with the first that was not taken.
    kept: VecDeque<Kept>,
    file: Option<SpoolFile>,
    /// Which of the kept chunks is next, and how many bytes there are from it on.
    at: usize,
    ahead: usize,
    /// What is left of a chunk that was larger than what was asked for; counted in `ahead`.
    rest: Option<Chunk>,
    /// Whether bytes were let go, so that the body cannot begin again.
    incomplete: bool,
}

/// The digests of a whole body.
#[derive(Debug, Clone)]
pub(super) struct Digests {
    /// Lower-case hexadecimal, as `ETags` have it.
    pub(super) md5: String,
    /// Lower-case hexadecimal.
    pub(super) sha256: String,
}

impl Spool {
    pub(super) fn new(
        room: Arc<SpoolRoom>,
        incoming: Incoming,
        declared: u64,
        check: Box<dyn Check>,
    ) -> Result<Self, IncomingError> {
        if declared > BODY_BYTES_MAX {
            return Err(IncomingError::TooLarge);
        }
        Ok(Self {
            room,
            // What is drained may have ended before.
            incoming: incoming.fuse().boxed(),
            declared,
            received: 0,
            check,
            md5: Md5::new(),
            sha256: digest::Context::new(&digest::SHA256),
            digests: None,
            failed: None,
            kept: VecDeque::new(),
            file: None,
            at: 0,
            ahead: 0,
            rest: None,
            incomplete: false,
        })
    }

    /// The length that was declared.
    pub(super) fn declared(&self) -> u64 {
        self.declared
    }

    /// The digests, once all bytes have arrived and satisfy the client's own.
    pub(super) fn digests(&self) -> Option<&Digests> {
        self.digests.as_ref()
    }

    /// Begins again, for another bucket; false if that is not possible any more.
    pub(super) fn rewind(&mut self) -> bool {
        if self.incomplete {
            return false;
        }
        self.at = 0;
        self.ahead = self.kept.iter().map(Kept::len).sum();
        self.rest = None;
        if let Some(file) = &mut self.file {
            file.rewind();
        }
        true
    }

    /// Lets some of the rest go, so that a client that is still sending reads why it was refused, and not
    /// that the connection was closed.
    pub(super) async fn drain(&mut self) {
        let mut left = DRAIN_BYTES_MAX;
        let draining = async {
            while let Some(Ok(bytes)) = self.incoming.next().await {
                left = left.saturating_sub(bytes.len());
                if left == 0 {
                    return;
                }
            }
        };
        let _drained_or_elapsed = timeout(DRAIN_MAX, draining).await;
    }

    /// Returns the next bytes, up to a number of them; fewer only at the end, and none after it.
    ///
    /// Bytes that arrive slowly wait in the file: in memory there is only what is sent next.
    pub(super) async fn take(&mut self, most: usize) -> Result<Part, StorageError> {
        let (mut room, mut until) = (None, None);
        while self.ahead < most && self.digests.is_none() {
            if self.incomplete && room.is_none() {
                let left = self.declared - self.received + self.ahead as u64;
                let left = usize::try_from(left).unwrap_or(usize::MAX);
                room = Some(self.room.part(most.min(left)).await?);
                // Others wait for this room.
                until = Some(Instant::now() + patience(most.min(left) as u64));
            }
            if let Some(failed) = self.failed {
                return Err(failed.into());
            }
            let received = self.receive(until).await;
            if let Err(StorageError::Body(error)) = &received {
                self.failed = Some(*error);
            }
            received?;
        }
        if room.is_none() && self.file.is_some() && self.ahead > 0 {
            room = Some(self.room.part(most.min(self.ahead)).await?);
        }
        let (mut bytes, mut memory) = (Vec::new(), Vec::new());
        let mut left = most;
        while left > 0
            && let Some(mut chunk) = self.next()?
        {
            if chunk.bytes.len() > left {
                self.rest = Some(Chunk {
                    bytes: chunk.bytes.split_off(left),
                    memory: chunk.memory.clone(),
                });
            }
            left -= chunk.bytes.len();
            self.ahead -= chunk.bytes.len();
            bytes.push(chunk.bytes);
            memory.extend(chunk.memory);
        }
        if self.incomplete {
            self.let_go();
        }
        Ok(Part {
            bytes,
            _room: room,
            _memory: memory,
        })
    }

    /// Returns the next chunk of those that are kept.
    fn next(&mut self) -> Result<Option<Chunk>, StorageError> {
        if let Some(rest) = self.rest.take() {
            return Ok(Some(rest));
        }
        let Some(kept) = self.kept.get(self.at) else {
            return Ok(None);
        };
        self.at += 1;
        match kept {
            Kept::Memory(chunk) => Ok(Some(chunk.clone())),
            Kept::File(_) => {
                let file = self.file.as_mut();
                let read = file.map(SpoolFile::read).transpose();
                let read = read.map_err(StorageError::Spool)?;
                Ok(read.map(Chunk::counted_with_part))
            }
        }
    }

    /// Forgets what was taken.
    fn let_go(&mut self) {
        self.kept.drain(..self.at);
        self.at = 0;
        if self.kept.is_empty() {
            self.file = None;
        }
    }

    /// Takes the next bytes from the client, which may be silent until a time.
    async fn receive(&mut self, until: Option<Instant>) -> Result<(), StorageError> {
        let silent = Instant::now() + SILENCE_MAX;
        let until = until.map_or(silent, |until| until.min(silent));
        let next = timeout_at(until, self.incoming.next()).await;
        let next = next.map_err(|_elapsed| IncomingError::TimedOut)?;
        let Some(bytes) = next.transpose()? else {
            self.end()?;
            return Ok(());
        };
        self.received += bytes.len() as u64;
        if self.received > self.declared {
            return Err(IncomingError::Incomplete.into());
        }
        self.md5.update(&bytes);
        self.sha256.update(&bytes);
        self.check.update(&bytes);
        self.ahead += bytes.len();
        self.keep(bytes)
    }

    fn end(&mut self) -> Result<(), IncomingError> {
        if self.received != self.declared {
            return Err(IncomingError::Incomplete);
        }
        self.check.finish()?;
        let sha256 = self.sha256.clone().finish();
        self.digests = Some(Digests {
            md5: hex(&self.md5.clone().finalize()),
            sha256: hex(sha256.as_ref()),
        });
        Ok(())
    }

    fn keep(&mut self, bytes: Bytes) -> Result<(), StorageError> {
        let units = units_of(bytes.len());
        let room = |room: &Arc<Semaphore>| Arc::clone(room).try_acquire_many_owned(units).ok();
        let kept = if self.incomplete {
            Kept::Memory(Chunk::counted_with_part(bytes))
        } else if self.file.is_none()
            && let Some(room) = room(&self.room.memory)
        {
            let memory = Some(Arc::new(room));
            Kept::Memory(Chunk { bytes, memory })
        } else if self.received <= self.room.bytes_max
            && let Some(room) = room(&self.room.files)
        {
            let file = match &mut self.file {
                Some(file) => file,
                none => none.insert(SpoolFile::create(&self.room.directory)?),
            };
            file.append(&bytes, room)?;
            Kept::File(bytes.len())
        } else {
            self.incomplete = true;
            self.let_go();
            Kept::Memory(Chunk::counted_with_part(bytes))
        };
        self.kept.push_back(kept);
        Ok(())
    }
}
