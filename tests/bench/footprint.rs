//! Time to start, and memory: in all, by connection and by stored answer.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::contest::{median, sorted};
use super::load::{Wrk, client};
use super::process::{Server, file};
use super::replica_read::{ACCOUNT, random_accounts};
use super::report::{Report, say};
use super::scene::{BODY_BYTES, Gateway, Scene, Setting};

const STARTS: usize = 7;
const START_MAX_MS: f64 = 300.0;
const START_DEADLINE: Duration = Duration::from_secs(10);
const CONNECTIONS: u32 = 10_000;
const IDLE_MAX_MIB: f64 = 30.0;
const CONNECTED_MAX_MIB: f64 = 120.0;
/// A connection gives its buffers back after a second of silence, and the allocator to the system within ten more.
const REST: Duration = Duration::from_secs(15);
/// Opened at once; the backlog of a listener is bounded.
const BATCH: u32 = 100;
const KIB_PER_MIB: f64 = 1024.0;

/// Stored answers, which take half of the cache's default size.
const ENTRIES: u32 = 20_000;
/// Seconds of a load, and how often it is repeated until all answers are stored.
const FILL_SECONDS: u32 = 3;
const FILLS_MAX: u32 = 10;
/// The gauge of them may be behind by those that were stored at the same moment.
const NEARLY_ALL: f64 = 0.99;

/// One answer after another, over and over.
const EACH_IN_TURN: &str = "
local last = 0
request = function()
    last = last % ENTRIES + 1
    return wrk.format('GET', '/cached/' .. last)
end
";

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
    measure_connections(scene, report).await?;
    measure_entries(scene, report).await
}

async fn measure_connections(scene: &Scene, report: &mut Report) -> Result<()> {
    let gateway = scene.gateway(&Setting::default()).await?;
    let idle = gateway.server.resident_mib()?;
    let mut sockets = Vec::new();
    for _ in 0..CONNECTIONS / BATCH {
        sockets.extend(try_join_all((0..BATCH).map(|_| connect(&gateway))).await?);
    }
    let served = gateway.server.resident_mib()?;
    sleep(REST).await;
    let connected = gateway.server.resident_mib()?;
    let each_kib = (connected - idle) * KIB_PER_MIB / f64::from(CONNECTIONS);
    say(&format!(
        "  idle {idle:.1} MiB, with {CONNECTIONS} connections {served:.1}, then {connected:.1} MiB"
    ));
    report.row(
        "memory, idle",
        format!("{idle:.1} MiB"),
        "≤ 30 MiB",
        idle <= IDLE_MAX_MIB,
    );
    report.row(
        "memory, with 10,000 idle kept-alive connections that have each been served",
        format!("{served:.1} MiB at once, {connected:.1} MiB {REST:?} later"),
        format!("≤ {CONNECTED_MAX_MIB:.0} MiB"),
        connected <= CONNECTED_MAX_MIB,
    );
    report.row(
        "memory of an idle connection, by that difference",
        format!("{each_kib:.1} KiB"),
        "–",
        true,
    );
    Ok(())
}

/// What a stored answer adds to a gateway that the same load has already warmed up.
async fn measure_entries(scene: &Scene, report: &mut Report) -> Result<()> {
    let gateway = scene.gateway(&Setting::default()).await?;
    let each = EACH_IN_TURN.replace("ENTRIES", &ENTRIES.to_string());
    let load = |path: &str, script| Wrk {
        url: gateway.url(path),
        seconds: FILL_SECONDS,
        core: None,
        script: Some(script),
    };
    let reads = file(&scene.directory, "accounts.lua", &random_accounts())?;
    load(ACCOUNT, reads).run().await?;
    let without = gateway.server.resident_mib()?;
    let fill = load("/cached/1", file(&scene.directory, "entries.lua", &each)?);
    let mut fills = 0;
    let mut stored = 0.0;
    while stored < NEARLY_ALL * f64::from(ENTRIES) {
        ensure!(
            fills < FILLS_MAX,
            "{stored} of {ENTRIES} answers are stored"
        );
        fill.run().await?;
        stored = entries(&gateway).await?;
        fills += 1;
    }
    let with = gateway.server.resident_mib()?;
    let each_kib = (with - without) * KIB_PER_MIB / stored;
    say(&format!(
        "  warm {without:.1} MiB, with {stored} stored answers {with:.1} MiB"
    ));
    report.row(
        format!("memory of a stored answer of {BODY_BYTES} bytes, by {stored} of them"),
        format!("{each_kib:.2} KiB"),
        "–",
        true,
    );
    Ok(())
}

/// The number of stored answers.
async fn entries(gateway: &Gateway) -> Result<f64> {
    let url = format!("{}/metrics", gateway.admin);
    let page = client()?.get(url).send().await?.text().await?;
    let line = page
        .lines()
        .find(|line| line.starts_with("tidegate_cache_entries"));
    let number = line.and_then(|line| line.rsplit(' ').next());
    Ok(number.context("no tidegate_cache_entries")?.parse()?)
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
