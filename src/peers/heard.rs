//! A socket that notes that something was read from it and how much of its HTTP/2 windows is taken, counts
//! its bytes, and can be closed from elsewhere.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use metrics::Counter;
use tidegate_telemetry::names;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use crate::http::{ConnectionWindows, Direction, FrameMeter, PREFACE_LENGTH};

/// Whether something was read since the last look, and whether the socket is to be closed.
#[derive(Clone, Debug, Default)]
pub(super) struct HeardFlag(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    heard: AtomicBool,
    /// Whether anything was ever read.
    answered: AtomicBool,
    /// Wakes what waits for that.
    answer: Notify,
    closed: AtomicBool,
    /// The task that reads and writes.
    task: AtomicWaker,
    windows: ConnectionWindows,
}

impl HeardFlag {
    /// Returns whether something was read, and forgets it.
    pub(super) fn take(&self) -> bool {
        self.0.heard.swap(false, Ordering::Relaxed)
    }

    /// Returns whether anything was ever read.
    pub(super) fn has_answered(&self) -> bool {
        self.0.answered.load(Ordering::Acquire)
    }

    /// Completes when something was read for the first time; of several that wait, one may go on waiting.
    pub(super) async fn answered(&self) {
        if !self.has_answered() {
            // One that came meanwhile is kept for it.
            self.0.answer.notified().await;
        }
    }

    fn hear(&self) {
        self.0.heard.store(true, Ordering::Relaxed);
        if !self.0.answered.swap(true, Ordering::AcqRel) {
            self.0.answer.notify_one();
        }
    }

    /// Returns the connection's windows.
    pub(super) fn windows(&self) -> ConnectionWindows {
        self.0.windows.clone()
    }

    /// Fails the connection: what waits for an answer on it learns at once that it is lost. To drop what
    /// drives HTTP/2 would let it wait.
    pub(super) fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.task.wake();
    }

    fn is_closed(&self, context: &Context<'_>) -> bool {
        self.0.task.register(context.waker());
        self.0.closed.load(Ordering::Acquire)
    }
}

/// The socket.
pub(super) struct Heard<S> {
    socket: S,
    flag: HeardFlag,
    meters: [FrameMeter; 2],
    bytes: [Counter; 2],
}

impl<S> Heard<S> {
    /// Wraps the socket of a connection that this gateway has dialled.
    pub(super) fn dialled(socket: S, flag: HeardFlag) -> Self {
        Self::new(socket, flag, [0, PREFACE_LENGTH])
    }

    /// Wraps the socket of a connection that a peer has dialled.
    pub(super) fn accepted(socket: S) -> Self {
        Self::new(socket, HeardFlag::default(), [PREFACE_LENGTH, 0])
    }

    fn new(socket: S, flag: HeardFlag, prefaces: [usize; 2]) -> Self {
        let [read, written] = prefaces;
        let count = |direction| metrics::counter!(names::FLEET_BYTES, "direction" => direction);
        Self {
            socket,
            flag,
            meters: [
                FrameMeter::new(Direction::In, read),
                FrameMeter::new(Direction::Out, written),
            ],
            bytes: DIRECTIONS.map(count),
        }
    }

    fn passed(&mut self, direction: Direction, bytes: &[u8]) {
        let at = direction as usize;
        self.meters[at].pass(&self.flag.0.windows, bytes);
        self.bytes[at].increment(bytes.len() as u64);
    }
}

/// The values of the label `direction`, in the order of [`Direction`].
pub(super) const DIRECTIONS: [&str; 2] = ["in", "out"];

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.flag.is_closed(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.flag.hear();
            self.passed(Direction::In, &buffer.filled()[before..]);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // HTTP/2 does not read while it has to write first.
        if self.flag.is_closed(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        if let Poll::Ready(Ok(length)) = written {
            self.passed(Direction::Out, &bytes[..length]);
        }
        written
    }

    /// Without it, HTTP/2 writes a larger body apart from its head: one more TLS record, segment and wake-up
    /// of the peer.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.flag.is_closed(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, pieces);
        if let Poll::Ready(Ok(length)) = written {
            let mut left = length;
            for piece in pieces {
                let taken = piece.len().min(left);
                self.passed(Direction::Out, &piece[..taken]);
                left -= taken;
            }
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.flag.is_closed(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::pin::pin;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test]
    async fn a_connection_is_answered_with_the_first_byte_that_is_read() {
        let (here, mut there) = duplex(64);
        let flag = HeardFlag::default();
        let mut socket = Heard::dialled(here, flag.clone());
        socket.write_all(b"PRI").await.unwrap();
        let mut answered = pin!(flag.answered());
        assert!(answered.as_mut().now_or_never().is_none());
        there.write_all(&[0]).await.unwrap();
        assert!(!flag.has_answered(), "it was not read yet");
        socket.read_u8().await.unwrap();
        assert!(answered.as_mut().now_or_never().is_some());
        flag.answered().await;
        // What a look forgets is that it was heard, not that it was answered.
        assert!(flag.take() && !flag.take() && flag.has_answered());
    }

    #[tokio::test]
    async fn a_connection_that_ends_without_a_byte_was_not_answered() {
        let (here, there) = duplex(64);
        let flag = HeardFlag::default();
        let mut socket = Heard::dialled(here, flag.clone());
        drop(there);
        assert!(socket.read_u8().await.is_err());
        assert!(!flag.has_answered());
    }

    #[tokio::test]
    async fn a_head_and_its_data_are_one_write_and_both_are_metered() {
        let (here, mut there) = duplex(1_024);
        let mut socket = Heard::accepted(here);
        let windows = socket.flag.windows();
        assert!(socket.is_write_vectored() && !windows.are_half_taken(100));
        let (head, data) = ([0, 0, 100, 0, 0, 0, 0, 0, 1], [7; 100]);
        let pieces = [IoSlice::new(&head), IoSlice::new(&data)];
        assert_eq!(socket.write_vectored(&pieces).await.unwrap(), 109);
        assert!(windows.are_half_taken(100));
        let mut read = [0; 109];
        there.read_exact(&mut read).await.unwrap();
        assert_eq!(read[..], [&head[..], &data].concat());
    }
}
