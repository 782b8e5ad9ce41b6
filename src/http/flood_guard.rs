//! Floods of an HTTP/2 connection that the library does not count: streams that are reset, in either
//! direction, and field blocks without end.
//!
//! Deliberately absent: what h2 bounds itself. It counts resets of streams that no request was made of
//! yet, empty and small DATA frames, and CONTINUATION frames; it holds at most one unanswered PING and
//! SETTINGS and reads no further until the answer is written; it ignores PRIORITY.

use std::collections::VecDeque;

use tokio::time::{Duration, Instant};

use super::frames::{CONTINUATION, Frames, HEADERS, PREFACE_LENGTH, RST_STREAM};

/// Streams that may be reset on a connection in [`RESETS_INTERVAL`], by either side. A browser that
/// leaves a page resets the streams that it has open; opening and resetting is otherwise a way to
/// cause work that is never paid for (CVE-2023-44487, CVE-2025-8671).
const RESETS_MAX: usize = 1_000;
const RESETS_INTERVAL: Duration = Duration::from_secs(10);

/// GOAWAY on stream 0, whose payload is two 32-bit numbers (RFC 9113 section 6.8).
const GOAWAY_HEAD: [u8; 9] = [0, 0, 8, 7, 0, 0, 0, 0, 0];
const ENHANCE_YOUR_CALM: u32 = 11;

/// Watches the frames of one connection in both directions.
#[derive(Debug)]
pub(super) struct FloodGuard {
    incoming: Frames,
    outgoing: Frames,
    resets: VecDeque<Instant>,
    /// Bytes of the field block that is not over.
    block_bytes: usize,
    block_bytes_max: usize,
    stream_max: u32,
    is_flooded: bool,
}

impl FloodGuard {
    /// Watches a connection whose field blocks have at most so many bytes.
    pub(super) fn new(block_bytes_max: usize) -> Self {
        Self {
            incoming: Frames::after(PREFACE_LENGTH),
            outgoing: Frames::after(0),
            resets: VecDeque::new(),
            block_bytes: 0,
            block_bytes_max,
            stream_max: 0,
            is_flooded: false,
        }
    }

    /// Whether the connection should end.
    pub(super) fn is_flooded(&self) -> bool {
        self.is_flooded
    }

    /// Notes bytes of the client.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while let Some((head, rest)) = self.incoming.next(bytes) {
            bytes = rest;
            match head.kind {
                RST_STREAM => self.note_reset(Instant::now()),
                HEADERS | CONTINUATION => {
                    self.stream_max = self.stream_max.max(head.stream);
                    self.block_bytes += head.length;
                    let is_late = head.kind == CONTINUATION;
                    self.is_flooded |= is_late && self.block_bytes > self.block_bytes_max;
                    if head.ends_headers() {
                        self.block_bytes = 0;
                    }
                }
                _ => {}
            }
        }
    }

    /// Notes bytes that were written to the client.
    pub(super) fn wrote(&mut self, mut bytes: &[u8]) {
        while let Some((head, rest)) = self.outgoing.next(bytes) {
            bytes = rest;
            if head.kind == RST_STREAM {
                self.note_reset(Instant::now());
            }
        }
    }

    fn note_reset(&mut self, now: Instant) {
        self.resets.push_back(now);
        while self
            .resets
            .front()
            .is_some_and(|at| now - *at > RESETS_INTERVAL)
        {
            self.resets.pop_front();
        }
        self.is_flooded |= self.resets.len() > RESETS_MAX;
    }

    /// The frame that ends the connection; none in the middle of another one.
    pub(super) fn goodbye(&self) -> Option<[u8; 17]> {
        let mut frame = [0; 17];
        let (head, payload) = frame.split_at_mut(GOAWAY_HEAD.len());
        head.copy_from_slice(&GOAWAY_HEAD);
        payload[..4].copy_from_slice(&self.stream_max.to_be_bytes());
        payload[4..].copy_from_slice(&ENHANCE_YOUR_CALM.to_be_bytes());
        self.outgoing.is_between().then_some(frame)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const RESET: [u8; 13] = [0, 0, 4, RST_STREAM, 0, 0, 0, 0, 1, 0, 0, 0, 8];

    fn after_preface() -> FloodGuard {
        let mut guard = FloodGuard::new(1000);
        guard.read(&[0; PREFACE_LENGTH]);
        guard
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_resets_in_ten_seconds_are_allowed_and_one_more_is_not() {
        let mut guard = after_preface();
        for count in 0..3 * RESETS_MAX {
            if count.is_multiple_of(RESETS_MAX) {
                advance(RESETS_INTERVAL + Duration::from_millis(1)).await;
            }
            guard.read(&RESET);
            assert!(!guard.is_flooded(), "{count}");
        }
        guard.read(&RESET);
        assert!(guard.is_flooded());
    }

    #[tokio::test(start_paused = true)]
    async fn resets_of_both_sides_count_together() {
        let mut guard = after_preface();
        for _ in 0..RESETS_MAX / 2 {
            guard.read(&RESET);
            guard.wrote(&RESET);
        }
        assert!(!guard.is_flooded());
        guard.wrote(&RESET);
        assert!(guard.is_flooded());
    }

    #[test]
    fn a_field_block_may_have_many_frames_but_not_too_many_bytes() {
        let frame = |kind, flags, length: u8| {
            let head = [0, 0, length, kind, flags, 0, 0, 0, 5];
            [&head[..], &vec![0; usize::from(length)]].concat()
        };
        let mut guard = after_preface();
        for _ in 0..100 {
            guard.read(&frame(HEADERS, 0, 200));
            for _ in 0..3 {
                guard.read(&frame(CONTINUATION, 0, 200));
            }
            guard.read(&frame(CONTINUATION, 4, 200));
        }
        assert!(!guard.is_flooded());
        guard.read(&frame(HEADERS, 0, 200));
        for _ in 0..5 {
            assert!(!guard.is_flooded());
            guard.read(&frame(CONTINUATION, 0, 200));
        }
        assert!(guard.is_flooded());
        let goodbye = guard.goodbye().unwrap();
        assert_eq!(goodbye, *b"\0\0\x08\x07\0\0\0\0\0\0\0\0\x05\0\0\0\x0b");
        guard.wrote(&[0; 3]);
        assert_eq!(guard.goodbye(), None, "in the middle of a frame");
    }
}
