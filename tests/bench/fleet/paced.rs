//! Requests at a steady rate over a few connections, with as little of a client as possible: on two cores it
//! takes its time from the servers.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::future::try_join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// How late a sleep of ten milliseconds may be where times are to be believed; the runtime's timers count whole
/// milliseconds, so that up to one is their own.
const LATE_MAX: Duration = Duration::from_millis(2);

/// One answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    pub(super) sent: Instant,
    pub(super) took: Duration,
    pub(super) status: u16,
}

/// What a stretch of load has brought.
pub(super) struct Stretch {
    pub(super) answers: Vec<Answered>,
    /// Whether the machine kept time meanwhile.
    pub(super) is_sound: bool,
}

/// A load on one path of one server.
#[derive(Clone, Copy)]
pub(super) struct Load {
    pub(super) address: SocketAddr,
    pub(super) path: &'static str,
    pub(super) per_second: u32,
    /// Connections; each has one request under way at most.
    pub(super) connections: u32,
}

impl Load {
    /// Sends requests for some time.
    pub(super) async fn run(self, time: Duration) -> Result<Stretch> {
        let control = tokio::spawn(lateness(time));
        let period = Duration::from_secs(1) * self.connections / self.per_second;
        let start = Instant::now() + Duration::from_millis(20);
        let senders = (0..self.connections).map(|number| {
            let first = start + period * number / self.connections;
            tokio::spawn(send(self.address, self.path, first, period, time))
        });
        let mut answers = Vec::new();
        for sender in try_join_all(senders).await? {
            answers.extend(sender?);
        }
        let is_sound = control.await? <= LATE_MAX;
        Ok(Stretch { answers, is_sound })
    }
}

impl Stretch {
    /// Returns a percentile of the times of the answers with a status, in milliseconds.
    pub(super) fn percentile_ms(&self, status: u16, percent: usize) -> f64 {
        let answers = self.answers.iter().filter(|it| it.status == status);
        let mut took: Vec<_> = answers.map(|it| it.took).collect();
        if took.is_empty() {
            return f64::NAN;
        }
        took.sort_unstable();
        crate::load::percentile_ms(&took, percent)
    }

    pub(super) fn count(&self, status: u16) -> usize {
        self.answers.iter().filter(|it| it.status == status).count()
    }
}

/// Returns how late sleeps of ten milliseconds are, at the 95th percentile.
async fn lateness(time: Duration) -> Duration {
    const NAP: Duration = Duration::from_millis(10);
    let end = Instant::now() + time;
    let mut late = Vec::new();
    while Instant::now() < end {
        let begun = Instant::now();
        tokio::time::sleep(NAP).await;
        late.push(begun.elapsed().saturating_sub(NAP));
    }
    late.sort_unstable();
    late[late.len() * 95 / 100]
}

async fn send(
    address: SocketAddr,
    path: &'static str,
    first: Instant,
    period: Duration,
    time: Duration,
) -> Result<Vec<Answered>> {
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    let mut ticks = interval_at(first, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut answers, mut buffer) = (Vec::new(), Vec::with_capacity(4096));
    while first.elapsed() < time {
        ticks.tick().await;
        let sent = Instant::now();
        socket.write_all(request.as_bytes()).await?;
        let status = answer(&mut socket, &mut buffer).await?;
        answers.push(Answered {
            sent,
            took: sent.elapsed(),
            status,
        });
    }
    Ok(answers)
}

/// Reads one answer with a `Content-Length`, and returns its status.
async fn answer(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<u16> {
    buffer.clear();
    let mut end = None;
    loop {
        ensure!(socket.read_buf(buffer).await? > 0, "the server has closed");
        if end.is_none() {
            let head = buffer.windows(4).position(|it| it == b"\r\n\r\n");
            let Some(head) = head else { continue };
            let text = std::str::from_utf8(&buffer[..head])?.to_ascii_lowercase();
            let length = text
                .lines()
                .find_map(|it| it.strip_prefix("content-length: "));
            let Some(length) = length else {
                bail!("no length: {text}")
            };
            end = Some(head + 4 + length.trim().parse::<usize>()?);
        }
        if end.is_some_and(|end| buffer.len() >= end) {
            let status = buffer.get(9..12).context("no status")?;
            return Ok(std::str::from_utf8(status)?.parse()?);
        }
    }
}
