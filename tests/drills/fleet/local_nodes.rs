//! The replica beside the entry and the application there die: the next nodes serve at once, and when the
//! replica has been missing for long enough, the next region.

use std::time::Duration;

use tidegate::testkit::{Cluster, DelayProxy};
use tokio::time::Instant;

use super::scene::{ENTRY, NEXT, NOISE, PREFERRED, settle, start_with_notes, until_state, way};
use crate::drills::drill::{Length, Row, ms};
use crate::drills::scene::pass;
use crate::drills::traffic::Traffic;
use crate::handing_on::{FleetScene, REGIONS};
use crate::world::migrated_cluster;

const POLICY: &str = "\
policy near {
  prefer local | us-east-1 | ap-southeast-1
  leave  when lag > 2s for 2s
  return when lag < 1s for 10s
  retry  idempotent 1 budget 20%
}
";

const CLAUSE: Duration = Duration::from_secs(2);

pub(super) async fn lost(length: Length) -> Row {
    let mut row = Row::new("local replica and application die");
    let cluster = migrated_cluster(1).await;
    let (replica, primary) = (&cluster.replicas[0], &cluster.primary);
    let replica = DelayProxy::start(replica.address()).await.unwrap();
    let primary = DelayProxy::start(primary.address()).await.unwrap();
    primary.set_round_trip(2 * way(ENTRY, PREFERRED));
    let mut scene = scene(&cluster, &replica, &primary).await;
    let (per_second, writes_per_second) = match length {
        Length::Full => (100, 20),
        Length::Short => (50, 10),
    };
    let traffic = |path, per_second| {
        let (client, url) = (scene.client.clone(), scene.gateway(ENTRY).url(path));
        Traffic::start(per_second, move |_| client.get(&url))
    };
    let (notes, pages) = (traffic("/notes", per_second), traffic("/app/x", per_second));
    let (client, url) = (scene.client.clone(), scene.gateway(ENTRY).url("/notes"));
    let writes = Traffic::start(writes_per_second, move |_| client.post(&url));
    settle().await;
    let died = Instant::now();
    replica.cut(true);
    // Nothing is heard there any more.
    scene.members[ENTRY].app = crate::upstream::kit::App::answering(200, "elsewhere").await;
    until_state(&scene, ENTRY, ENTRY, "left").await;
    let left = Instant::now();
    pass(Duration::from_secs(2)).await;
    let (notes, pages, writes) = (notes.stop().await, pages.stop().await, writes.stop().await);

    let failed = notes.failed() + pages.failed();
    row.show(format!("{} reads", notes.count() + pages.count()), true);
    let problems = [notes.problems(), pages.problems()];
    row.show(format!("{failed} failed {problems:?}"), failed == 0);
    row.show(
        format!("{} writes failed", writes.failed()),
        writes.failed() == 0,
    );
    // A replica that does not answer has no lag that is known, which the clause counts from.
    let took = left - died;
    row.show(
        format!("left after {}", ms(took)),
        (CLAUSE..CLAUSE + Duration::from_secs(4)).contains(&took),
    );
    let handed_on = notes.since(died).served_in(REGIONS[PREFERRED]);
    let first = handed_on
        .0
        .first()
        .map(|it| it.sent.saturating_duration_since(left));
    let first = first.unwrap_or(Duration::MAX);
    row.show(
        format!("first read handed on {} later", ms(first)),
        first <= Duration::from_millis(50) + NOISE / 5,
    );
    let pages = pages.since(died).served_in(REGIONS[PREFERRED]).count();
    row.show(format!("{pages} pages handed on"), pages > 0);
    row
}

/// The gateways; only the entry has a replica, and the primary is far from it.
async fn scene(cluster: &Cluster, replica: &DelayProxy, primary: &DelayProxy) -> FleetScene {
    let url = cluster.primary.url();
    let variables = vec![
        (
            ENTRY,
            "DATABASE_URL",
            cluster.primary.url_at(primary.address()),
        ),
        (
            ENTRY,
            "DATABASE_READ_REPLICA_URL",
            cluster.replicas[0].url_at(replica.address()),
        ),
        (PREFERRED, "DATABASE_URL", url.clone()),
        (NEXT, "DATABASE_URL", url),
    ];
    start_with_notes(POLICY, variables).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_local_nodes_die_the_next_ones_serve_and_then_the_next_region() {
    lost(Length::Short).await.verdict();
}
