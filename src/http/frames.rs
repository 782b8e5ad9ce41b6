//! The heads of HTTP/2 frames (RFC 9113 section 4.1) in a stream of bytes that passes.

/// Bytes that the side that has dialled sends before its first frame.
pub const PREFACE_LENGTH: usize = 24;

/// Bytes of a frame's head.
const HEAD_LENGTH: usize = 9;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

const END_HEADERS: u8 = 4;

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHead {
    /// Bytes that follow the head.
    pub(super) length: usize,
    pub(super) kind: u8,
    flags: u8,
    pub(super) stream: u32,
}

impl FrameHead {
    fn of(bytes: [u8; HEAD_LENGTH]) -> Self {
        let [l2, l1, l0, kind, flags, s3, s2, s1, s0] = bytes;
        Self {
            length: u32::from_be_bytes([0, l2, l1, l0]) as usize,
            kind,
            flags,
            // The highest bit is reserved.
            stream: u32::from_be_bytes([s3 & 0x7f, s2, s1, s0]),
        }
    }

    /// Whether a field block ends with this frame.
    pub(super) fn ends_headers(self) -> bool {
        self.flags & END_HEADERS != 0
    }
}

/// Finds the frames in one direction of a connection, however it is cut into pieces.
#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes to pass over before the next head.
    skip: usize,
    head: [u8; HEAD_LENGTH],
    head_length: usize,
}

impl Frames {
    /// Starts at the first head, which follows `skip` other bytes.
    pub(super) fn after(skip: usize) -> Self {
        Self {
            skip,
            head: [0; HEAD_LENGTH],
            head_length: 0,
        }
    }

    /// Whether the bytes so far end with the end of a frame.
    pub(super) fn is_between(&self) -> bool {
        self.skip == 0 && self.head_length == 0
    }

    /// Takes the next bytes up to the end of a head; returns that head and the bytes after it.
    pub(super) fn next<'a>(&mut self, bytes: &'a [u8]) -> Option<(FrameHead, &'a [u8])> {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        let bytes = &bytes[skipped..];
        let taken = (HEAD_LENGTH - self.head_length).min(bytes.len());
        let (part, rest) = bytes.split_at(taken);
        self.head[self.head_length..][..taken].copy_from_slice(part);
        self.head_length += taken;
        if self.head_length < HEAD_LENGTH {
            return None;
        }
        let head = FrameHead::of(self.head);
        (self.head_length, self.skip) = (0, head.length);
        Some((head, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads(frames: &mut Frames, mut bytes: &[u8]) -> Vec<(u8, u32, usize)> {
        let mut heads = Vec::new();
        while let Some((head, rest)) = frames.next(bytes) {
            heads.push((head.kind, head.stream, head.length));
            bytes = rest;
        }
        heads
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let bytes =
            b"abc\0\0\x04\x08\0\x80\0\0\x07....\0\0\0\x04\x01\0\0\0\0\0\x01\0\0\x01\0\0\0\x01";
        let whole = heads(&mut Frames::after(3), bytes);
        assert_eq!(whole, [(8, 7, 4), (4, 0, 0), (0, 1, 256)]);
        for size in 1..bytes.len() {
            let mut frames = Frames::after(3);
            let cut = bytes
                .chunks(size)
                .flat_map(|piece| heads(&mut frames, piece));
            assert_eq!(cut.collect::<Vec<_>>(), whole, "{size}");
            assert!(!frames.is_between(), "256 bytes are missing");
        }
    }

    #[test]
    fn a_frame_without_its_last_byte_is_not_over() {
        let mut frames = Frames::after(0);
        assert!(frames.is_between());
        for (piece, is_between) in [
            (&b"\0\0\x02\0\0"[..], false),
            (b"\0\0\0\x01.", false),
            (b".", true),
        ] {
            heads(&mut frames, piece);
            assert_eq!(frames.is_between(), is_between, "{piece:?}");
        }
    }
}
