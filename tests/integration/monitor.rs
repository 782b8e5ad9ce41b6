//! The monitor against real PostgreSQL: each fault must read right, and where a test knows how old
//! a replica's data really is, that age must lie between lag and staleness.

use std::sync::Arc;
use std::time::Duration;

use tidegate::postgres::monitor::{Monitor, MonitorSettings};
use tidegate::testkit::{Cluster, DelayProxy, PostgresServer, Shutdown};
use tidegate_model::NodeId;
use tidegate_model::TimelineHistory;
use tidegate_model::{NodeCondition, NodeStatus};
use tokio::time::{Instant, timeout};

const DEADLINE: Duration = Duration::from_secs(60);
const WRITE: &str = "insert into events default values";
/// Far above what a healthy pair shows even while other tests compile and run beside it.
const SOON: Duration = Duration::from_secs(2);
const MAX_LAG: Duration = Duration::from_millis(300);
const PRIMARY: NodeId = NodeId::Primary;

/// A cluster of one replica and its monitor.
struct Watched {
    cluster: Cluster,
    monitor: Monitor,
    replica: NodeId,
}

impl Watched {
    async fn start() -> Self {
        let cluster = cluster().await;
        let urls = [cluster.primary.url(), cluster.replicas[0].url()];
        Self::over(cluster, urls).await
    }

    /// Monitors through other addresses than the servers' own, and waits until both are healthy.
    async fn over(cluster: Cluster, [primary, replica]: [String; 2]) -> Self {
        let (monitor, id) = monitor(&primary, &replica);
        let watched = Self {
            cluster,
            monitor,
            replica: id,
        };
        watched.primary_is(NodeCondition::Fresh).await;
        watched.replica_is(NodeCondition::Fresh).await;
        watched
    }

    fn server(&mut self) -> &mut PostgresServer {
        &mut self.cluster.replicas[0]
    }

    async fn write(&self) {
        self.cluster.primary.execute(WRITE).await.unwrap();
    }

    fn status(&self) -> Arc<NodeStatus> {
        self.monitor.status(&self.replica)
    }

    fn staleness(&self) -> Option<Duration> {
        self.status().staleness(Instant::now())
    }

    async fn primary_is(&self, condition: NodeCondition) {
        let holds = |status: &NodeStatus| status.condition == condition;
        self.wait(&PRIMARY, condition.as_str(), holds).await;
    }

    async fn replica_is(&self, condition: NodeCondition) -> Arc<NodeStatus> {
        let holds = |status: &NodeStatus| status.condition == condition;
        self.wait(&self.replica, condition.as_str(), holds).await
    }

    /// Waits until a published status of a node satisfies the condition.
    async fn wait(
        &self,
        node: &NodeId,
        what: &str,
        mut holds: impl FnMut(&NodeStatus) -> bool,
    ) -> Arc<NodeStatus> {
        let mut watch = self.monitor.watch(node);
        let waited = timeout(DEADLINE, watch.wait_for(|status| holds(status))).await;
        let status = waited.map(|seen| Arc::clone(&seen.unwrap()));
        status.unwrap_or_else(|_| panic!("not {what}: {:?}", self.monitor.status(node)))
    }

    /// Checks the replica's status after each of the next good samples.
    async fn after_each_sample(&self, count: usize, mut look: impl FnMut(&NodeStatus, Instant)) {
        let mut last = self.status().sampled_at;
        for _ in 0..count {
            let newer = |status: &NodeStatus| status.sampled_at > last;
            let status = self.wait(&self.replica, "sampled again", newer).await;
            look(&status, Instant::now());
            last = status.sampled_at;
        }
    }

    /// Asserts that an idle pair reads as caught up, over as many samples as take a few seconds.
    ///
    /// PostgreSQL's background writer adds a record some 15 seconds after the last activity. Later
    /// samples are not judged, because a disconnected replica is then really behind.
    async fn assert_stays_caught_up(&self, condition: NodeCondition) {
        let inserted = || self.monitor.status(&PRIMARY).position.map(|at| at.lsn);
        let start = inserted();
        let look = |status: &NodeStatus, now| {
            if inserted() != start {
                return;
            }
            assert!(
                status.staleness(now).is_some_and(|s| s < SOON),
                "{status:?}"
            );
            assert!(status.lag.is_some_and(|lag| lag < MAX_LAG), "{status:?}");
            assert_eq!(status.condition, condition, "{status:?}");
        };
        self.after_each_sample(60, look).await;
    }

    /// Commits something that the replica, which has been stopped since `still`, cannot replay, and
    /// asserts over many samples that lag is not above, and staleness not below, the possible
    /// truth.
    async fn assert_bounds_while_it_stands_still(&self, still: Instant) {
        self.write().await;
        let written = Instant::now();
        self.replica_is(NodeCondition::Lagging).await;
        let look = |status: &NodeStatus, now| {
            let (least, most) = (now - written, now - still);
            let lag = status.lag.unwrap();
            assert!(lag <= most, "lag {lag:?} above {most:?}");
            let staleness = status.staleness(now).unwrap();
            assert!(
                staleness >= least,
                "staleness {staleness:?} below {least:?}"
            );
        };
        self.after_each_sample(20, look).await;
    }
}

async fn cluster() -> Cluster {
    let cluster = Cluster::start(1).await.unwrap();
    let table = "create table events (id bigint generated always as identity)";
    cluster.primary.execute(table).await.unwrap();
    cluster.wait_for_replicas().await.unwrap();
    cluster
}

fn monitor(primary: &str, replica: &str) -> (Monitor, NodeId) {
    let id = NodeId::Replica("eu-west-1".parse().unwrap());
    let server = |url: &str| Arc::new(url.parse().unwrap());
    let nodes = vec![(PRIMARY, server(primary)), (id.clone(), server(replica))];
    let settings = MonitorSettings {
        application_name: "tidegate/eu-west-1".to_owned(),
        sample_interval: Duration::from_millis(50),
        sample_timeout: Duration::from_secs(1),
        max_lag: MAX_LAG,
        fail_after: 3,
        pass_after: 2,
    };
    (Monitor::start(nodes, settings), id)
}

#[tokio::test]
async fn an_idle_pair_stays_proven_fresh() {
    let watched = Watched::start().await;
    watched.assert_stays_caught_up(NodeCondition::Fresh).await;
    assert!(watched.monitor.first_round_done());
    assert!(watched.monitor.alive(Instant::now()));
}

#[tokio::test]
async fn an_idle_pair_reads_as_caught_up_after_a_wal_switch() {
    let watched = Watched::start().await;
    for _ in 0..3 {
        watched.write().await;
        let switch = "select pg_switch_wal()";
        watched.cluster.primary.execute(switch).await.unwrap();
        watched.cluster.wait_for_replicas().await.unwrap();
        watched.after_each_sample(2, |_, _| ()).await;
        watched.assert_stays_caught_up(NodeCondition::Fresh).await;
    }
}

#[tokio::test]
async fn a_paused_replica_lags_until_it_resumes() {
    let mut watched = Watched::start().await;
    let still = Instant::now();
    watched.server().pause_replay().await.unwrap();
    watched.assert_bounds_while_it_stands_still(still).await;
    watched.server().resume_replay().await.unwrap();
    watched.replica_is(NodeCondition::Fresh).await;
}

#[tokio::test]
async fn a_cut_stream_is_disconnected_but_fresh_until_something_is_written() {
    let mut watched = Watched::start().await;
    let still = Instant::now();
    watched.server().cut_stream().await.unwrap();
    watched.replica_is(NodeCondition::Disconnected).await;
    watched
        .assert_stays_caught_up(NodeCondition::Disconnected)
        .await;
    watched.assert_bounds_while_it_stands_still(still).await;
    watched.server().restore_stream().await.unwrap();
    watched.replica_is(NodeCondition::Fresh).await;
}

#[tokio::test]
async fn a_frozen_receiver_shows_as_lag() {
    let mut watched = Watched::start().await;
    let still = Instant::now();
    watched.server().freeze_receiver().await.unwrap();
    watched.assert_bounds_while_it_stands_still(still).await;
    watched.server().thaw();
    watched.replica_is(NodeCondition::Fresh).await;
}

#[tokio::test]
async fn a_stopped_replica_is_unreachable_and_its_lag_unknown() {
    let mut watched = Watched::start().await;
    watched.server().stop(Shutdown::Fast).await.unwrap();
    let status = watched.replica_is(NodeCondition::Unreachable).await;
    assert_eq!((status.lag, status.position), (None, None));
    assert_eq!(watched.staleness(), None);
    watched.primary_is(NodeCondition::Fresh).await;
    watched.server().start().await.unwrap();
    watched.replica_is(NodeCondition::Fresh).await;
}

#[tokio::test]
async fn a_frozen_replica_ages_until_it_is_unreachable() {
    let mut watched = Watched::start().await;
    let frozen = Instant::now();
    watched.server().freeze().unwrap();
    watched.write().await;
    let written = Instant::now();
    let status = watched.replica_is(NodeCondition::Unreachable).await;
    let now = Instant::now();
    if let Some(staleness) = status.staleness(now) {
        assert!(staleness >= now - written, "{staleness:?}");
    }
    assert!(status.sampled_at.unwrap() < frozen + Duration::from_secs(1));
    watched.server().thaw();
    watched.replica_is(NodeCondition::Fresh).await;
}

#[tokio::test]
async fn without_its_primary_a_replica_ages_and_does_not_lag() {
    let mut watched = Watched::start().await;
    watched
        .cluster
        .primary
        .stop(Shutdown::Immediate)
        .await
        .unwrap();
    let stopped = Instant::now();
    watched.primary_is(NodeCondition::Unreachable).await;
    let aged = |status: &NodeStatus| {
        let staleness = status.staleness(Instant::now());
        staleness.is_some_and(|staleness| staleness > MAX_LAG * 4)
    };
    let status = watched.wait(&watched.replica, "aged", aged).await;
    let now = Instant::now();
    assert!(status.staleness(now).unwrap() >= now - stopped);
    assert_eq!(status.lag, Some(Duration::ZERO));
    assert_eq!(status.condition, NodeCondition::Disconnected);
    watched.cluster.primary.start().await.unwrap();
    watched.primary_is(NodeCondition::Fresh).await;
    watched.replica_is(NodeCondition::Fresh).await;
}

#[tokio::test]
async fn a_restarted_replica_is_another_life() {
    let mut watched = Watched::start().await;
    let before = watched.status().identity.unwrap();
    watched.server().restart().await.unwrap();
    let known = |status: &NodeStatus| status.identity.is_some_and(|life| life != before);
    watched.wait(&watched.replica, "another life", known).await;
    watched.replica_is(NodeCondition::Fresh).await;
}

#[tokio::test]
async fn a_promoted_replica_is_the_primary_and_the_former_one_diverged() {
    let watched = Watched::start().await;
    let replica = &watched.cluster.replicas[0];
    replica.promote().await.unwrap();
    let acts = |status: &NodeStatus| status.acts_as_primary;
    let status = watched.wait(&watched.replica, "the primary", acts).await;
    assert_eq!(status.condition, NodeCondition::Fresh);
    assert_eq!(status.lag, Some(Duration::ZERO));
    assert_eq!(status.position.unwrap().timeline.0, 2);
    watched.primary_is(NodeCondition::Diverged).await;
    let former = watched.monitor.status(&PRIMARY);
    assert!(!former.acts_as_primary);
    assert_eq!(former.staleness(Instant::now()), None);

    // The observed history equals the one that the server recorded.
    let lineage = watched.monitor.knowledge().lineage.clone().unwrap();
    let file = "select pg_read_file('pg_wal/00000002.history')";
    let file = replica.value(file).await.unwrap().unwrap();
    let (system, timeline) = lineage.present();
    let written = TimelineHistory::parse(system, timeline, &file);
    assert_eq!(written.as_ref(), Some(&*lineage));
}

/// It has replayed more than the primary ever wrote, but none of the relevant records.
#[tokio::test]
async fn a_replica_ahead_on_another_timeline_does_not_read_as_caught_up() {
    let cluster = Cluster::start(2).await.unwrap();
    let schema = "create table events (id int generated always as identity)";
    cluster.primary.execute(schema).await.unwrap();
    cluster.wait_for_replicas().await.unwrap();
    let urls = [cluster.primary.url(), cluster.replicas[0].url()];
    let watched = Watched::over(cluster, urls).await;
    let [follower, promoted] = &watched.cluster.replicas[..] else {
        panic!("two replicas")
    };
    promoted.promote().await.unwrap();
    follower.stream_from(promoted).await.unwrap();
    for _ in 0..20 {
        promoted.execute(WRITE).await.unwrap();
    }
    let position = promoted.flushed().await.unwrap();
    follower.wait_for_replay(position).await.unwrap();
    let behind = format!("pg_current_wal_insert_lsn() < '{position}'");
    watched.cluster.primary.wait_until(&behind).await.unwrap();
    // It shows that a server was promoted: the monitored one is no longer the primary.
    let status = watched.replica_is(NodeCondition::Unknown).await;
    assert_eq!((status.lag, status.proven_at), (None, None));
    assert_eq!(watched.staleness(), None);
    watched.primary_is(NodeCondition::Diverged).await;
    assert!(watched.monitor.knowledge().primary().is_none());
}

/// The promoted server continues to answer on the connection that was opened under its former name.
#[tokio::test]
async fn a_promoted_servers_former_name_is_followed_to_the_replica_that_has_it_now() {
    let cluster = cluster().await;
    let mut lines = Vec::new();
    for server in [&cluster.primary, &cluster.replicas[0]] {
        lines.push(DelayProxy::start(server.address()).await.unwrap());
    }
    let urls = [0, 1].map(|line: usize| cluster.primary.url_at(lines[line].address()));
    let mut watched = Watched::over(cluster, urls).await;
    watched.cluster.primary.kill().await.unwrap();
    watched.cluster.promote_replica(0).await.unwrap();
    lines[0].set_target(watched.cluster.primary.address());
    watched.replica_is(NodeCondition::Promoted).await;
    watched.cluster.replace_replica(0).await.unwrap();
    lines[1].set_target(watched.cluster.replicas[0].address());
    let status = watched.replica_is(NodeCondition::Fresh).await;
    assert_eq!(status.position.unwrap().timeline.0, 2);
    watched.primary_is(NodeCondition::Fresh).await;
}

#[tokio::test]
async fn a_url_that_leads_to_a_replica_is_no_primary() {
    let cluster = cluster().await;
    let url = cluster.replicas[0].url();
    let (monitor, replica) = monitor(&url, &url);
    let mut watch = monitor.watch(&PRIMARY);
    let diverged = watch.wait_for(|status| status.condition == NodeCondition::Diverged);
    timeout(DEADLINE, diverged).await.unwrap().unwrap();
    assert_ne!(monitor.status(&replica).condition, NodeCondition::Fresh);
    assert_eq!(monitor.status(&replica).lag, None);
}

#[tokio::test]
async fn a_role_without_privileges_still_proves_staleness() {
    let cluster = cluster().await;
    let role = "create role plain login password 'x'";
    cluster.primary.execute(role).await.unwrap();
    cluster.wait_for_replicas().await.unwrap();
    let url = |server: &PostgresServer| format!("postgres://plain:x@{}/postgres", server.address());
    let urls = [url(&cluster.primary), url(&cluster.replicas[0])];
    let mut watched = Watched::over(cluster, urls).await;
    let still = Instant::now();
    watched.server().cut_stream().await.unwrap();
    watched.assert_stays_caught_up(NodeCondition::Fresh).await;
    watched.assert_bounds_while_it_stands_still(still).await;
}

#[tokio::test]
async fn a_role_that_may_not_identify_the_system_proves_nothing_and_fails_nothing() {
    let cluster = cluster().await;
    let role = "create role blind login password 'x'; \
        revoke execute on function pg_control_system() from public";
    cluster.primary.execute(role).await.unwrap();
    cluster.wait_for_replicas().await.unwrap();
    let url = |server: &PostgresServer| format!("postgres://blind:x@{}/postgres", server.address());
    let (monitor, replica) = monitor(&url(&cluster.primary), &url(&cluster.replicas[0]));
    for node in [PRIMARY, replica.clone()] {
        let mut watch = monitor.watch(&node);
        let sampled = watch.wait_for(|status| status.reachable == Some(true));
        timeout(DEADLINE, sampled).await.unwrap().unwrap();
    }
    assert_eq!(monitor.status(&PRIMARY).condition, NodeCondition::Fresh);
    assert_eq!(monitor.status(&replica).condition, NodeCondition::Unknown);
    assert_eq!(monitor.status(&replica).lag, None);
}

#[tokio::test]
async fn the_bounds_hold_over_long_lines() {
    let cluster = cluster().await;
    let primary = DelayProxy::start(cluster.primary.address()).await.unwrap();
    let replica = DelayProxy::start(cluster.replicas[0].address())
        .await
        .unwrap();
    primary.set_delay(Duration::from_millis(150), Duration::from_millis(20));
    replica.set_delay(Duration::from_millis(10), Duration::from_millis(90));
    let urls = [
        cluster.primary.url_at(primary.address()),
        cluster.replicas[0].url_at(replica.address()),
    ];
    let mut watched = Watched::over(cluster, urls).await;
    let still = Instant::now();
    watched.server().pause_replay().await.unwrap();
    watched.assert_bounds_while_it_stands_still(still).await;
}

#[tokio::test]
async fn a_black_hole_before_the_primary_is_seen_and_its_end_too() {
    let cluster = cluster().await;
    let proxy = DelayProxy::start(cluster.primary.address()).await.unwrap();
    let urls = [
        cluster.primary.url_at(proxy.address()),
        cluster.replicas[0].url(),
    ];
    let watched = Watched::over(cluster, urls).await;
    proxy.black_hole(true);
    watched.primary_is(NodeCondition::Unreachable).await;
    assert!(watched.staleness().unwrap() >= Duration::from_secs(1));
    assert!(watched.monitor.alive(Instant::now()));
    proxy.black_hole(false);
    watched.primary_is(NodeCondition::Fresh).await;
    watched.replica_is(NodeCondition::Fresh).await;
}
