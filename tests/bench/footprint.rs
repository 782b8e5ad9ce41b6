//! Time to start and memory.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::contest::{median, sorted};
use super::process::Server;
use super::report::{Report, say};
use super::scene::{Gateway, Scene, Setting};

const STARTS: usize = 7;
const START_MAX_MS: f64 = 300.0;
const START_DEADLINE: Duration = Duration::from_secs(10);
const CONNECTIONS: usize = 10_000;
const IDLE_MAX_MIB: f64 = 30.0;
const CONNECTED_MAX_MIB: f64 = 150.0;
/// Opened at once; the backlog of a listener is bounded.
const BATCH: usize = 100;

pub(crate) async fn measure_start(scene: &Scene, report: &mut Report) -> Result<()> {
    say("start to ready");
    let mut taken = Vec::new();
    for _ in 0..STARTS {
        let (mut command, listen, admin) = scene.command(&Setting::default())?;
        let start = Instant::now();
        let _server = Server::adopt(command.spawn()?, listen);
        while !is_ready(admin).await {
            anyhow::ensure!(start.elapsed() < START_DEADLINE, "the gateway is not ready");
            sleep(Duration::from_millis(1)).await;
        }
        taken.push(start.elapsed().as_secs_f64() * 1_000.0);
    }
    let taken = sorted(taken.into_iter());
    let (middle, worst) = (median(&taken), taken[taken.len() - 1]);
    say(&format!("  median {middle:.0} ms, worst {worst:.0} ms"));
    report.row(
        "start to ready, databases up",
        format!("median {middle:.0} ms, worst {worst:.0} ms of {STARTS}"),
        "≤ 300 ms",
        middle <= START_MAX_MS,
    );
    Ok(())
}

/// A hand-written request: creating an HTTP client would take longer than the measured time.
async fn is_ready(admin: std::net::SocketAddr) -> bool {
    let answer = async {
        let mut socket = TcpStream::connect(admin).await?;
        let request = b"GET /readyz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
        socket.write_all(request).await?;
        let mut text = String::new();
        socket.read_to_string(&mut text).await?;
        std::io::Result::Ok(text)
    };
    answer
        .await
        .is_ok_and(|text| text.starts_with("HTTP/1.1 200"))
}

pub(crate) async fn measure_memory(scene: &Scene, report: &mut Report) -> Result<()> {
    say("memory");
    let gateway = scene.gateway(&Setting::default()).await?;
    let idle = gateway.server.resident_mib()?;
    let mut sockets = Vec::with_capacity(CONNECTIONS);
    while sockets.len() < CONNECTIONS {
        sockets.extend(try_join_all((0..BATCH).map(|_| connect(&gateway))).await?);
    }
    let connected = gateway.server.resident_mib()?;
    say(&format!(
        "  idle {idle:.1} MiB, with {CONNECTIONS} connections {connected:.1} MiB"
    ));
    report.row(
        "memory, idle",
        format!("{idle:.1} MiB"),
        "≤ 30 MiB",
        idle <= IDLE_MAX_MIB,
    );
    report.row(
        "memory, with 10,000 idle kept-alive connections that have each been served",
        format!("{connected:.1} MiB"),
        "≤ 150 MiB",
        connected <= CONNECTED_MAX_MIB,
    );
    Ok(())
}

/// A connection that has received one answer and is kept alive.
async fn connect(gateway: &Gateway) -> Result<TcpStream> {
    let mut socket = TcpStream::connect(gateway.server.address).await?;
    let request = b"GET /cached/1 HTTP/1.1\r\nHost: bench\r\n\r\n";
    socket.write_all(request).await?;
    let mut buffer = [0; 4096];
    let read = socket.read(&mut buffer).await?;
    let head = std::str::from_utf8(&buffer[..read])?;
    anyhow::ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
    head.find("\r\n\r\n")
        .context("the head comes in one piece")?;
    Ok(socket)
}
