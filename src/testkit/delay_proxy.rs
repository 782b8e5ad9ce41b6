//! A TCP proxy that adds the delay of a long link, and can fail like one.
//!
//! Every chunk leaves at its arrival plus the delay, so pipelined requests stay pipelined: the link
//! is long, not narrow. Latency does not vary and nothing is reordered or lost.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

/// Most bytes in flight per direction: chunks × their size. A full link blocks the sender; it
/// allows 37,000 chunks a second at 110 ms one way.
const CHUNKS_MAX: usize = 4096;
const CHUNK_BYTES_MAX: usize = 8 * 1024;

/// A proxy on a port of 127.0.0.1; dropping it drops its connections.
pub struct DelayProxy {
    address: SocketAddr,
    line: watch::Sender<Line>,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    /// Connections accepted.
    connections: AtomicUsize,
    /// How often a client on any of the connections sent after it had received an answer.
    turns: AtomicUsize,
}

/// The current state of the link.
#[derive(Clone, Copy)]
struct Line {
    target: SocketAddr,
    to_target: Duration,
    to_client: Duration,
    fault: Option<Fault>,
}

impl Line {
    fn delay(&self, towards: Towards) -> Duration {
        match towards {
            Towards::Target => self.to_target,
            Towards::Client => self.to_client,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    BlackHole,
    /// Only what the client sends is dropped.
    LostToTarget,
    /// Only what the target sends is dropped.
    LostToClient,
    Cut,
}

/// The direction of a chunk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Towards {
    Target,
    Client,
}

impl Fault {
    /// Whether what is sent in a direction does not arrive.
    fn swallows(self, towards: Towards) -> bool {
        match self {
            Self::BlackHole => true,
            Self::LostToTarget => towards == Towards::Target,
            Self::LostToClient => towards == Towards::Client,
            Self::Cut => false,
        }
    }
}

impl DelayProxy {
    /// Starts a proxy to `target` without delay.
    ///
    /// # Errors
    ///
    /// Fails if no port can be bound.
    pub async fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("cannot bind a port for the proxy")?;
        let address = listener.local_addr()?;
        let line = Line {
            target,
            to_target: Duration::ZERO,
            to_client: Duration::ZERO,
            fault: None,
        };
        let (line, watched) = watch::channel(line);
        let counts = Arc::new(Counts::default());
        let task = tokio::spawn(serve(listener, address, watched, Arc::clone(&counts)));
        Ok(Self {
            address,
            line,
            counts,
            task,
        })
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Counts the turns of all conversations so far: everything that a client sends before it
    /// receives anything belongs to the same turn, so pipelined requests are one.
    #[must_use]
    pub fn turns(&self) -> usize {
        self.counts.turns.load(Ordering::Relaxed)
    }

    /// Counts the connections accepted so far, including those that were not forwarded.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::Relaxed)
    }

    /// Sets the one-way delays.
    pub fn set_delay(&self, to_target: Duration, to_client: Duration) {
        self.line
            .send_modify(|line| (line.to_target, line.to_client) = (to_target, to_client));
    }

    /// Sets both delays to half a round trip.
    pub fn set_round_trip(&self, round_trip: Duration) {
        self.set_delay(round_trip / 2, round_trip / 2);
    }

    /// Forwards new connections to another target, like a changed DNS record.
    pub fn set_target(&self, target: SocketAddr) {
        self.line.send_modify(|line| line.target = target);
    }

    /// Drops all data: connections are accepted and kept, but nothing is forwarded until it ends.
    pub fn black_hole(&self, on: bool) {
        self.set_fault(on.then_some(Fault::BlackHole));
    }

    /// Drops what clients send and forwards what the target sends, until it ends. New connections do not
    /// come through either: their handshake needs both ways.
    pub fn lose_to_target(&self, on: bool) {
        self.set_fault(on.then_some(Fault::LostToTarget));
    }

    /// Drops what the target sends and forwards what clients send, until it ends.
    pub fn lose_to_client(&self, on: bool) {
        self.set_fault(on.then_some(Fault::LostToClient));
    }

    /// Drops every connection and refuses new ones until it ends.
    pub fn cut(&self, on: bool) {
        self.set_fault(on.then_some(Fault::Cut));
    }

    fn set_fault(&self, fault: Option<Fault>) {
        self.line.send_modify(|line| line.fault = fault);
    }
}

impl Drop for DelayProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Ends with its proxy. A cut closes the listener and every connection, then listens again.
async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    mut line: watch::Receiver<Line>,
    counts: Arc<Counts>,
) {
    let mut listener = Some(listener);
    loop {
        let bound = match listener.take() {
            Some(bound) => bound,
            None => match TcpListener::bind(address).await {
                Ok(bound) => bound,
                Err(_taken) => return,
            },
        };
        tokio::select! {
            () = accept(bound, line.clone(), &counts) => {}
            cut = line.wait_for(|line| line.fault == Some(Fault::Cut)) => if cut.is_err() { return },
        }
        if line
            .wait_for(|line| line.fault != Some(Fault::Cut))
            .await
            .is_err()
        {
            return;
        }
    }
}

/// Dropping this future drops the listener and, with the set, all connections.
async fn accept(listener: TcpListener, line: watch::Receiver<Line>, counts: &Arc<Counts>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((client, _)) = accepted {
                let (line, counts) = (line.clone(), Arc::clone(counts));
                counts.connections.fetch_add(1, Ordering::Relaxed);
                connections.spawn(async move { drop(carry(client, line, &counts.turns).await) });
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// A handshake crosses the link once each way before the first byte may be sent.
async fn carry(
    client: TcpStream,
    mut line: watch::Receiver<Line>,
    turns: &AtomicUsize,
) -> Result<()> {
    let now = *pass(&mut line, &[Towards::Target, Towards::Client]).await?;
    sleep(now.to_target + now.to_client).await;
    let target = TcpStream::connect(now.target).await?;
    client.set_nodelay(true)?;
    target.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_target, to_target) = target.into_split();
    let answered = AtomicBool::new(true);
    let spoke = || {
        if answered.swap(false, Ordering::Relaxed) {
            turns.fetch_add(1, Ordering::Relaxed);
        }
    };
    let heard = || answered.store(true, Ordering::Relaxed);
    tokio::try_join!(
        direction(
            from_client,
            to_target,
            (line.clone(), Towards::Target),
            spoke,
            || ()
        ),
        direction(
            from_target,
            to_client,
            (line, Towards::Client),
            || (),
            heard
        ),
    )?;
    Ok(())
}

async fn direction(
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    (line, towards): (watch::Receiver<Line>, Towards),
    entered: impl Fn(),
    left: impl Fn(),
) -> Result<()> {
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    let delay_now = line.clone();
    let due = move || {
        entered();
        Instant::now() + delay_now.borrow().delay(towards)
    };
    let written = write(to, receiver, (line, towards), left);
    tokio::try_join!(read(from, sender, due), written)?;
    Ok(())
}

/// The end of the stream is sent as an empty chunk.
async fn read(
    mut from: OwnedReadHalf,
    chunks: mpsc::Sender<(Instant, Bytes)>,
    due: impl Fn() -> Instant,
) -> Result<()> {
    loop {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES_MAX);
        let ended = from.read_buf(&mut chunk).await? == 0;
        chunks.send((due(), chunk.freeze())).await?;
        if ended {
            return Ok(());
        }
    }
}

async fn write(
    mut to: OwnedWriteHalf,
    mut chunks: mpsc::Receiver<(Instant, Bytes)>,
    (mut line, towards): (watch::Receiver<Line>, Towards),
    left: impl Fn(),
) -> Result<()> {
    while let Some((due, chunk)) = chunks.recv().await {
        sleep_until(due).await;
        pass(&mut line, &[towards]).await?;
        left();
        match chunk.is_empty() {
            true => to.shutdown().await?,
            false => to.write_all(&chunk).await?,
        }
    }
    Ok(())
}

/// Waits while the link drops the data of one of some directions.
async fn pass<'a>(
    line: &'a mut watch::Receiver<Line>,
    directions: &[Towards],
) -> Result<watch::Ref<'a, Line>> {
    let swallows = |fault: Fault| directions.iter().any(|it| fault.swallows(*it));
    Ok(line
        .wait_for(|line| !line.fault.is_some_and(swallows))
        .await?)
}
