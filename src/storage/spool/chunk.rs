//! Pieces of a body, and the room that they take.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

/// Bytes that are to be sent at once, and the room that they take.
pub(in crate::storage) struct Part {
    pub(in crate::storage) bytes: Vec<Bytes>,
    pub(super) _room: Option<OwnedSemaphorePermit>,
    pub(super) _memory: Vec<Arc<OwnedSemaphorePermit>>,
}

/// Bytes in memory, and the room that they take there; none if they are counted with the part.
#[derive(Clone)]
pub(super) struct Chunk {
    pub(super) bytes: Bytes,
    pub(super) memory: Option<Arc<OwnedSemaphorePermit>>,
}

/// A chunk of a body.
pub(super) enum Kept {
    /// If it has no room of its own, only until it is taken.
    Memory(Chunk),
    /// The next record of the file, of so many bytes.
    File(usize),
}

impl Chunk {
    pub(super) fn counted_with_part(bytes: Bytes) -> Self {
        Self {
            bytes,
            memory: None,
        }
    }
}

impl Kept {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Memory(chunk) => chunk.bytes.len(),
            Self::File(len) => *len,
        }
    }
}
