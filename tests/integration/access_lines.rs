//! Access lines, where the reader of the log is slow or the process ends.

use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::signal::Signal;
use tidegate::testkit::{GatewayCommand, free_port, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::world::{BINARY, client};

/// So many lines are larger than what a pipe holds and what waits for each of two threads.
const REQUESTS: usize = 40_000;
const BATCH: usize = 500;

/// Starts a gateway, with nothing behind it, whose log is not read yet.
fn unread_gateway(listen: u16, admin: u16) -> Child {
    let mut command = Command::new(BINARY);
    command.arg("serve").env_clear().kill_on_drop(true);
    command
        .env("REGION", "eu-west-1")
        .env("DATABASE_URL", "postgres://tidegate@127.0.0.1:1/postgres")
        .env("LISTEN_ADDR", format!("127.0.0.1:{listen}"))
        .env("ADMIN_ADDR", format!("127.0.0.1:{admin}"))
        .env("LOG_FORMAT", "json")
        .env("TOKIO_WORKER_THREADS", "2")
        // A line of another target would wait for the reader.
        .env("RUST_LOG", "off,tidegate::access=info,tidegate_telemetry=warn");
    command.stderr(Stdio::piped()).spawn().unwrap()
}

/// Sends requests in one go, and reads all answers.
async fn probe(socket: &mut TcpStream, count: usize) {
    let request = "GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n".repeat(count);
    let (mut reader, mut writer) = socket.split();
    let send = async { writer.write_all(request.as_bytes()).await.unwrap() };
    let receive = async {
        let (mut text, mut answers) = (Vec::new(), 0);
        let mut piece = vec![0; 1 << 16];
        while answers < count {
            let read = reader.read(&mut piece).await.unwrap();
            assert_ne!(read, 0, "after {answers} answers");
            text.extend_from_slice(&piece[..read]);
            answers = text.windows(12).filter(|it| it == b"HTTP/1.1 200").count();
        }
    };
    tokio::join!(send, receive);
}

async fn connection(port: u16) -> TcpStream {
    let connect = async || Ok(TcpStream::connect(("127.0.0.1", port)).await.ok());
    until("it listens", Duration::from_secs(60), connect)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_reader_of_the_log_that_stands_still_stops_no_request_and_what_it_misses_is_counted() {
    let (listen, admin) = (free_port().unwrap(), free_port().unwrap());
    let mut gateway = unread_gateway(listen, admin);
    let mut socket = connection(listen).await;
    for _ in 0..REQUESTS / BATCH {
        probe(&mut socket, BATCH).await;
    }
    let mut log = gateway.stderr.take().unwrap();
    let text = Mutex::new(String::new());
    let lines = |target: &str| {
        let line = format!("\"target\":\"{target}\"}}\n");
        text.lock().unwrap().matches(&line).count()
    };
    let read = async {
        let mut piece = vec![0; 1 << 16];
        loop {
            let count = log.read(&mut piece).await.unwrap();
            let piece = std::str::from_utf8(&piece[..count]).unwrap();
            text.lock().unwrap().push_str(piece);
            if count == 0 {
                return;
            }
        }
    };
    let counted = async {
        let name = "\ntidegate_access_lines_dropped_total ";
        let url = format!("http://127.0.0.1:{admin}/metrics");
        let whole = async || {
            let page = client().get(&url).send().await?.text().await?;
            let (_, count) = page.split_once(name).unwrap_or_default();
            let dropped = count.lines().next().and_then(|it| it.parse::<usize>().ok());
            let dropped = dropped.filter(|dropped| *dropped > 0);
            let is_said = text.lock().unwrap().contains("access lines were dropped");
            let dropped = dropped.filter(|dropped| lines("tidegate::access") + dropped == REQUESTS);
            Ok(dropped.filter(|_| is_said))
        };
        let what = "each line is written, or counted and reported";
        until(what, Duration::from_secs(60), whole).await.unwrap();
    };
    tokio::select! {
        () = read => panic!("the gateway ended"),
        () = counted => {}
    }
}

#[tokio::test]
async fn an_orderly_end_writes_every_access_line() {
    let gateway = GatewayCommand::new(BINARY, "serve")
        .env("REGION", "eu-west-1")
        .env("DATABASE_URL", "postgres://tidegate@127.0.0.1:1/postgres")
        .env("LOG_FORMAT", "json");
    let mut gateway = gateway.start().await.unwrap();
    let mut socket = TcpStream::connect(gateway.listen()).await.unwrap();
    probe(&mut socket, BATCH).await;
    drop(socket);
    gateway.signal(Signal::SIGTERM);
    assert!(gateway.wait().await.unwrap().success());
    let lines = async || {
        let log = gateway.log();
        Ok((log.matches("tidegate::access").count() == BATCH).then_some(()))
    };
    until("every line is there", Duration::from_secs(30), lines)
        .await
        .unwrap();
}
