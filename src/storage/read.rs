//! A read: the bytes of a version, from whichever copies answer.
//!
//! The first byte is hedged; a bucket that fails in the middle is continued at the next one. Bytes of a
//! whole blob are hashed on the way, and its last chunk is withheld if they are not those that were
//! stored.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use ring::digest::{Context, SHA256};
use tokio::time::Instant;

use super::StorageError;
use super::attempt::{BYTES_PER_SECOND_MIN, Download, within_stream};
use super::fault::{Fault, FaultKind};
use super::hex::hex;
use super::index::{Blob, Version};
use super::source::{CopyAt, Source};

/// How long a bucket's pace is measured.
const PACE_WINDOW: Duration = Duration::from_secs(4);

/// A read on its way.
pub(super) struct Reading {
    source: Source,
    pieces: VecDeque<Piece>,
    current: Option<Current>,
    /// What has arrived and was not handed on yet.
    ready: Option<Bytes>,
}

/// Bytes of one blob that are wanted.
struct Piece {
    blob: Blob,
    range: Range<u64>,
}

impl Piece {
    fn is_whole(&self) -> bool {
        self.range == (0..self.blob.size)
    }

    /// Whether its bytes can be compared with those that were stored.
    fn is_compared(&self) -> bool {
        self.is_whole() && !self.blob.sha256.is_empty()
    }
}

struct Current {
    piece: Piece,
    copies: VecDeque<CopyAt>,
    from: CopyAt,
    download: Download,
    at: u64,
    /// Absent where only a part is read, which cannot be compared.
    hash: Option<Context>,
    /// Whether all bytes so far came from one copy.
    one_copy: bool,
    waited: Duration,
    arrived: u64,
}

impl Reading {
    /// Opens a part of a version: the first bytes have arrived when it returns.
    pub(super) async fn open(
        source: Source,
        version: &Version,
        range: Range<u64>,
    ) -> Result<Self, StorageError> {
        let mut reading = Self {
            pieces: pieces(version, range),
            source,
            current: None,
            ready: None,
        };
        reading.ready = reading.next().await.map_err(failed)?;
        Ok(reading)
    }

    /// All bytes, as they arrive.
    pub(super) fn into_stream(self) -> BoxStream<'static, Result<Bytes, Fault>> {
        let step = |mut reading: Self| async move {
            if let Some(ready) = reading.ready.take() {
                return Some((Ok(ready), reading));
            }
            match reading.next().await {
                Ok(Some(bytes)) => Some((Ok(bytes), reading)),
                Ok(None) => None,
                Err(fault) => {
                    tracing::error!(%fault, "a body is cut off: no copy can continue it");
                    Some((Err(fault), reading))
                }
            }
        };
        stream::unfold(self, step).boxed()
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            if self.current.is_none() {
                let Some(piece) = self.pieces.pop_front() else {
                    return Ok(None);
                };
                let mut copies = self.source.order(&piece.blob);
                if piece.is_compared() {
                    copies.extend(self.source.suspects(&piece.blob));
                }
                let bytes = self.begin(piece, copies).await?;
                if let Some(bytes) = self.accept(bytes).await? {
                    return Ok(Some(bytes));
                }
                continue;
            }
            let bytes = self.arriving().await?;
            if let Some(bytes) = self.accept(bytes).await? {
                return Ok(Some(bytes));
            }
        }
    }

    /// Opens a piece at its beginning.
    async fn begin(&mut self, piece: Piece, copies: VecDeque<CopyAt>) -> Result<Bytes, Fault> {
        let opened = self.source.first_of(copies, &piece.range).await?;
        self.current = Some(Current {
            at: piece.range.start,
            hash: piece.is_compared().then(|| Context::new(&SHA256)),
            piece,
            copies: opened.left,
            from: opened.from,
            download: opened.download,
            one_copy: true,
            waited: Duration::ZERO,
            arrived: 0,
        });
        Ok(opened.first)
    }

    /// Waits for the next bytes of the current piece, from the next copy if one fails.
    async fn arriving(&mut self) -> Result<Bytes, Fault> {
        let Some(current) = &mut self.current else {
            return Ok(Bytes::new());
        };
        let fault = match current.next().await {
            Ok(bytes) => return Ok(bytes),
            Err(fault) => fault,
        };
        self.source.failed(current.from.bucket, &fault);
        if fault.kind == FaultKind::Damaged {
            self.source.distrust(&current.from);
        }
        let rest = current.at..current.piece.range.end;
        let copies = std::mem::take(&mut current.copies);
        if copies.is_empty() {
            return Err(fault);
        }
        let opened = self.source.first_of(copies, &rest).await?;
        current.copies = opened.left;
        current.from = opened.from;
        current.download = opened.download;
        current.one_copy = false;
        (current.waited, current.arrived) = (Duration::ZERO, 0);
        Ok(opened.first)
    }

    /// Takes bytes of the current piece; returns none if they turned out to be wrong and it begins anew.
    async fn accept(&mut self, bytes: Bytes) -> Result<Option<Bytes>, Fault> {
        let Some(current) = &mut self.current else {
            return Ok(Some(bytes));
        };
        self.source.received(current.from.bucket, bytes.len());
        let before = current.at;
        current.at += bytes.len() as u64;
        if let Some(hash) = &mut current.hash {
            hash.update(&bytes);
        }
        if current.at < current.piece.range.end {
            return Ok((!bytes.is_empty()).then_some(bytes));
        }
        let is_right = current.at == current.piece.range.end && current.is_right();
        let Some(current) = self.current.take() else {
            return Ok(Some(bytes));
        };
        if is_right {
            return Ok(Some(bytes));
        }
        let fault = Fault {
            kind: FaultKind::Damaged,
            detail: "the bytes are not those that were stored".to_owned(),
        };
        self.source.failed(current.from.bucket, &fault);
        if current.one_copy {
            self.source.distrust(&current.from);
        }
        if before > current.piece.range.start || current.copies.is_empty() {
            return Err(fault);
        }
        let bytes = self.begin(current.piece, current.copies).await?;
        Box::pin(self.accept(bytes)).await
    }
}

impl Current {
    async fn next(&mut self) -> Result<Bytes, Fault> {
        let started = Instant::now();
        let bytes = within_stream(&mut self.download).await?;
        let bytes = bytes.ok_or_else(Fault::ended_early)?;
        if self.at + bytes.len() as u64 > self.piece.range.end {
            // Not taken: another copy can go on from here.
            return Err(Fault::other_size());
        }
        self.waited += started.elapsed();
        self.arrived += bytes.len() as u64;
        if self.waited >= PACE_WINDOW {
            let least = BYTES_PER_SECOND_MIN * self.waited.as_secs();
            if self.arrived < least && !self.copies.is_empty() {
                return Err(Fault {
                    kind: FaultKind::Slow,
                    detail: format!("{} bytes in {:?}", self.arrived, self.waited),
                });
            }
            (self.waited, self.arrived) = (Duration::ZERO, 0);
        }
        Ok(bytes)
    }

    fn is_right(&self) -> bool {
        let hash = self.hash.clone();
        hash.is_none_or(|hash| hex(hash.finish().as_ref()) == self.piece.blob.sha256)
    }
}

/// The parts of blobs that a range of a version consists of.
fn pieces(version: &Version, range: Range<u64>) -> VecDeque<Piece> {
    let mut begin = 0;
    let blobs = version.blobs.iter().filter_map(|blob| {
        let (start, end) = (begin, begin + blob.size);
        begin = end;
        let wanted = range.start.max(start)..range.end.min(end);
        (wanted.start < wanted.end).then(|| Piece {
            blob: blob.clone(),
            range: wanted.start - start..wanted.end - start,
        })
    });
    blobs.collect()
}

fn failed(fault: Fault) -> StorageError {
    StorageError::NoCopy(Some(fault))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::index::Meta;

    #[tokio::test]
    async fn bytes_beyond_those_that_are_wanted_are_not_taken() {
        let (first, more) = (Bytes::from_static(b"0123"), Bytes::from_static(b"456"));
        for (end, expected) in [(7, Ok(more.clone())), (6, Err(FaultKind::Damaged))] {
            let chunks = [Ok(first.clone()), Ok(more.clone())];
            let mut current = Current {
                piece: Piece {
                    blob: Blob {
                        id: String::new(),
                        size: end,
                        sha256: String::new(),
                        copies: Vec::new(),
                    },
                    range: 0..end,
                },
                copies: VecDeque::new(),
                from: CopyAt {
                    bucket: 0,
                    id: String::new(),
                    is_suspect: false,
                    bytes: end,
                    vendor: None,
                },
                download: stream::iter(chunks).boxed(),
                at: 0,
                hash: None,
                one_copy: true,
                waited: Duration::ZERO,
                arrived: 0,
            };
            assert_eq!(current.next().await.unwrap(), first);
            current.at = 4;
            let next = current.next().await.map_err(|fault| fault.kind);
            assert_eq!(next, expected, "{end}");
        }
    }

    #[test]
    fn a_range_over_several_parts_takes_the_right_bytes_of_each() {
        let blob = |id: &str, size| Blob {
            id: id.to_owned(),
            size,
            sha256: String::new(),
            copies: Vec::new(),
        };
        let version = Version {
            id: String::new(),
            size: 25,
            etag: String::new(),
            meta: Meta::default(),
            modified: 0,
            blobs: vec![blob("a", 10), blob("b", 10), blob("c", 5)],
        };
        fn named<const N: usize>(parts: [(&str, Range<u64>); N]) -> Vec<(String, Range<u64>)> {
            parts.map(|(id, range)| (id.to_owned(), range)).to_vec()
        }
        let of = |range| {
            let pieces = pieces(&version, range).into_iter();
            pieces.map(|it| (it.blob.id, it.range)).collect::<Vec<_>>()
        };
        assert_eq!(of(0..25), named([("a", 0..10), ("b", 0..10), ("c", 0..5)]));
        assert_eq!(of(9..21), named([("a", 9..10), ("b", 0..10), ("c", 0..1)]));
        assert_eq!(of(20..25), named([("c", 0..5)]));
        assert_eq!(of(3..3), named([]));
    }
}
