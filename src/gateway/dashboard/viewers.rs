//! `GET /admin/events`: the frames as server-sent events.
//!
//! One frame is made for all viewers, and only while there is one. A viewer that is slower than the
//! frames gets the newest and never a queue of them; one that reads nothing is ended by the listener's
//! `write_timeout`.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::http::{Problem, ProblemKind};

/// Most viewers at the same time: each has connections of the admin listener, which scrapers need too; see
/// [`Limits::admin`](crate::http::Limits::admin).
pub(super) const VIEWERS_MAX: usize = 64;

/// The first words of the stream: a viewer that has lost it comes back after half a second.
const RETRY: &str = "retry: 500\n\n";

/// Those that look at the page.
pub(super) struct Viewers {
    frames: watch::Sender<Bytes>,
    places: Arc<Semaphore>,
}

/// All places are taken.
#[derive(Debug, thiserror::Error)]
#[error(
    "{VIEWERS_MAX} viewers are looking already; the page still shows the state when it is loaded"
)]
pub(super) struct TooManyViewers;

impl From<TooManyViewers> for Problem {
    fn from(error: TooManyViewers) -> Self {
        Self::of(ProblemKind::Overloaded, error).retry_soon()
    }
}

impl Viewers {
    pub(super) fn new() -> Self {
        Self {
            frames: watch::Sender::default(),
            places: Arc::new(Semaphore::new(VIEWERS_MAX)),
        }
    }

    /// Whether anyone looks.
    pub(super) fn is_watched(&self) -> bool {
        self.frames.receiver_count() > 0
    }

    /// Shows everyone a frame.
    pub(super) fn show(&self, frame: Bytes) {
        self.frames.send_replace(frame);
    }

    /// Returns the frames from now on, behind the first words of the stream.
    ///
    /// # Errors
    /// If all places are taken.
    pub(super) fn enter(
        &self,
    ) -> Result<impl Stream<Item = Result<Bytes, Infallible>> + use<>, TooManyViewers> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let viewer = Viewer {
            frames: self.frames.subscribe(),
            _place: place.map_err(|_full| TooManyViewers)?,
        };
        let first = Ok(Bytes::from_static(RETRY.as_bytes()));
        let frames = stream::unfold(viewer, async |mut viewer| {
            Some((Ok(viewer.next().await?), viewer))
        });
        Ok(stream::iter([first]).chain(frames))
    }
}

/// One of them; its place is free again once it is dropped.
struct Viewer {
    frames: watch::Receiver<Bytes>,
    _place: OwnedSemaphorePermit,
}

impl Viewer {
    async fn next(&mut self) -> Option<Bytes> {
        self.frames.changed().await.ok()?;
        Some(self.frames.borrow_and_update().clone())
    }
}

/// Makes an event of a frame, which has no line break.
pub(super) fn event(frame: &str) -> Bytes {
    Bytes::from(format!("data: {frame}\n\n"))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use futures_util::FutureExt;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpSocket;
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::http::{Drain, Limits, Listener, serve};

    #[tokio::test]
    async fn a_viewer_that_reads_nothing_is_ended_and_others_see_on() {
        let viewers = Arc::new(Viewers::new());
        let entered = Arc::clone(&viewers);
        let events = get(async move || Body::from_stream(entered.enter().unwrap()));
        let router = Router::new().route("/admin/events", events);
        let listener = Listener::bind("admin", SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let limits = Limits {
            write_timeout: Duration::from_millis(500),
            ..Limits::admin()
        };
        let serving = tokio::spawn(serve(listener, router, limits, Drain::new()));
        let view = async || {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(4096).unwrap();
            let mut socket = socket.connect(address).await.unwrap();
            let request = b"GET /admin/events HTTP/1.1\r\nhost: localhost\r\n\r\n";
            socket.write_all(request).await.unwrap();
            socket
        };
        let (_silent, mut reading) = (view().await, view().await);
        let reads = async { tokio::io::copy(&mut reading, &mut tokio::io::sink()).await };
        let frame = event(&"x".repeat(8_000));
        let shows = async {
            let begun = Instant::now();
            let (mut seen, mut left) = (0, 0);
            while (seen, left) != (2, 1) || begun.elapsed() < Duration::from_secs(2) {
                assert!(
                    begun.elapsed() < Duration::from_secs(30),
                    "{left} viewers are left"
                );
                viewers.show(frame.clone());
                sleep(Duration::from_millis(2)).await;
                left = viewers.frames.receiver_count();
                seen = seen.max(left);
            }
        };
        tokio::select! {
            _ = reads => panic!("the viewer that reads was ended"),
            () = shows => {}
        }
        assert_eq!(viewers.places.available_permits(), VIEWERS_MAX - 1);
        serving.abort();
    }

    #[tokio::test]
    async fn a_viewer_that_does_not_read_holds_one_frame_and_its_place_is_free_once_it_is_gone() {
        let viewers = Viewers::new();
        let mut slow = Box::pin(viewers.enter().unwrap());
        for count in 0..1_000 {
            viewers.show(event(&format!("frame {count}")));
        }
        assert_eq!(slow.next().await.unwrap().unwrap(), RETRY);
        assert_eq!(slow.next().await.unwrap().unwrap(), "data: frame 999\n\n");
        assert!(slow.next().now_or_never().is_none());
        drop(slow);
        assert!(!viewers.is_watched());
        assert_eq!(viewers.places.available_permits(), VIEWERS_MAX);
    }
}
