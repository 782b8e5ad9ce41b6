//! An encrypted file without a name.

use std::io::{self, Read, Seek, SeekFrom, Write};

use bytes::Bytes;
use ring::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use tokio::sync::OwnedSemaphorePermit;

use crate::storage::StorageError;
use crate::storage::hex::hex;
use crate::storage::seal::{aes, random};

const TAG_BYTES: usize = 16;

/// A file without a name, of encrypted records: nothing is left when the process dies.
///
/// Writes and reads go through the page cache, a chunk at a time.
pub(super) struct SpoolFile {
    file: std::fs::File,
    key: LessSafeKey,
    lengths: Vec<usize>,
    end: u64,
    read_record: usize,
    read_at: u64,
    /// The room that it takes: free when the file is gone.
    room: Option<OwnedSemaphorePermit>,
}

impl SpoolFile {
    /// Makes a file and removes its name.
    pub(super) fn create(directory: &std::path::Path) -> Result<Self, StorageError> {
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
            room: None,
        })
    }

    /// Adds a record, for which there is room.
    pub(super) fn append(
        &mut self,
        bytes: &[u8],
        room: OwnedSemaphorePermit,
    ) -> Result<(), StorageError> {
        match &mut self.room {
            Some(all) => all.merge(room),
            none => *none = Some(room),
        }
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

    /// Begins to read at the first record again.
    pub(super) fn rewind(&mut self) {
        self.read_record = 0;
        self.read_at = 0;
    }

    /// Reads the next record.
    pub(super) fn read(&mut self) -> io::Result<Bytes> {
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
