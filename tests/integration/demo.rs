//! `tidegate demo` as a user runs it: it reports why it cannot start, and leaves nothing behind.

use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tidegate::testkit::{GatewayCommand, until};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use crate::world::{client, problem};

const BINARY: &str = env!("CARGO_BIN_EXE_tidegate");
const DEADLINE: Duration = Duration::from_secs(60);

/// A demo that has printed everything that its user needs.
struct Demo {
    process: Child,
    gateways: Vec<SocketAddr>,
    /// The lines to paste.
    invitation: Vec<String>,
    /// What it prints after them.
    lines: UnboundedReceiver<String>,
}

impl Demo {
    async fn start() -> Self {
        Self::with(&[]).await
    }

    async fn with(variables: &[(&str, String)]) -> Self {
        let mut command = Command::new(BINARY);
        command
            .args(["demo", "--port-base", "0"])
            .envs(variables.iter().map(|(name, value)| (*name, value)))
            .kill_on_drop(true);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (mut gateways, mut invitation) = (Vec::new(), Vec::new());
        loop {
            let line = timeout(DEADLINE, lines.next_line())
                .await
                .unwrap()
                .unwrap()
                .unwrap();
            let url = line
                .split_whitespace()
                .nth(1)
                .and_then(|url| url.strip_prefix("http://"));
            gateways.extend(url.and_then(|address| address.parse::<SocketAddr>().ok()));
            if line.starts_with("Ctrl-C") {
                // Its later lines must have somewhere to go.
                let (sender, later) = unbounded_channel();
                tokio::spawn(async move {
                    while let Ok(Some(line)) = lines.next_line().await {
                        let _unread = sender.send(line);
                    }
                });
                return Self {
                    process,
                    gateways,
                    invitation,
                    lines: later,
                };
            }
            invitation.push(line.trim().to_owned());
        }
    }

    /// A line to paste that begins so and holds that: what follows the beginning.
    fn line(&self, start: &str, holds: &str) -> &str {
        let mut lines = self.invitation.iter();
        let line = lines.find_map(|line| line.strip_prefix(start).filter(|it| it.contains(holds)));
        line.unwrap_or_else(|| panic!("no {start}… {holds}: {:?}", self.invitation))
    }

    fn signal(&self, signal: Signal) {
        let pid = self.process.id().unwrap().try_into().unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// The gateways' process ids.
    fn pids(&self) -> Vec<u32> {
        let demo = self.process.id().unwrap().to_string();
        let read = |pid: u32, file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
        let is_gateway = |pid: &u32| {
            let stat = read(*pid, "stat").unwrap_or_default();
            let parent = stat.rsplit(')').next().unwrap_or_default();
            let serves = read(*pid, "cmdline").is_ok_and(|it| it.contains("\0serve\0"));
            serves && parent.split_whitespace().nth(1) == Some(&*demo)
        };
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let all = all.filter_map(|it| it.file_name().to_str()?.parse().ok());
        all.filter(is_gateway).collect()
    }

    async fn is_gone_without_a_trace(&self, pid: u32) {
        let prefix = format!("tidegate-{pid}-");
        until("nothing is left", DEADLINE, async || {
            let mut left = std::fs::read_dir(std::env::temp_dir())?.flatten();
            let left = left.any(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
            Ok((!left).then_some(()))
        })
        .await
        .unwrap();
        assert_eq!(self.gateways.len(), 3);
        for gateway in &self.gateways {
            assert!(TcpStream::connect(gateway).await.is_err());
        }
    }
}

#[tokio::test]
async fn a_taken_port_is_named_before_anything_starts() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let command = GatewayCommand::new(BINARY, "demo").arg("--port-base");
    let output = command
        .arg(address.port().to_string())
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains(&format!("{address} is in use")), "{told}");
}

#[tokio::test]
async fn the_demos_gateways_are_drained_with_the_token_that_it_shows() {
    let demo = Demo::start().await;
    let token = demo.line("ADMIN_TOKEN=", "");
    let drain = demo.line("curl ", "/drain").rsplit(' ').next().unwrap();
    let post = || client().post(drain).send();
    problem(post().await.unwrap(), 401, "unauthorized").await;
    let drained = client().post(drain).bearer_auth(token).send().await;
    assert_eq!(drained.unwrap().status(), 200);
}

#[tokio::test]
async fn the_demos_gateways_send_traces_where_its_environment_says() {
    let collector = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = collector.local_addr().unwrap();
    let demo = Demo::with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}")),
        ("OTEL_BSP_SCHEDULE_DELAY", "100".to_owned()),
    ])
    .await;
    let rates = format!("http://{}/api/v1/rates/EUR/USD", demo.gateways[0]);
    client().get(rates).send().await.unwrap();
    let (mut socket, _) = timeout(DEADLINE, collector.accept())
        .await
        .unwrap()
        .unwrap();
    let mut line = [0; 15];
    timeout(DEADLINE, socket.read_exact(&mut line))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(line, *b"POST /v1/traces");
}

#[tokio::test]
async fn the_demo_goes_on_without_a_gateway_that_was_killed() {
    let mut demo = Demo::start().await;
    let pids = demo.pids();
    assert_eq!(pids.len(), 3);
    let killed = Pid::from_raw(pids[0].try_into().unwrap());
    kill(killed, Signal::SIGKILL).unwrap();
    loop {
        let line = timeout(DEADLINE, demo.lines.recv()).await.unwrap();
        if line.unwrap().contains("has ended: signal: 9") {
            break;
        }
    }
    let mut answering = 0;
    for gateway in &demo.gateways {
        let url = format!("http://{gateway}/health/live");
        answering += usize::from(client().get(url).send().await.is_ok());
    }
    assert_eq!(answering, 2);
    let pid = demo.process.id().unwrap();
    demo.signal(Signal::SIGINT);
    let ended = timeout(DEADLINE, demo.process.wait()).await.unwrap();
    assert!(ended.unwrap().success());
    demo.is_gone_without_a_trace(pid).await;
}

#[tokio::test]
async fn an_interrupted_demo_ends_well_and_leaves_nothing() {
    let mut demo = Demo::start().await;
    let pid = demo.process.id().unwrap();
    demo.signal(Signal::SIGINT);
    assert!(
        timeout(DEADLINE, demo.process.wait())
            .await
            .unwrap()
            .unwrap()
            .success()
    );
    demo.is_gone_without_a_trace(pid).await;
}

#[tokio::test]
async fn a_killed_demo_leaves_nothing() {
    let mut demo = Demo::start().await;
    let pid = demo.process.id().unwrap();
    demo.signal(Signal::SIGKILL);
    demo.process.wait().await.unwrap();
    demo.is_gone_without_a_trace(pid).await;
}
