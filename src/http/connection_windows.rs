//! How much of an HTTP/2 connection's flow-control windows is taken, read from the frames that pass.
//!
//! hyper keeps the windows to itself. What it announces and what is sent is on the wire, however, and
//! both directions can be counted from there (RFC 9113 section 5.2): a window shrinks by every DATA
//! frame and grows by every `WINDOW_UPDATE` of stream 0.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::frames::{DATA, Frames, WINDOW_UPDATE};

/// Bytes of a `WINDOW_UPDATE` frame after its head.
const INCREMENT_LENGTH: usize = 4;

/// The windows of one connection; written by its socket, read by whatever chooses a connection.
#[derive(Clone, Debug, Default)]
pub struct ConnectionWindows(Arc<[Window; 2]>);

/// What may still be sent in one direction, counted from the window's unknown first size.
#[derive(Debug, Default)]
struct Window {
    left: AtomicI64,
    /// The most that was ever left: all of the window.
    whole: AtomicI64,
}

/// The direction in which frames pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To this gateway.
    In,
    /// To the peer.
    Out,
}

/// Reads the frames of one direction.
#[derive(Debug)]
pub struct FrameMeter {
    direction: Direction,
    frames: Frames,
    increment: [u8; INCREMENT_LENGTH],
    /// Bytes of the increment that have not come yet.
    missing: usize,
}

impl ConnectionWindows {
    /// Whether more than half of the window of either direction is taken. `whole` is the size that
    /// windows have once both sides have announced them.
    #[must_use]
    pub fn are_half_taken(&self, whole: u32) -> bool {
        let half = i64::from(whole / 2);
        self.0.iter().any(|window| {
            let left = window.left.load(Ordering::Relaxed);
            window.whole.load(Ordering::Relaxed) - left > half
        })
    }

    fn of_data(&self, direction: Direction) -> &Window {
        &self.0[direction as usize]
    }

    /// An announcement concerns what comes from the other side.
    fn of_update(&self, direction: Direction) -> &Window {
        match direction {
            Direction::In => self.of_data(Direction::Out),
            Direction::Out => self.of_data(Direction::In),
        }
    }
}

impl Window {
    fn shrink(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.left.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn grow(&self, bytes: u32) {
        let before = self.left.fetch_add(bytes.into(), Ordering::Relaxed);
        let left = before + i64::from(bytes);
        self.whole.fetch_max(left, Ordering::Relaxed);
    }
}

impl FrameMeter {
    /// Begins at a connection's first byte; `preface` bytes come before the first frame.
    #[must_use]
    pub fn new(direction: Direction, preface: usize) -> Self {
        Self {
            direction,
            frames: Frames::after(preface),
            increment: [0; INCREMENT_LENGTH],
            missing: 0,
        }
    }

    /// Takes in the next bytes.
    pub fn pass(&mut self, windows: &ConnectionWindows, mut bytes: &[u8]) {
        self.take_increment(windows, bytes);
        while let Some((head, rest)) = self.frames.next(bytes) {
            bytes = rest;
            match (head.kind, head.stream) {
                // Padding counts, too.
                (DATA, _) => windows.of_data(self.direction).shrink(head.length),
                (WINDOW_UPDATE, 0) if head.length == INCREMENT_LENGTH => {
                    self.missing = INCREMENT_LENGTH;
                    self.take_increment(windows, bytes);
                }
                _ => {}
            }
        }
    }

    fn take_increment(&mut self, windows: &ConnectionWindows, bytes: &[u8]) {
        if self.missing == 0 {
            return;
        }
        let taken = self.missing.min(bytes.len());
        let start = INCREMENT_LENGTH - self.missing;
        self.increment[start..][..taken].copy_from_slice(&bytes[..taken]);
        self.missing -= taken;
        if self.missing == 0 {
            // The highest bit is reserved.
            let increment = u32::from_be_bytes(self.increment) & 0x7fff_ffff;
            windows.of_update(self.direction).grow(increment);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: u32 = 1_000;

    fn update(increment: u32) -> Vec<u8> {
        let head = [0, 0, 4, WINDOW_UPDATE, 0, 0, 0, 0, 0];
        [&head[..], &increment.to_be_bytes()].concat()
    }

    fn data(length: u8) -> Vec<u8> {
        let head = [0, 0, length, DATA, 0, 0, 0, 0, 1];
        [&head[..], &vec![7; length.into()]].concat()
    }

    /// Passes what is sent in a direction in pieces of every size; returns whether windows are half taken.
    fn half_taken(parts: &[(Direction, Vec<u8>)]) -> bool {
        let taken: Vec<_> = (1..40)
            .map(|size| {
                let windows = ConnectionWindows::default();
                let mut meters = [Direction::In, Direction::Out].map(|it| FrameMeter::new(it, 0));
                for (direction, bytes) in parts {
                    for piece in bytes.chunks(size) {
                        meters[*direction as usize].pass(&windows, piece);
                    }
                }
                windows.are_half_taken(WHOLE)
            })
            .collect();
        assert!(taken.iter().all(|it| *it == taken[0]), "{taken:?}");
        taken[0]
    }

    #[test]
    fn a_window_is_taken_by_data_and_given_back_by_the_other_side() {
        use Direction::{In, Out};
        let full = |direction| (direction, data(251));
        for (data, updates) in [(In, Out), (Out, In)] {
            let mut parts = vec![(updates, update(WHOLE)), full(data)];
            assert!(!half_taken(&parts));
            parts.push(full(data));
            assert!(half_taken(&parts), "502 bytes of 1,000");
            parts.push((data, update(400)));
            assert!(half_taken(&parts), "that is the other window");
            parts.push((updates, update(3)));
            assert!(!half_taken(&parts));
        }
    }

    #[test]
    fn the_preface_and_updates_of_streams_count_for_nothing() {
        let windows = ConnectionWindows::default();
        let mut out = FrameMeter::new(Direction::Out, 24);
        out.pass(&windows, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        out.pass(
            &windows,
            &[0, 0, 4, WINDOW_UPDATE, 0, 0, 0, 0, 5, 1, 1, 1, 1],
        );
        out.pass(&windows, &update(WHOLE));
        assert_eq!(windows.0[0].whole.load(Ordering::Relaxed), 1_000);
    }
}
