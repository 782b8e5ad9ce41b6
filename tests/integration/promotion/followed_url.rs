//! `DATABASE_URL` is pointed at the promoted server, which no replica's URL names.

use std::time::Duration;

use futures_util::future::join_all;
use tidegate::testkit::{Cluster, DelayProxy, GatewayCommand, until};
use tokio::time::Instant;

use super::{CONFIG, Failover, RECOVERY_MAX, cluster, count, texts};
use crate::world::{DEADLINE, configured, gateway_of};

/// The former primary may be trusted for the ten seconds between two resolutions of its name.
const NOTICED_MAX: Duration = Duration::from_secs(15);

/// A gateway that reaches the primary over a link whose target can be changed.
async fn by_a_line(cluster: &Cluster) -> (GatewayCommand, DelayProxy) {
    let line = DelayProxy::start(cluster.primary.address()).await.unwrap();
    let url = cluster.primary.url_at(line.address());
    let gateway = gateway_of(cluster).env("DATABASE_URL", url);
    (configured(cluster, gateway, CONFIG), line)
}

#[tokio::test]
async fn writes_go_on_soon_when_the_url_leads_away_from_a_dead_primary() {
    let cluster = cluster().await;
    let (gateway, line) = by_a_line(&cluster).await;
    let mut failover = Failover::over(cluster, gateway).await;
    failover.cluster.primary.kill().await.unwrap();
    failover.cluster.replicas[1].promote().await.unwrap();
    line.set_target(failover.cluster.replicas[1].address());
    let (took, _) = failover.write_is_accepted("second").await;
    assert!(took < RECOVERY_MAX, "{took:?}");
    let read = failover.read("strong").await;
    assert_eq!(texts(read).await, ["first", "second"]);
}

#[tokio::test]
async fn a_replica_of_the_promoted_one_gives_the_former_primary_away() {
    let cluster = cluster().await;
    let (gateway, line) = by_a_line(&cluster).await;
    let failover = Failover::over(cluster, gateway).await;
    let [follower, promoted] = &failover.cluster.replicas[..] else {
        panic!("two replicas")
    };
    promoted.promote().await.unwrap();
    follower.stream_from(promoted).await.unwrap();
    // The former primary is alive, the URL still leads there, and every connection to it is open.
    until("the promotion is known", DEADLINE, async || {
        Ok((failover.write("former").await.status() == 503).then_some(()))
    })
    .await
    .unwrap();
    let former = count(&failover.cluster.primary).await;
    for _ in 0..20 {
        failover.primary_is_refused().await;
        assert_eq!(failover.read("eventual").await.status(), 200);
    }
    line.set_target(promoted.address());
    let (took, _) = failover.write_is_accepted("second").await;
    assert!(took < RECOVERY_MAX, "{took:?}");
    let written = join_all((0..50).map(|_| failover.write("more"))).await;
    assert!(written.iter().all(|response| response.status() == 201));
    assert_eq!(count(&failover.cluster.primary).await, former);
    assert_eq!(count(promoted).await, 52);
}

#[tokio::test]
async fn a_url_that_leads_elsewhere_is_noticed_while_the_old_connections_still_work() {
    let cluster = cluster().await;
    let (gateway, line) = by_a_line(&cluster).await;
    // Nothing indicates that the primary has been superseded.
    let gateway = gateway.env("DATABASE_READ_REPLICA_URL", "");
    let failover = Failover::over(cluster, gateway).await;
    let promoted = &failover.cluster.replicas[1];
    promoted.promote().await.unwrap();
    promoted
        .execute("insert into notes (text) values ('new')")
        .await
        .unwrap();
    line.set_target(promoted.address());
    let start = Instant::now();
    until("the new primary is read", DEADLINE, async || {
        let read = failover.read("strong").await;
        Ok((texts(read).await == ["first", "new"]).then_some(()))
    })
    .await
    .unwrap();
    assert!(start.elapsed() < NOTICED_MAX, "{:?}", start.elapsed());
    let former = count(&failover.cluster.primary).await;
    let written = join_all((0..50).map(|_| failover.write("more"))).await;
    assert!(written.iter().all(|response| response.status() == 201));
    assert_eq!(count(&failover.cluster.primary).await, former);
    let sessions = "not exists (select from pg_stat_activity \
        where application_name like 'tidegate/%')";
    let former = &failover.cluster.primary;
    former.wait_until(sessions).await.unwrap();
}
