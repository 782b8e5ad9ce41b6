//! A client's body on its way to a bucket, kept until some bucket has it: in memory as far as there is
//! room for all requests, past that in an encrypted file that has no name.
//!
//! Bytes are taken from the client only as fast as a bucket takes them.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use md5::{Digest, Md5};
use ring::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use ring::digest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::error::IncomingError;
use super::seal::{aes, random};
use super::{StorageError, StorageSettings};

/// A body may be silent for so long.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Largest upload, as S3 has it.
pub(super) const BODY_BYTES_MAX: u64 = 5 << 30;
/// What is taken of a body that was refused.
const DRAIN_BYTES_MAX: usize = 64 << 20;
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// The unit in which room is counted.
const UNIT: usize = 1 << 10;
const TAG_BYTES: usize = 16;

/// The room for bodies, of all requests together.
pub(super) struct SpoolRoom {
    memory: Arc<Semaphore>,
    files: Arc<Semaphore>,
    bytes_max: u64,
    directory: std::path::PathBuf,
}

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
    kept: Vec<Kept>,
    permits: Vec<OwnedSemaphorePermit>,
    file: Option<SpoolFile>,
    /// Which of the kept chunks is next.
    at: usize,
    /// What is left of a chunk that was larger than what was asked for.
    rest: Option<Bytes>,
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

enum Kept {
    Memory(Bytes),
    /// The next record of the file.
    File,
}

impl SpoolRoom {
    pub(super) fn new(settings: &StorageSettings) -> Self {
        let units =
            |bytes: usize| Arc::new(Semaphore::new((bytes / UNIT).min(Semaphore::MAX_PERMITS)));
        Self {
            memory: units(settings.spool_memory_max),
            files: units(settings.spool_total_max),
            bytes_max: settings.spool_bytes_max as u64,
            directory: match settings.spool_dir.as_str() {
                "" => std::env::temp_dir(),
                directory => directory.into(),
            },
        }
    }
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
            incoming,
            declared,
            received: 0,
            check,
            md5: Md5::new(),
            sha256: digest::Context::new(&digest::SHA256),
            digests: None,
            failed: None,
            kept: Vec::new(),
            permits: Vec::new(),
            file: None,
            at: 0,
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
        self.at = 0;
        self.rest = None;
        if let Some(file) = &mut self.file {
            file.read_record = 0;
            file.read_at = 0;
        }
        !self.incomplete
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
    pub(super) async fn take(&mut self, most: usize) -> Result<Vec<Bytes>, StorageError> {
        let mut taken = Vec::new();
        let mut left = most;
        while left > 0 {
            let Some(mut chunk) = self.next().await? else {
                break;
            };
            if chunk.len() > left {
                self.rest = Some(chunk.split_off(left));
            }
            left -= chunk.len();
            taken.push(chunk);
        }
        Ok(taken)
    }

    async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        if let Some(rest) = self.rest.take() {
            return Ok(Some(rest));
        }
        if let Some(kept) = self.kept.get(self.at) {
            self.at += 1;
            return match kept {
                Kept::Memory(bytes) => Ok(Some(bytes.clone())),
                Kept::File => {
                    let file = self.file.as_mut();
                    let read = file.map(SpoolFile::read).transpose();
                    read.map_err(StorageError::Spool)
                }
            };
        }
        if self.digests.is_some() {
            return Ok(None);
        }
        if let Some(failed) = self.failed {
            return Err(failed.into());
        }
        let received = self.receive().await;
        if let Err(StorageError::Body(error)) = &received {
            self.failed = Some(*error);
        }
        received
    }

    async fn receive(&mut self) -> Result<Option<Bytes>, StorageError> {
        let next = timeout(SILENCE_MAX, self.incoming.next()).await;
        let next = next.map_err(|_elapsed| IncomingError::TimedOut)?;
        let Some(bytes) = next.transpose()? else {
            self.end()?;
            return Ok(None);
        };
        self.received += bytes.len() as u64;
        if self.received > self.declared {
            return Err(IncomingError::Incomplete.into());
        }
        self.md5.update(&bytes);
        self.sha256.update(&bytes);
        self.check.update(&bytes);
        self.keep(&bytes)?;
        Ok(Some(bytes))
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

    fn keep(&mut self, bytes: &Bytes) -> Result<(), StorageError> {
        if self.incomplete {
            return Ok(());
        }
        let units = u32::try_from(bytes.len().div_ceil(UNIT)).unwrap_or(u32::MAX);
        let room = |room: &Arc<Semaphore>| Arc::clone(room).try_acquire_many_owned(units).ok();
        if self.file.is_none()
            && let Some(permit) = room(&self.room.memory)
        {
            self.permits.push(permit);
            self.kept.push(Kept::Memory(bytes.clone()));
        } else if self.received <= self.room.bytes_max
            && let Some(permit) = room(&self.room.files)
        {
            self.permits.push(permit);
            let file = match &mut self.file {
                Some(file) => file,
                none => none.insert(SpoolFile::create(&self.room.directory)?),
            };
            file.append(bytes)?;
            self.kept.push(Kept::File);
        } else {
            self.incomplete = true;
            self.kept.clear();
            self.permits.clear();
            self.file = None;
            self.at = 0;
            return Ok(());
        }
        self.at = self.kept.len();
        Ok(())
    }
}

/// A file without a name, of encrypted records: nothing is left when the process dies.
///
/// Writes and reads go through the page cache, a chunk at a time.
struct SpoolFile {
    file: std::fs::File,
    key: LessSafeKey,
    lengths: Vec<usize>,
    end: u64,
    read_record: usize,
    read_at: u64,
}

impl SpoolFile {
    fn create(directory: &std::path::Path) -> Result<Self, StorageError> {
        let name: [u8; 8] = random()?;
        let path = directory.join(format!("tidegate-{}", hex(&name)));
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true).create_new(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(StorageError::Spool)?;
        std::fs::remove_file(&path).map_err(StorageError::Spool)?;
        Ok(Self {
            file,
            key: aes(&random::<32>()?)?,
            lengths: Vec::new(),
            end: 0,
            read_record: 0,
            read_at: 0,
        })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        let mut record = bytes.to_vec();
        let sealed =
            self.key
                .seal_in_place_append_tag(nonce(self.lengths.len()), Aad::empty(), &mut record);
        let failed = |_unspecified| StorageError::Spool(io::Error::other("encryption failed"));
        sealed.map_err(failed)?;
        let written = self.file.seek(SeekFrom::Start(self.end));
        let written = written.and_then(|_| self.file.write_all(&record));
        written.map_err(StorageError::Spool)?;
        self.lengths.push(record.len());
        self.end += record.len() as u64;
        Ok(())
    }

    fn read(&mut self) -> io::Result<Bytes> {
        let past = || io::Error::other("a read past the end");
        let length = *self.lengths.get(self.read_record).ok_or_else(past)?;
        let mut record = vec![0; length];
        self.file.seek(SeekFrom::Start(self.read_at))?;
        self.file.read_exact(&mut record)?;
        let opened = self
            .key
            .open_in_place(nonce(self.read_record), Aad::empty(), &mut record);
        opened.map_err(|_unspecified| io::Error::other("a record is damaged"))?;
        record.truncate(length - TAG_BYTES);
        self.read_record += 1;
        self.read_at += length as u64;
        Ok(record.into())
    }
}

/// The number of a record; the key belongs to one file.
fn nonce(record: usize) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[..8].copy_from_slice(&(record as u64).to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Anything;

    impl Check for Anything {
        fn update(&mut self, _: &[u8]) {}

        fn finish(&mut self) -> Result<(), IncomingError> {
            Ok(())
        }
    }

    fn spool(memory: usize, bytes_max: usize, declared: u64, chunks: &[&'static str]) -> Spool {
        let settings = StorageSettings {
            spool_memory_max: memory,
            spool_bytes_max: bytes_max,
            ..StorageSettings::default()
        };
        let chunks: Vec<_> = chunks
            .iter()
            .map(|it| Ok(Bytes::from_static(it.as_bytes())))
            .collect();
        let incoming = futures_util::stream::iter(chunks).boxed();
        let room = Arc::new(SpoolRoom::new(&settings));
        Spool::new(room, incoming, declared, Box::new(Anything)).unwrap()
    }

    async fn all(spool: &mut Spool, most: usize) -> Result<String, StorageError> {
        let mut text = String::new();
        loop {
            let taken = spool.take(most).await?;
            if taken.is_empty() {
                return Ok(text);
            }
            for chunk in taken {
                text.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        }
    }

    #[tokio::test]
    async fn a_body_begins_again_as_often_as_needed_from_memory_and_from_the_file() {
        for memory in [1 << 20, 2 << 10, 0] {
            let mut spool = spool(memory, 1 << 20, 9, &["abc", "defg", "hi"]);
            for most in [1, 2, 100] {
                assert_eq!(all(&mut spool, most).await.unwrap(), "abcdefghi");
                assert!(spool.rewind());
            }
            let digests = spool.digests().unwrap();
            assert_eq!(digests.md5, "8aa99b1f439ff71293e95357bac6fd94");
        }
    }

    #[tokio::test]
    async fn a_body_that_was_begun_goes_on_after_its_kept_part() {
        let mut spool = spool(1 << 20, 1 << 20, 7, &["abc", "defg"]);
        assert_eq!(spool.take(2).await.unwrap().concat(), b"ab");
        assert!(spool.rewind());
        assert_eq!(all(&mut spool, 3).await.unwrap(), "abcdefg");
    }

    #[tokio::test]
    async fn past_the_limit_nothing_is_kept_and_the_body_cannot_begin_again() {
        let mut spool = spool(0, 4, 7, &["abc", "defg"]);
        assert_eq!(all(&mut spool, 100).await.unwrap(), "abcdefg");
        assert!(!spool.rewind());
        assert_eq!(spool.room.files.available_permits(), (4 << 30) / UNIT);
    }

    #[tokio::test]
    async fn a_body_of_another_length_is_refused() {
        for declared in [6, 8] {
            let mut spool = spool(1 << 20, 1 << 20, declared, &["abc", "defg"]);
            let refused = all(&mut spool, 100).await;
            assert!(matches!(
                refused,
                Err(StorageError::Body(IncomingError::Incomplete))
            ));
            assert!(spool.digests().is_none());
        }
    }

    struct WrongOnce(bool);

    impl Check for WrongOnce {
        fn update(&mut self, _: &[u8]) {}

        fn finish(&mut self) -> Result<(), IncomingError> {
            match std::mem::replace(&mut self.0, true) {
                true => Ok(()),
                false => Err(IncomingError::BadDigest),
            }
        }
    }

    #[tokio::test]
    async fn a_body_with_a_wrong_digest_stays_refused_when_it_begins_again() {
        let mut spool = spool(1 << 20, 1 << 20, 3, &["abc"]);
        spool.check = Box::new(WrongOnce(false));
        for _ in 0..2 {
            let refused = all(&mut spool, 100).await;
            assert!(matches!(
                refused,
                Err(StorageError::Body(IncomingError::BadDigest))
            ));
            spool.rewind();
        }
        assert!(spool.digests().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_nothing_is_not_waited_for() {
        let mut silent = spool(1 << 20, 1 << 20, 7, &[]);
        silent.incoming = futures_util::stream::pending().boxed();
        let refused = silent.take(1).await;
        assert!(matches!(
            refused,
            Err(StorageError::Body(IncomingError::TimedOut))
        ));
    }
}
