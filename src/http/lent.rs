//! A socket that comes back to its owner when the connection that uses it is dropped.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Where a socket that was lent comes back.
pub(super) struct Owner<S>(Arc<Mutex<Option<S>>>);

/// A socket that is lent; dropping it gives it back.
pub(super) struct Lent<S> {
    /// Present until it is given back.
    socket: Option<S>,
    owner: Arc<Mutex<Option<S>>>,
}

/// Lends a socket.
pub(super) fn lend<S>(socket: S) -> (Owner<S>, Lent<S>) {
    let owner = Arc::new(Mutex::new(None));
    let lent = Lent {
        socket: Some(socket),
        owner: Arc::clone(&owner),
    };
    (Owner(owner), lent)
}

impl<S> Owner<S> {
    /// The socket, once it is given back.
    pub(super) fn take(self) -> Option<S> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<S> Lent<S> {
    fn socket(&mut self) -> io::Result<Pin<&mut S>>
    where
        S: Unpin,
    {
        let socket = self.socket.as_mut().map(Pin::new);
        socket.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<S> Drop for Lent<S> {
    fn drop(&mut self) {
        let mut owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
        *owner = self.socket.take();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lent<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.socket()?.poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lent<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.socket()?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket()?.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.as_ref().is_some_and(S::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_socket_comes_back_as_it_was_left() {
        let (mut client, socket) = duplex(64);
        let (owner, mut lent) = lend(socket);
        client.write_all(b"one two").await.unwrap();
        let mut word = [0; 4];
        lent.read_exact(&mut word).await.unwrap();
        drop(lent);
        let mut socket = owner.take().expect("it was given back");
        socket.read_exact(&mut word[..3]).await.unwrap();
        assert_eq!(&word[..3], b"two");
    }

    #[tokio::test]
    async fn a_socket_whose_owner_is_gone_is_closed_by_its_user() {
        let (mut client, socket) = duplex(64);
        let (owner, lent) = lend(socket);
        drop(owner);
        drop(lent);
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    }
}
