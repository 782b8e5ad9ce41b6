//! A socket that reports to its connection's activity, and detects the HTTP version of its client.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};

use super::activity::Activity;
use super::flood_guard::FloodGuard;
use super::linger::Linger;

/// Longest answer that is copied into one buffer.
const JOINED_BYTES_MAX: usize = 4096;

/// The client preface of HTTP/2 (RFC 9113 section 3.4).
const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The HTTP version of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// A client's connection, after TLS.
pub(super) struct Watched<S> {
    socket: Take<S>,
    activity: Arc<Activity>,
    /// Most bytes of a head that are read, if the client uses HTTP/1: hyper makes its buffer larger
    /// than the given bound, and accepts a head that fits into the buffer.
    head_bytes_max: Option<usize>,
    /// Counts floods, if the client uses HTTP/2.
    guard: Option<Box<FloodGuard>>,
    /// Bytes that were read to detect the protocol, or that ended a rest; they are read again.
    first: SmallVec<[u8; PREFACE.len()]>,
    /// What is read after the end.
    linger: Option<Linger>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Watched<S> {
    pub(super) fn new(socket: S, activity: Arc<Activity>) -> Self {
        Self {
            socket: socket.take(u64::MAX),
            activity,
            head_bytes_max: None,
            guard: None,
            first: SmallVec::new(),
            linger: None,
        }
    }

    /// Waits until the client has sent enough to detect its HTTP version.
    ///
    /// hyper can detect it itself, but then treats the detected bytes as a first read, and doubles
    /// its buffer for the second one, on every connection.
    pub(super) async fn protocol(&mut self) -> io::Result<Protocol> {
        let mut first = SmallVec::<[u8; PREFACE.len()]>::new();
        let mut piece = [0; PREFACE.len()];
        while PREFACE.starts_with(&first) && first.len() < PREFACE.len() {
            let wanted = PREFACE.len() - first.len();
            match self.read(&mut piece[..wanted]).await? {
                0 => break,
                read => first.extend_from_slice(&piece[..read]),
            }
        }
        let is_http2 = first[..] == PREFACE;
        self.first = first;
        Ok(if is_http2 {
            Protocol::Http2
        } else {
            Protocol::Http1
        })
    }

    /// Waits until the client sends something, or closes. What it sends is read again.
    pub(super) async fn more(&mut self) -> io::Result<()> {
        let mut piece = [0; PREFACE.len()];
        let length = self.read(&mut piece).await?;
        self.first.extend_from_slice(&piece[..length]);
        Ok(())
    }

    /// Bounds the heads of requests, for a client that uses HTTP/1.
    pub(super) fn limit_heads(&mut self, head_bytes_max: usize) {
        self.head_bytes_max = Some(head_bytes_max);
    }

    /// Ends the connection when it is flooded, for a client that uses HTTP/2.
    pub(super) fn guard(&mut self, head_bytes_max: usize) {
        self.guard = Some(Box::new(FloodGuard::new(head_bytes_max)));
    }

    /// Says goodbye as far as the client takes it at once.
    fn end_flood(&mut self, guard: &FloodGuard, cx: &mut Context<'_>) -> io::Error {
        if let Some(frame) = guard.goodbye() {
            let mut socket = Pin::new(self.socket.get_mut());
            let _blocked = socket.as_mut().poll_write(cx, &frame);
            let _blocked = socket.poll_flush(cx);
        }
        io::Error::other("the client floods the connection")
    }

    /// How many bytes may be read now: the rest of a head's limit, or any number.
    fn readable_bytes(&self) -> u64 {
        let head = self.head_bytes_max.zip(self.activity.head_bytes());
        head.map_or(u64::MAX, |(max, read)| max.saturating_sub(read) as u64)
    }

    /// Reads the bytes that were read for detection.
    fn read_first(&mut self, buffer: &mut ReadBuf<'_>) {
        let length = self.first.len().min(buffer.remaining());
        buffer.put_slice(&self.first[..length]);
        self.first.drain(..length);
    }
}

/// Whether head and body of an answer are better written as one buffer: that costs the kernel less than
/// two, and the difference exceeds the cost of such a short copy.
fn is_better_joined(slices: &[io::IoSlice<'_>]) -> bool {
    let length: usize = slices.iter().map(|slice| slice.len()).sum();
    slices.len() > 1 && length <= JOINED_BYTES_MAX
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let start = buffer.filled().len();
        self.read_first(buffer);
        let before = buffer.filled().len();
        let limit = self.readable_bytes();
        self.socket.set_limit(limit);
        let outcome = Pin::new(&mut self.socket).poll_read(cx, buffer);
        let read = &buffer.filled()[before..];
        if !read.is_empty() {
            self.activity.read(read);
        } else if before == start && outcome.is_pending() {
            self.activity.awaits_more();
        }
        if let Some(mut guard) = self.guard.take() {
            guard.read(&buffer.filled()[start..]);
            if guard.is_flooded() {
                return Poll::Ready(Err(self.end_flood(&guard, cx)));
            }
            self.guard = Some(guard);
        }
        match outcome {
            Poll::Pending if before > start => Poll::Ready(Ok(())),
            outcome => outcome,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(self.socket.get_mut()).poll_write(cx, bytes);
        if let (Some(guard), Poll::Ready(Ok(written))) = (&mut self.guard, &outcome) {
            guard.wrote(&bytes[..*written]);
        }
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = Pin::new(self.socket.get_mut());
        let outcome = match is_better_joined(slices) {
            true => {
                // Here, because returning it would copy all of it.
                let mut bytes = SmallVec::<[u8; JOINED_BYTES_MAX]>::new();
                slices.iter().for_each(|it| bytes.extend_from_slice(it));
                socket.poll_write(cx, &bytes)
            }
            false => socket.poll_write_vectored(cx, slices),
        };
        if let (Some(guard), Poll::Ready(Ok(written))) = (&mut self.guard, &outcome) {
            let mut rest = *written;
            for slice in slices {
                let length = slice.len().min(rest);
                guard.wrote(&slice[..length]);
                rest -= length;
            }
        }
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.get_ref().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.socket.get_mut()).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let socket = this.socket.get_mut();
        let linger = match &mut this.linger {
            Some(linger) => linger,
            none => {
                ready!(Pin::new(&mut *socket).poll_shutdown(cx))?;
                let is_http1 = this.head_bytes_max.is_some();
                if !is_http1 || !this.activity.may_send_more() {
                    return Poll::Ready(Ok(()));
                }
                this.activity.begin_linger();
                none.insert(Linger::new())
            }
        };
        linger.poll(socket, cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::FutureExt;
    use http::Version;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::Instant;

    use super::super::Limits;
    use super::super::activity::Expiry;
    use super::*;

    /// The protocol detected for a client that sends these pieces, and the bytes that can be read
    /// afterwards.
    async fn told(pieces: &[&[u8]]) -> (Protocol, Vec<u8>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        client.set_nodelay(true).unwrap();
        let mut watched = Watched::new(socket, Activity::new(Instant::now()));
        let speak = async {
            for piece in pieces {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
        };
        let (protocol, ()) = tokio::join!(watched.protocol(), speak);
        watched.socket.get_ref().readable().await.unwrap();
        let mut first_read = vec![0; 1024];
        let length = watched.read(&mut first_read).await.unwrap();
        first_read.truncate(length);
        (protocol.unwrap(), first_read)
    }

    #[tokio::test]
    async fn the_protocol_is_told_by_the_preface_however_it_is_cut() {
        let (start, end) = PREFACE.split_at(7);
        for pieces in [&[&PREFACE[..]][..], &[start, end]] {
            assert_eq!(told(pieces).await, (Protocol::Http2, PREFACE.to_vec()));
        }
        for other in [&b"PRI"[..], b"PRI * HTTP/2.1\r\n\r\n", b"POST", b"P", b""] {
            assert_eq!(told(&[other]).await, (Protocol::Http1, other.to_vec()));
        }
    }

    #[tokio::test]
    async fn a_connection_rests_only_when_more_was_asked_for_than_has_come() {
        let (mut client, socket) = tokio::io::duplex(64);
        let activity = Activity::new(Instant::now());
        activity.let_rest(true);
        let mut watched = Watched::new(socket, Arc::clone(&activity));
        let next = || activity.deadline(&Limits::default()).unwrap().1;
        let mut head = *b"GET / HTTP/1.1\r\n\r\n";
        client.write_all(&head).await.unwrap();
        watched.read_exact(&mut head).await.unwrap();
        drop(activity.begin(Version::HTTP_11));
        // hyper may have more heads in its buffer, and pauses after so many requests.
        assert_eq!(next(), Expiry::Idle);
        assert!(watched.read(&mut [0; 64]).now_or_never().is_none());
        assert_eq!(next(), Expiry::Rest);
    }

    #[tokio::test]
    async fn a_head_comes_in_one_read_with_what_told_the_protocol() {
        let head = b"GET / HTTP/1.1\r\nhost: a-host-that-is-longer-than-the-preface\r\n\r\n";
        assert_eq!(told(&[head]).await, (Protocol::Http1, head.to_vec()));
    }
}
