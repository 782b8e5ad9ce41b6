//! A connection that this gateway dials.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::body::Body;
use bytes::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tidegate_fleet::{ConnectionId, Purpose};
use tidegate_model::RegionId;
use tidegate_telemetry::names;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::credentials::Credentials;
use super::event::{Ending, Event};
use super::grpc::{BytesCodec, WATCH, client};
use super::heard::{Heard, HeardFlag};
use super::refusal::Refusal;
use super::refusal_log::RefusalLog;
use super::vouched::{GOODBYE_MAX, Shown, until_refused};
use crate::tunnels::CONNECTION_WINDOW;

/// The window of a stream, in bytes.
pub(super) const STREAM_WINDOW: u32 = 512 * 1024;

/// A connection with requests under way on which nothing was read for the first time is asked whether its
/// peer is still there, and lost without an answer in the second: also one that the fleet has retired and
/// pings no more.
const SILENCE_MAX: Duration = Duration::from_secs(10);
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Where to, and what for.
#[derive(Clone, Debug)]
pub(super) struct Dial {
    pub(super) connection: ConnectionId,
    pub(super) region: RegionId,
    pub(super) address: SocketAddr,
    pub(super) purpose: Purpose,
}

impl Dial {
    /// Opens the connection and drives it until nothing new can be sent over it; the driver hears of both.
    pub(super) async fn run(
        self,
        credentials: Arc<ArcSwap<Credentials>>,
        heard: HeardFlag,
        events: mpsc::Sender<Event>,
        refusals: RefusalLog,
    ) {
        let (driven, is_connected) = match self.connect(&credentials).await {
            Ok(connected) => {
                let driven = self.drive(connected, &credentials, &heard, &events);
                (driven.await, true)
            }
            Err(error) => (Err(error), false),
        };
        let ending = match driven {
            Ok(()) => Ending::InOrder,
            Err(_) if is_connected && !heard.has_answered() => Ending::Unanswered,
            Err(_) => Ending::Lost,
        };
        if let Err(error) = driven {
            self.log(&*error, &refusals);
        }
        let closed = Event::Closed(self.connection, ending);
        let _driver_gone = events.send(closed).await;
    }

    fn log(&self, error: &(dyn Error + 'static), refusals: &RefusalLog) {
        let (region, address) = (&self.region, self.address);
        let Some(refusal) = Refusal::of(error) else {
            return tracing::debug!(%region, %address, %error, "a connection to a gateway has ended");
        };
        let reason = refusal.as_str();
        metrics::counter!(names::FLEET_HANDSHAKES_REFUSED, "reason" => reason).increment(1);
        if let Some(suppressed) = refusals.pass(address.ip(), reason) {
            tracing::warn!(%region, %address, reason, suppressed, "a gateway that was dialled is refused");
        }
    }

    /// Connects, and returns what the peer has shown.
    async fn connect(
        &self,
        vouching: &ArcSwap<Credentials>,
    ) -> Result<(TlsStream<TcpStream>, Shown), Box<dyn Error + Send + Sync>> {
        let credentials = vouching.load_full();
        let socket = TcpStream::connect(self.address).await?;
        socket.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::clone(&credentials.client));
        // The name counts for nothing: the certificate's region does.
        let name = ServerName::IpAddress(self.address.ip().into());
        let socket = connector.connect(name, socket).await?;
        let peer = socket.get_ref().1.peer_certificates().unwrap_or_default();
        if credentials.region_of(peer)? != self.region {
            return Err(Refusal::Region.into());
        }
        let shown: Shown = peer.to_vec();
        Ok((socket, shown))
    }

    async fn drive(
        &self,
        (socket, shown): (TlsStream<TcpStream>, Shown),
        vouching: &ArcSwap<Credentials>,
        heard: &HeardFlag,
        events: &mpsc::Sender<Event>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let socket = Heard::dialled(socket, heard.clone());
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(SILENCE_MAX)
            .keep_alive_timeout(ANSWER_MAX)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake::<_, Body>(TokioIo::new(socket))
            .await?;
        let mut connection = pin!(connection);
        // In TLS 1.3 this side's handshake is done before the peer has seen its certificate. Only what the peer
        // says then shows that it accepts it: its SETTINGS, which come first.
        tokio::select! {
            biased;
            () = heard.answered() => {}
            ended = connection.as_mut() => {
                ended?;
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
        let opened = Event::Opened(self.connection, sender.clone());
        events.send(opened).await.map_err(io::Error::other)?;
        let driven = async {
            match self.purpose {
                Purpose::Tunnel => {
                    drop(sender);
                    connection.await?;
                }
                Purpose::Control => {
                    tokio::select! {
                        ended = connection => ended?,
                        ended = self.watch(sender, events) => ended?,
                    }
                }
            }
            Ok(())
        };
        tokio::select! {
            ended = driven => ended,
            () = self.until_ended(vouching, &shown, events) => {
                heard.close();
                Ok(())
            }
        }
    }

    /// Completes when the connection is to be closed, some time after its peer's certificate has ceased to
    /// count: in which it is made anew and requests finish.
    async fn until_ended(
        &self,
        vouching: &ArcSwap<Credentials>,
        shown: &Shown,
        events: &mpsc::Sender<Event>,
    ) {
        until_refused(vouching, shown).await;
        let _driver_gone = events.send(Event::Unverified(self.connection)).await;
        sleep(GOODBYE_MAX).await;
    }

    /// Watches the peer until its stream ends.
    async fn watch(
        &self,
        sender: http2::SendRequest<Body>,
        events: &mpsc::Sender<Event>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut client = client(sender);
        client.ready().await?;
        let request = tonic::Request::new(Bytes::new());
        let answer = client.server_streaming(request, WATCH, BytesCodec).await?;
        let mut updates = answer.into_inner();
        while let Some(update) = updates.message().await? {
            let received = Event::Received(self.connection, update);
            events.send(received).await.map_err(io::Error::other)?;
        }
        Ok(())
    }
}
