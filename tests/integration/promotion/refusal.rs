//! A server that is no longer the primary refuses writes by itself, whatever the gateway assumes.

use tidegate::postgres::pool::Node;
use tidegate::sql::{self, FailureKind, SqlStatement, Work};
use tidegate::testkit::{PostgresServer, Shutdown};
use tidegate_model::Timeline;

use super::{CONFIG, Failover, RECOVERY_MAX, cluster, count, node as answered_by, texts};
use crate::pool::{lease, node};
use crate::world::{configured, gateway_of, header, problem};

const INSERT: &str = "insert into notes (text) values ('x') returning id";

async fn write(node: &Node, timeline: u32) -> Result<(), FailureKind> {
    let statement = SqlStatement::parse(INSERT, true).unwrap();
    let lease = lease(node).await.unwrap();
    let work = Work {
        statement: &statement,
        arguments: &[],
        local: None,
    };
    let written = sql::write(&lease, work, Timeline(timeline), true).await;
    lease.settle();
    written.map(drop).map_err(|failure| failure.kind)
}

async fn writes_on(server: &PostgresServer, timeline: u32) {
    let node = node(&server.url()).await;
    for other in [timeline - 1, timeline + 1, 0x10 + timeline] {
        let refused = write(&node, other).await;
        assert_eq!(refused, Err(FailureKind::NotPrimary), "{other}");
    }
    assert_eq!(count(server).await, 0);
    assert_eq!(write(&node, timeline).await, Ok(()));
    assert_eq!(count(server).await, 1);
}

#[tokio::test]
async fn a_server_on_another_timeline_refuses_a_write_before_it_is_done() {
    let mut cluster = cluster().await;
    cluster.replicas[0].promote().await.unwrap();
    writes_on(&cluster.replicas[0], 2).await;
    cluster.replicas[1].stop(Shutdown::Fast).await.unwrap();
    writes_on(&cluster.primary, 1).await;
}

#[tokio::test]
async fn a_server_in_recovery_refuses_a_write_before_it_is_done() {
    let cluster = cluster().await;
    let node = node(&cluster.replicas[0].url()).await;
    assert_eq!(write(&node, 1).await, Err(FailureKind::NotPrimary));
    assert_eq!(count(&cluster.primary).await, 0);
}

/// The monitor samples so rarely that a request detects it first.
const HARDLY_WATCHED: &str = "[replication]\nsample_interval = \"20s\"\n";

/// The former primary is back at its address, as a stopped replica.
async fn demoted_unseen() -> Failover {
    let cluster = cluster().await;
    let gateway = gateway_of(&cluster);
    let gateway = configured(&cluster, gateway, &format!("{HARDLY_WATCHED}{CONFIG}"));
    let mut failover = Failover::over(cluster, gateway).await;
    let Failover { cluster, .. } = &mut failover;
    cluster.primary.stop(Shutdown::Fast).await.unwrap();
    cluster.replicas[0].promote().await.unwrap();
    let promoted = &cluster.replicas[0];
    cluster.primary.start_as_replica_of(promoted).await.unwrap();
    cluster.primary.pause_replay().await.unwrap();
    failover
}

#[tokio::test]
async fn a_demotion_that_a_request_finds_out_is_refused_and_never_replayed() {
    let failover = demoted_unseen().await;
    let response = failover.write("refused").await;
    assert_eq!(header(&response, "retry-after"), "1");
    problem(response, 503, "no-primary").await;
    let cause = "cannot set transaction read-write mode during recovery";
    failover.gateway.wait_for_log(cause).await.unwrap();
    assert_eq!(count(&failover.cluster.replicas[0]).await, 1);
    let (took, written) = failover.write_is_accepted("second").await;
    assert!(took < RECOVERY_MAX, "the monitor was notified: {took:?}");
    assert_eq!(answered_by(&written), ("primary", "eu-west-1"));
    assert_eq!(count(&failover.cluster.replicas[0]).await, 2);
}

#[tokio::test]
async fn a_strong_read_that_meets_a_demoted_server_is_discarded() {
    let failover = demoted_unseen().await;
    let insert = "insert into notes (text) values ('new')";
    failover.cluster.replicas[0].execute(insert).await.unwrap();
    // Either no known server can answer, or the new primary is found in time.
    let response = failover.read("strong").await;
    match response.status().as_u16() {
        200 => {
            assert_eq!(answered_by(&response), ("primary", "eu-west-1"));
            assert_eq!(texts(response).await, ["first", "new"]);
        }
        _ => drop(problem(response, 503, "no-primary").await),
    }
}
