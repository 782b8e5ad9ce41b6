//! One node's pool over a real server.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, join3};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tidegate::postgres::Session;
use tidegate::postgres::monitor::{Monitor, MonitorSettings};
use tidegate::postgres::pool::PoolSettings;
use tidegate::postgres::pool::{Lease, Node, NodeConfig, PoolError};
use tidegate::testkit::{Cluster, DelayProxy};
use tidegate_model::NodeId;
use tokio::time::{Instant, sleep, timeout};

const DEADLINE: Duration = Duration::from_secs(30);
const ACQUIRE_TIMEOUT: Duration = Duration::from_millis(700);

/// A node with two connections whose server life the monitor knows.
pub(crate) async fn node(url: &str) -> Arc<Node> {
    watched_node(url).await.0
}

async fn watched_node(url: &str) -> (Arc<Node>, Arc<Monitor>) {
    let settings = MonitorSettings {
        application_name: "tidegate/monitor".to_owned(),
        sample_interval: Duration::from_millis(50),
        sample_timeout: Duration::from_secs(1),
        max_lag: Duration::from_secs(5),
        fail_after: 3,
        pass_after: 2,
    };
    let server: tidegate::postgres::Server = url.parse().unwrap();
    let watched = vec![(NodeId::Primary, Arc::new(server.clone()))];
    let monitor = Arc::new(Monitor::start(watched, settings));
    let mut watch = monitor.watch(&NodeId::Primary);
    let sampled = watch.wait_for(|status| status.identity.is_some());
    timeout(DEADLINE, sampled).await.unwrap().unwrap();
    let config = NodeConfig {
        id: NodeId::Primary,
        region: None,
        server,
        session: Session {
            application_name: "tidegate/pool".to_owned(),
            statement_timeout: DEADLINE,
        },
        connects_per_second_max: 20,
        loads: Arc::default(),
    };
    let settings = PoolSettings {
        connections_max: 2,
        acquire_timeout: ACQUIRE_TIMEOUT,
        ..PoolSettings::default()
    };
    let node = Node::new(config, &settings, Arc::new(Vec::new), Arc::clone(&monitor)).unwrap();
    (Arc::new(node), monitor)
}

/// Leases for a request with a distant deadline.
pub(crate) async fn lease(node: &Node) -> Result<Lease, PoolError> {
    node.lease(Instant::now() + DEADLINE).await
}

async fn pid(node: &Node) -> i32 {
    let lease = lease(node).await.unwrap();
    let row = lease
        .client()
        .query_one("select pg_backend_pid()", &[])
        .await;
    lease.settle();
    row.unwrap().get(0)
}

#[tokio::test]
async fn a_settled_lease_is_used_again_and_a_dropped_one_is_closed() {
    let cluster = Cluster::start(0).await.unwrap();
    let node = node(&cluster.primary.url()).await;
    let first = pid(&node).await;
    assert_eq!(pid(&node).await, first);
    drop(lease(&node).await.unwrap());
    assert_ne!(pid(&node).await, first);
    let gone = format!("not exists (select from pg_stat_activity where pid = {first})");
    cluster.primary.wait_until(&gone).await.unwrap();
}

#[tokio::test]
async fn a_lost_connection_is_replaced_beside_an_idle_one() {
    let cluster = Cluster::start(0).await.unwrap();
    let node = node(&cluster.primary.url()).await;
    let warming = tokio::spawn(Arc::clone(&node).keep_warm());
    let sessions = "from pg_stat_activity where application_name = 'tidegate/pool'";
    let two = format!("count(*) = 2 {sessions}");
    cluster.primary.wait_until(&two).await.unwrap();
    let one = format!("select min(pid) {sessions}");
    let pid = cluster.primary.value(&one).await.unwrap().unwrap();
    let end = format!("select pg_terminate_backend({pid})");
    cluster.primary.execute(&end).await.unwrap();
    let others = format!("{two} and pid <> {pid}");
    cluster.primary.wait_until(&others).await.unwrap();
    warming.abort();
}

#[tokio::test]
async fn a_request_that_lost_its_connection_gets_one_that_answers() {
    let cluster = Cluster::start(0).await.unwrap();
    let node = node(&cluster.primary.url()).await;
    let two = [lease(&node).await.unwrap(), lease(&node).await.unwrap()];
    two.into_iter().for_each(|lease| _ = lease.settle());
    let silent = cluster.primary.value(
        "select string_agg(pid::text, ' ') from pg_stat_activity \
         where application_name = 'tidegate/pool'",
    );
    let silent = silent.await.unwrap().unwrap();
    let signal = |signal| {
        for pid in silent.split(' ') {
            kill(Pid::from_raw(pid.parse().unwrap()), signal).unwrap();
        }
    };
    signal(Signal::SIGSTOP);
    let checked = node.lease_checked(Instant::now() + DEADLINE).await;
    signal(Signal::SIGCONT);
    let checked = checked.unwrap();
    let row = checked.client().query_one("select pg_backend_pid()", &[]);
    let pid: i32 = row.await.unwrap().get(0);
    assert!(!silent.contains(&pid.to_string()), "{pid} of {silent}");
}

#[tokio::test]
async fn a_full_pool_is_busy_and_those_who_gave_up_hold_nobody_up() {
    let cluster = Cluster::start(0).await.unwrap();
    let node = node(&cluster.primary.url()).await;
    let held = [lease(&node).await.unwrap(), lease(&node).await.unwrap()];
    let refused = join_all((0..50).map(|_| lease(&node))).await;
    assert!(
        refused
            .iter()
            .all(|lease| matches!(lease, Err(PoolError::Busy(_) | PoolError::Overloaded(..))))
    );
    held.into_iter().for_each(|lease| _ = lease.settle());
    let start = Instant::now();
    lease(&node).await.unwrap().settle();
    assert!(start.elapsed() < ACQUIRE_TIMEOUT);
}

#[tokio::test]
async fn who_would_queue_in_vain_is_refused_at_once_and_a_short_queue_is_not() {
    let cluster = Cluster::start(0).await.unwrap();
    let node = node(&cluster.primary.url()).await;
    let held = [lease(&node).await.unwrap(), lease(&node).await.unwrap()];
    let insist = async || loop {
        match lease(&node).await {
            Ok(lease) => break lease,
            Err(_busy) => sleep(Duration::from_millis(1)).await,
        }
    };
    let third = async {
        loop {
            let answer = timeout(ACQUIRE_TIMEOUT / 10, lease(&node)).await;
            if matches!(answer, Ok(Err(PoolError::Overloaded(..)))) {
                break held.into_iter().for_each(|lease| _ = lease.settle());
            }
        }
    };
    let (first, second, refused) = join3(insist(), insist(), timeout(DEADLINE, third)).await;
    refused.expect("the third is refused at once");
    [first, second]
        .into_iter()
        .for_each(|lease| _ = lease.settle());
    lease(&node).await.unwrap().settle();
}

#[tokio::test]
async fn connections_to_an_earlier_life_are_never_lent() {
    let mut cluster = Cluster::start(0).await.unwrap();
    // Its connections outlive the server, as those through a load balancer may.
    let proxy = DelayProxy::start(cluster.primary.address()).await.unwrap();
    let node = node(&cluster.primary.url_at(proxy.address())).await;
    let before = lease(&node).await.unwrap();
    let life = before.life();
    before.settle();
    cluster.primary.restart().await.unwrap();
    let lent = async {
        loop {
            match lease(&node).await {
                Ok(lease) if lease.client().simple_query("select 1").await.is_ok() => break lease,
                _ => {}
            }
        }
    };
    let after = timeout(DEADLINE, lent).await.unwrap();
    assert!(after.life().started_at_us > life.started_at_us);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_unreachable_in_time_and_back_by_itself() {
    let cluster = Cluster::start(0).await.unwrap();
    let proxy = DelayProxy::start(cluster.primary.address()).await.unwrap();
    let node = node(&cluster.primary.url_at(proxy.address())).await;
    proxy.black_hole(true);
    let start = Instant::now();
    let error = lease(&node).await.map(drop).unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    assert!(start.elapsed() < 2 * ACQUIRE_TIMEOUT);
    proxy.black_hole(false);
    let back = async { while lease(&node).await.is_err() {} };
    timeout(DEADLINE, back).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_leads_elsewhere_is_not_lent_before_the_monitor_knows_the_server() {
    let cluster = Cluster::start(1).await.unwrap();
    let proxy = DelayProxy::start(cluster.primary.address()).await.unwrap();
    let url = cluster.primary.url_at(proxy.address());
    let (node, monitor) = watched_node(&url).await;
    // Of the two servers that the name leads to alternately, one has started later than the other.
    for server in [&cluster.replicas[0], &cluster.primary] {
        proxy.set_target(server.address());
        drop(lease(&node).await.unwrap()); // detecting it takes a separate connection
        let there = |lease: &Lease| lease.life().port == Some(server.port().into());
        let lent = async {
            loop {
                if let Ok(lease) = lease(&node).await
                    && there(&lease)
                {
                    break lease;
                }
            }
        };
        let lease = timeout(DEADLINE, lent).await.unwrap();
        let known = monitor.status(&NodeId::Primary).last_identity;
        assert_eq!(known, Some(lease.life()));
    }
}
