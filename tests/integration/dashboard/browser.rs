//! In headless Chromium: scripts under `tests/browser` look, this side breaks things when they ask for it.

#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use tidegate::testkit::{free_port, until};
use tidegate_model::Environment;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::time::sleep;

use crate::world::{DEADLINE, World, gateway_of, header, migrated_cluster};

const TOKEN: &str = "a-token-for-tests";

/// Node with the packages that the scripts need, unless it cannot be had here.
pub(crate) fn browser_node() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let node = root.join("target/tools/bin/browser-node");
    if !node.exists() {
        eprintln!("SKIPPED: chromium or playwright-core cannot be had");
    }
    Some(node).filter(|node| node.exists())
}

/// Runs a script; each of its lines asks for a step.
pub(crate) async fn converse(mut command: Command, script: &str, mut step: impl AsyncFnMut(&str)) {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    command.arg(scripts.join(script)).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut answers = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        step(&line).await;
        answers.write_all(b"done\n").await.unwrap();
    }
    assert!(child.wait().await.unwrap().success(), "{script}");
}

#[tokio::test]
async fn a_paused_and_a_killed_replica_are_on_the_page_within_a_second_and_a_quarter() {
    let Some(node) = browser_node() else { return };
    let cluster = migrated_cluster(1).await;
    let gateway = gateway_of(&cluster).env("ADMIN_TOKEN", TOKEN);
    let mut world = World::over(cluster, gateway).await;
    let shots = tempfile::tempdir().unwrap();
    let mut command = Command::new(node);
    command.env("ADMIN", world.gateway.admin_url(""));
    command.env("TOKEN", TOKEN);
    let seen = world.get_at("/api/v1/rates/EUR/USD", "strong").await;
    command.env("SEEN", header(&seen, "x-request-id"));
    // `SHOTS=docs` renews those of the documentation.
    let shots = Environment::of_process()
        .get("SHOTS")
        .map_or(shots.path().to_owned(), PathBuf::from);
    command.env("SHOTS", shots);
    let traffic = traffic(&world);
    let is_over = AtomicBool::new(false);
    let primary = world.cluster.primary.client().await.unwrap();
    let writes = async {
        while !is_over.load(Ordering::Relaxed) {
            let sql = "update documents set updated_at = now()";
            primary.batch_execute(sql).await.unwrap();
            sleep(Duration::from_millis(50)).await;
        }
    };
    let looks = async {
        converse(command, "page.cjs", async |step| match step {
            "pause" => world.cluster.replicas[0].pause_replay().await.unwrap(),
            "resume" => world.cluster.replicas[0].resume_replay().await.unwrap(),
            "kill" => world.replica().kill().await.unwrap(),
            "start" => world.replica().start().await.unwrap(),
            "freeze" => world.gateway.signal(Signal::SIGSTOP),
            "thaw" => world.gateway.signal(Signal::SIGCONT),
            unknown => panic!("{unknown}"),
        })
        .await;
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::select! {
        _ = async { tokio::join!(looks, writes) } => {}
        () = traffic => {}
    }
}

/// Requests at some levels, until it is dropped.
fn traffic(world: &World) -> impl Future<Output = ()> + use<> {
    let (client, url) = (
        world.client.clone(),
        world.gateway.url("/api/v1/rates/EUR/USD"),
    );
    async move {
        loop {
            for level in ["eventual", "bounded", "strong"] {
                let request = client.get(&url).header("X-Consistency", level);
                let _while_frozen = request.timeout(Duration::from_secs(1)).send().await;
                sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

#[tokio::test]
async fn a_page_of_a_listed_origin_reads_answers_and_errors_and_one_of_another_origin_nothing() {
    let Some(node) = browser_node() else { return };
    let port = free_port().unwrap();
    let world = World::configured(&format!(
        "[[policy]]\npath = '/api/v1/rates/*'\nconsistency = 'eventual'\n\
         cors = {{ origins = ['http://localhost:{port}'], headers = ['X-Consistency'] }}\n"
    ))
    .await;
    let mut command = Command::new(node);
    command.env("GATEWAY", world.gateway.url(""));
    command.env("PORT", port.to_string());
    until("rates", DEADLINE, async || {
        let status = world.get("/api/v1/rates/EUR/USD").await.status();
        Ok((status == 200).then_some(()))
    })
    .await
    .unwrap();
    converse(command, "cors.cjs", async |step| panic!("{step}")).await;
}
