//! A socket that notes that something was read from it, and that can be closed from elsewhere.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Whether something was read since the last look, and whether the socket is to be closed.
#[derive(Clone, Debug, Default)]
pub(super) struct HeardFlag(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    heard: AtomicBool,
    closed: AtomicBool,
    /// The task that reads and writes.
    task: AtomicWaker,
}

impl HeardFlag {
    /// Returns whether something was read, and forgets it.
    pub(super) fn take(&self) -> bool {
        self.0.heard.swap(false, Ordering::Relaxed)
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
#[derive(Debug)]
pub(super) struct Heard<S> {
    pub(super) socket: S,
    pub(super) flag: HeardFlag,
}

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
            self.flag.0.heard.store(true, Ordering::Relaxed);
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
        Pin::new(&mut self.socket).poll_write(context, bytes)
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
