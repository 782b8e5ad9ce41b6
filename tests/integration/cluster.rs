//! The world the other tests live in: a primary, its replicas, and the lines between them.

use std::process::Stdio;
use std::time::Duration;

use tidegate::testkit::{Cluster, DelayProxy, PostgresBinaries, Shutdown, until};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::{Instant, timeout};

const DEADLINE: Duration = Duration::from_secs(30);
const WRITE: &str = "insert into events default values";
const COUNT: &str = "select count(*) from events";

/// `make test` runs this one first, so that no other test waits for an installation.
#[test]
fn postgresql_is_found_or_installed() {
    let found = PostgresBinaries::find_or_install().unwrap();
    assert!(found.dir().join("initdb").is_file());
}

async fn cluster_with_events(replicas: usize) -> Cluster {
    let cluster = Cluster::start(replicas).await.unwrap();
    let table = "create table events (id bigint generated always as identity)";
    cluster.primary.execute(table).await.unwrap();
    cluster.wait_for_replicas().await.unwrap();
    cluster
}

/// Although they are copies of one: a gateway tells the nodes of two clusters apart by it.
#[tokio::test]
async fn each_cluster_has_a_system_identifier_of_its_own() {
    const IDENTIFIER: &str = "select system_identifier from pg_control_system()";
    let (one, other) = tokio::try_join!(Cluster::start(1), Cluster::start(0)).unwrap();
    let of_one = one.primary.value(IDENTIFIER).await.unwrap();
    assert_eq!(one.replicas[0].value(IDENTIFIER).await.unwrap(), of_one);
    assert_ne!(other.primary.value(IDENTIFIER).await.unwrap(), of_one);
}

#[tokio::test]
async fn what_the_primary_commits_reaches_every_replica() {
    let cluster = cluster_with_events(2).await;
    cluster.primary.execute(WRITE).await.unwrap();
    cluster.wait_for_replicas().await.unwrap();
    for replica in &cluster.replicas {
        assert_eq!(replica.value(COUNT).await.unwrap().unwrap(), "1");
    }
}

#[tokio::test]
async fn a_paused_replica_stays_behind_until_it_resumes() {
    let cluster = cluster_with_events(1).await;
    let replica = &cluster.replicas[0];
    replica.pause_replay().await.unwrap();
    cluster.primary.execute(WRITE).await.unwrap();
    let flushed = cluster.primary.flushed().await.unwrap();
    replica
        .wait_until(&format!("pg_last_wal_receive_lsn() >= '{flushed}'"))
        .await
        .unwrap();
    assert_eq!(replica.value(COUNT).await.unwrap().unwrap(), "0");
    replica.resume_replay().await.unwrap();
    cluster.wait_for_replicas().await.unwrap();
    assert_eq!(replica.value(COUNT).await.unwrap().unwrap(), "1");
}

#[tokio::test]
async fn a_cut_stream_is_restored() {
    let cluster = cluster_with_events(1).await;
    let replica = &cluster.replicas[0];
    replica.cut_stream().await.unwrap();
    cluster.primary.execute(WRITE).await.unwrap();
    assert_eq!(replica.value(COUNT).await.unwrap().unwrap(), "0");
    replica.restore_stream().await.unwrap();
    cluster.wait_for_replicas().await.unwrap();
    assert_eq!(replica.value(COUNT).await.unwrap().unwrap(), "1");
}

#[tokio::test]
async fn a_frozen_receiver_hears_nothing_until_it_thaws() {
    let mut cluster = cluster_with_events(1).await;
    cluster.replicas[0].freeze_receiver().await.unwrap();
    cluster.primary.execute(WRITE).await.unwrap();
    assert_eq!(
        cluster.replicas[0].value(COUNT).await.unwrap().unwrap(),
        "0"
    );
    cluster.replicas[0].thaw();
    cluster.wait_for_replicas().await.unwrap();
}

#[tokio::test]
async fn a_frozen_server_answers_nothing_until_it_thaws() {
    let mut cluster = cluster_with_events(0).await;
    let client = cluster.primary.client().await.unwrap();
    cluster.primary.freeze().unwrap();
    let mut answer = std::pin::pin!(client.simple_query("select 1"));
    assert!(
        timeout(Duration::from_millis(200), &mut answer)
            .await
            .is_err()
    );
    cluster.primary.thaw();
    timeout(DEADLINE, answer).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_killed_or_stopped_server_comes_back_on_its_port_with_its_data() {
    let mut cluster = cluster_with_events(1).await;
    let port = cluster.primary.port();
    cluster.primary.execute(WRITE).await.unwrap();
    cluster.primary.kill().await.unwrap();
    assert!(cluster.primary.client().await.is_err());
    cluster.primary.start().await.unwrap();
    cluster.primary.stop(Shutdown::Immediate).await.unwrap();
    cluster.primary.start().await.unwrap();
    cluster.primary.restart().await.unwrap();
    assert_eq!(cluster.primary.port(), port);
    assert_eq!(cluster.primary.value(COUNT).await.unwrap().unwrap(), "1");
    cluster.wait_for_replicas().await.unwrap();
}

#[tokio::test]
async fn the_replicas_of_a_dead_primary_follow_the_promoted_one() {
    let mut cluster = cluster_with_events(2).await;
    cluster.primary.kill().await.unwrap();
    let [promoted, follower] = &cluster.replicas[..] else {
        panic!("two replicas")
    };
    promoted.promote().await.unwrap();
    follower.stream_from(promoted).await.unwrap();
    promoted.execute(WRITE).await.unwrap();
    let position = promoted.flushed().await.unwrap();
    follower.wait_for_replay(position).await.unwrap();
    assert_eq!(follower.value(COUNT).await.unwrap().unwrap(), "1");
}

#[tokio::test]
async fn a_replica_can_join_late() {
    let mut cluster = cluster_with_events(0).await;
    cluster
        .primary
        .execute("checkpoint; select pg_switch_wal(); checkpoint")
        .await
        .unwrap();
    cluster.add_replica().await.unwrap();
    cluster.wait_for_replicas().await.unwrap();
    assert_eq!(
        cluster.replicas[0].value(COUNT).await.unwrap().unwrap(),
        "0"
    );
}

#[tokio::test]
async fn a_dropped_cluster_leaves_nothing() {
    let mut cluster = cluster_with_events(1).await;
    let (root, port) = (
        cluster.workspace().path().to_owned(),
        cluster.primary.port(),
    );
    cluster.primary.freeze().unwrap();
    drop(cluster);
    assert!(!root.exists());
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
}

/// Not a test by itself: the process that the next one kills.
#[tokio::test]
#[ignore = "it runs until it is killed"]
async fn hold_a_cluster_open() {
    let mut cluster = cluster_with_events(1).await;
    cluster.replicas[0].freeze().unwrap();
    println!("\nworkspace {}", cluster.workspace().path().display());
    println!("port {}", cluster.replicas[0].port());
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_killed_process_leaves_no_cluster_behind() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "--exact",
        "cluster::hold_a_cluster_open",
        "--ignored",
        "--nocapture",
    ]);
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let mut holder = command.spawn().unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let mut told = async |name: &str| loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if let Some(value) = line.strip_prefix(name) {
            return value.to_owned();
        }
    };
    let root = timeout(4 * DEADLINE, told("workspace ")).await.unwrap();
    let port: u16 = timeout(DEADLINE, told("port "))
        .await
        .unwrap()
        .parse()
        .unwrap();
    assert!(std::fs::exists(&root).unwrap());
    holder.kill().await.unwrap();
    until("the directory is gone", DEADLINE, async || {
        Ok((!std::fs::exists(&root)?).then_some(()))
    })
    .await
    .unwrap();
    until("nothing listens", DEADLINE, async || {
        let connected = TcpStream::connect(("127.0.0.1", port)).await;
        Ok(connected.is_err().then_some(()))
    })
    .await
    .unwrap();
}

/// Sends every byte back.
async fn echo_server() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await
            });
        }
    });
    address
}

async fn echo(stream: &mut TcpStream) -> std::io::Result<u8> {
    stream.write_all(b"x").await?;
    stream.read_u8().await
}

#[tokio::test]
async fn the_proxy_delays_each_way_and_pipelined_requests_share_one_round_trip() {
    let proxy = DelayProxy::start(echo_server().await).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    echo(&mut stream).await.unwrap();
    proxy.set_delay(Duration::from_millis(60), Duration::from_millis(40));
    let start = Instant::now();
    let (mut reader, mut writer) = stream.split();
    let requests = async {
        for _ in 0..50 {
            writer.write_all(b"request").await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let mut answers = [0; 7 * 50];
    let (_, answered) = tokio::join!(requests, reader.read_exact(&mut answers));
    answered.unwrap();
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(150),
        "50 ms of sending and 100 ms of line: {took:?}"
    );
    assert!(
        took < Duration::from_millis(1000),
        "not a round trip each: {took:?}"
    );
}

#[tokio::test]
async fn a_black_hole_delivers_late_and_a_cut_drops_and_refuses() {
    let proxy = DelayProxy::start(echo_server().await).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    echo(&mut stream).await.unwrap();
    proxy.black_hole(true);
    assert!(
        timeout(Duration::from_millis(100), echo(&mut stream))
            .await
            .is_err()
    );
    proxy.black_hole(false);
    assert_eq!(
        timeout(DEADLINE, stream.read_u8()).await.unwrap().unwrap(),
        b'x'
    );
    proxy.cut(true);
    assert!(timeout(DEADLINE, stream.read_u8()).await.unwrap().is_err());
    until("connections are refused", DEADLINE, async || {
        Ok(TcpStream::connect(proxy.address())
            .await
            .is_err()
            .then_some(()))
    })
    .await
    .unwrap();
    proxy.cut(false);
    until("connections are accepted", DEADLINE, async || {
        let mut stream = TcpStream::connect(proxy.address()).await?;
        Ok(Some(echo(&mut stream).await?))
    })
    .await
    .unwrap();
}
