//! The entry's database is suddenly far away: its region leaves by the time that its statements take.

use std::time::Duration;

use tidegate::testkit::DelayProxy;
use tokio::time::Instant;

use super::scene::{ENTRY, NEXT, PREFERRED, settle, start_with_notes, until_state};
use crate::drills::scene::pass;
use crate::drills::traffic::Traffic;
use crate::handing_on::REGIONS;
use crate::world::migrated_cluster;

const POLICY: &str = "\
policy near {
  prefer local | us-east-1 | ap-southeast-1
  leave  when p99 > 300ms for 1s
  return when p99 < 200ms for 60s
  retry  idempotent 1 budget 20%
}
";

/// Twice what the policy allows.
const FAR: Duration = Duration::from_millis(600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_whose_statements_take_long_leaves_by_p99_and_fails_no_read() {
    let cluster = migrated_cluster(0).await;
    let line = DelayProxy::start(cluster.primary.address()).await.unwrap();
    let url = cluster.primary.url();
    let variables = vec![
        (
            ENTRY,
            "DATABASE_URL",
            cluster.primary.url_at(line.address()),
        ),
        (PREFERRED, "DATABASE_URL", url.clone()),
        (NEXT, "DATABASE_URL", url),
    ];
    let scene = start_with_notes(POLICY, variables).await;
    let (client, url) = (scene.client.clone(), scene.gateway(ENTRY).url("/notes"));
    let reads = Traffic::start(30, move |_| client.get(&url));
    settle().await;
    until_state(&scene, ENTRY, ENTRY, "well").await;
    line.set_round_trip(FAR);
    until_state(&scene, ENTRY, ENTRY, "left").await;
    let left = Instant::now();
    pass(Duration::from_secs(1)).await;
    let reads = reads.stop().await;
    assert_eq!(reads.failed(), 0, "{:?}", reads.problems());
    let since = reads.since(left);
    let handed_on = since.served_in(REGIONS[PREFERRED]).count();
    assert_eq!(handed_on, since.count(), "all that came since it has left");
}
