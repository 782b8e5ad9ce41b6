//! The end of a connection whose client may still be sending what is not read.
//!
//! A system that closes a socket with unread bytes resets the connection, and a client that writes
//! before it reads then never sees the answer. So what still comes is read and discarded for a while
//! (RFC 9112 section 9.6).

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Duration, Instant, Sleep, sleep};

/// Time for a client to notice that the connection is closed: a few round trips to the far side of
/// the world. Each byte begins it anew.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(2);

/// Time for a client that sends slowly and reads only then.
pub(super) const TIME_MAX: Duration = Duration::from_secs(10);

/// Bytes after which a client is cut off: far more than what fills the buffers on the way, little to
/// read once per connection.
pub(super) const BYTES_MAX: usize = 16 << 20;

const PIECE_BYTES: usize = 8 << 10;

/// Discards what a client sends after the last answer.
pub(super) struct Linger {
    /// The end of silence.
    timer: Pin<Box<Sleep>>,
    until: Instant,
    bytes_left: usize,
}

impl Linger {
    pub(super) fn new() -> Self {
        Self {
            timer: Box::pin(sleep(SILENCE_MAX)),
            until: Instant::now() + TIME_MAX,
            bytes_left: BYTES_MAX,
        }
    }

    /// Completes when the client has closed its side, or has had its time.
    pub(super) fn poll<S: AsyncRead + Unpin>(
        &mut self,
        socket: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let mut piece = [0; PIECE_BYTES];
        loop {
            if self.timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let mut buffer = ReadBuf::new(&mut piece);
            let outcome = ready!(Pin::new(&mut *socket).poll_read(cx, &mut buffer));
            let length = buffer.filled().len();
            let left = self.bytes_left.checked_sub(length);
            match left.filter(|_| outcome.is_ok() && length > 0) {
                Some(left) => self.bytes_left = left,
                None => return Poll::Ready(()),
            }
            let silent = Instant::now() + SILENCE_MAX;
            self.timer.as_mut().reset(silent.min(self.until));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    async fn linger(socket: &mut (impl AsyncRead + Unpin)) -> Linger {
        let mut linger = Linger::new();
        poll_fn(|cx| linger.poll(socket, cx)).await;
        linger
    }

    #[tokio::test(start_paused = true)]
    async fn what_still_comes_is_read_until_the_client_closes() {
        let (mut client, mut socket) = duplex(64 << 10);
        let body = vec![b'x'; 1 << 20];
        let sending = tokio::spawn(async move { client.write_all(&body).await });
        let lingered = linger(&mut socket).await;
        assert_eq!(BYTES_MAX - lingered.bytes_left, 1 << 20);
        sending.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_keeps_its_side_open_has_two_seconds() {
        let (_client, mut socket) = duplex(64);
        let started = Instant::now();
        linger(&mut socket).await;
        assert!(started.elapsed() >= SILENCE_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_slowly_has_time_to_the_end_but_not_for_ever() {
        let (mut client, mut socket) = duplex(64);
        let started = Instant::now();
        let sending = tokio::spawn(async move {
            while client.write_all(b"x").await.is_ok() {
                sleep(SILENCE_MAX / 2).await;
            }
        });
        linger(&mut socket).await;
        drop(socket);
        let took = started.elapsed();
        assert!(took >= TIME_MAX && took < TIME_MAX * 2, "{took:?}");
        sending.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_without_end_is_cut_off() {
        let (mut client, mut socket) = duplex(64 << 10);
        let sending =
            tokio::spawn(
                async move { while client.write_all(&[b'x'; PIECE_BYTES]).await.is_ok() {} },
            );
        let lingered = linger(&mut socket).await;
        assert!(lingered.bytes_left < PIECE_BYTES);
        drop(socket);
        sending.await.unwrap();
    }
}
