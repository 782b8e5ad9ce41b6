//! Clients of an unmodified application write through one gateway and read through another.

#![allow(
    clippy::print_stderr,
    reason = "a test that is skipped or fails says why"
)]

use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use tidegate::testkit::{Cluster, GatewayProcess, PostgresServer};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::drill::{Length, Row};
use crate::world::{client, configured, gateway_of, header, wait_ready};

/// Clients at a time, each with a note of its own.
const CLIENTS: usize = 8;

/// The least share of reads that have to be served by a replica.
const ON_REPLICA_MIN: f64 = 0.9;

/// One region: a gateway, an application and a replica.
struct Region {
    gateway: GatewayProcess,
    _application: Child,
}

/// What became of the pairs.
#[derive(Default)]
struct Reads {
    /// The answers that were not 200, as they came.
    refused: Mutex<Vec<String>>,
    stale: AtomicUsize,
    on_replica: AtomicUsize,
    without_token: AtomicUsize,
}

impl Region {
    async fn start(cluster: &Cluster, name: &str, replica: &PostgresServer, python: &Path) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/drills/notes.py");
        let mut application = Command::new(python)
            .arg(script)
            .args([cluster.primary.url(), replica.url()])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(application.stdout.take().unwrap()).lines();
        let port = lines.next_line().await.unwrap().expect("the port");
        let file = format!(
            "[[policy]]\npath = \"/*\"\nconsistency = \"eventual\"\n\
             [[endpoint]]\nmethod = \"*\"\npath = \"/notes/{{name}}\"\n\
             upstream = \"http://127.0.0.1:{port}\"\nposition = \"ask\"\n"
        );
        let gateway = gateway_of(cluster)
            .env("REGION", name)
            .env("DATABASE_READ_REPLICA_URL", replica.url());
        let gateway = configured(cluster, gateway, &file).start().await.unwrap();
        wait_ready(&client(), &gateway).await;
        Self {
            gateway,
            _application: application,
        }
    }
}

impl Reads {
    /// Writes a note through one gateway and reads it through the other, so many times.
    async fn pairs(&self, regions: &[Region; 2], client: Client, name: usize, pairs: usize) {
        for number in 0..pairs {
            let url = |region: usize| regions[region % 2].gateway.url(&format!("/notes/{name}"));
            let write = client.post(url(number)).body(number.to_string());
            let Some(written) = self.answered(write).await else {
                continue;
            };
            let token = header(&written, "x-consistency-token");
            let read = client.get(url(number + 1));
            let read = match token.is_empty() {
                true => {
                    self.without_token.fetch_add(1, Ordering::Relaxed);
                    read
                }
                false => read.header("X-Consistency-Token", token),
            };
            let Some(read) = self.answered(read).await else {
                continue;
            };
            let read = read.text().await.unwrap();
            let (role, text) = read.split_once(' ').unwrap();
            self.stale
                .fetch_add(usize::from(text != number.to_string()), Ordering::Relaxed);
            self.on_replica
                .fetch_add(usize::from(role == "replica"), Ordering::Relaxed);
        }
    }

    /// Sends a request. Notes an answer that is not 200.
    async fn answered(&self, request: RequestBuilder) -> Option<Response> {
        let answer = request.send().await.unwrap();
        if answer.status() == StatusCode::OK {
            return Some(answer);
        }
        let head = format!("{} {:?}", answer.status(), answer.headers());
        let refused = format!("{head} {}", answer.text().await.unwrap());
        self.refused.lock().unwrap().push(refused);
        None
    }
}

/// None where there is no driver for the application.
pub(super) async fn through_two_gateways(length: Length) -> Option<Row> {
    let mut row = Row::new("own writes behind an application");
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/psycopg-python");
    if !python.exists() {
        eprintln!("SKIPPED: psycopg2 is not installed, and it cannot be installed from PyPI");
        return None;
    }
    let pairs = match length {
        Length::Full => 10_000,
        Length::Short => 800,
    };
    let cluster = Cluster::start(2).await.unwrap();
    let schema = "create table notes (name text primary key, text text not null)";
    cluster.primary.execute(schema).await.unwrap();
    cluster.wait_for_replicas().await.unwrap();
    let start =
        |name, index: usize| Region::start(&cluster, name, &cluster.replicas[index], &python);
    let regions = [start("eu-west-1", 0).await, start("ap-south-1", 1).await];
    let (reads, http) = (Reads::default(), client());
    join_all((0..CLIENTS).map(|name| reads.pairs(&regions, http.clone(), name, pairs / CLIENTS)))
        .await;

    let refused = reads.refused.into_inner().unwrap();
    row.show(
        format!("{} requests failed", refused.len()),
        refused.is_empty(),
    );
    if !refused.is_empty() {
        eprintln!("{}", refused.join("\n"));
        for region in &regions {
            eprintln!("{}", region.gateway.log());
        }
    }
    let stale = reads.stale.into_inner();
    row.show(format!("{stale} of {pairs} reads stale"), stale == 0);
    let missed = reads.without_token.into_inner();
    row.show(format!("{missed} writes without a token"), missed == 0);
    let on_replica = reads.on_replica.into_inner() as f64 / pairs as f64;
    let figure = format!("{:.1} % on a replica", on_replica * 100.0);
    row.show(figure, on_replica >= ON_REPLICA_MIN);
    Some(row)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_an_unmodified_application_read_their_own_writes() {
    if let Some(row) = through_two_gateways(Length::Short).await {
        row.verdict();
    }
}
