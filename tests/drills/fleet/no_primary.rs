//! The primary is down: what every region lacks is no reason to leave one.

use std::time::Duration;

use super::scene::{ENTRY, Load, NEXT, PREFERRED, Watch, settle, start_with_notes};
use crate::drills::drill::{Length, Row};
use crate::drills::scene::pass;
use crate::world::migrated_cluster;

const POLICY: &str = "\
policy near {
  prefer local | us-east-1 | ap-southeast-1
  leave  when errors > 2% or lag > 3s for 2s
  return when errors < 1% and lag < 1s for 2s
  retry  idempotent 1 budget 20%
}
";

pub(super) async fn nowhere(length: Length) -> Row {
    let mut row = Row::new("the primary is down");
    let mut cluster = migrated_cluster(1).await;
    let variables = vec![
        ("DATABASE_URL", cluster.primary.url()),
        ("DATABASE_READ_REPLICA_URL", cluster.replicas[0].url()),
    ]
    .into_iter()
    .flat_map(|it| [ENTRY, PREFERRED, NEXT].map(|at| (at, it.0, it.1.clone())))
    .collect();
    let scene = start_with_notes(POLICY, variables).await;
    let watches = [ENTRY, PREFERRED, NEXT].map(|at| Watch::begin(&scene, at));
    let (reads, writes) = match length {
        Length::Full => (200, 20),
        Length::Short => (50, 10),
    };
    let load = Load::of(&scene, "/notes", reads, writes);
    settle().await;
    cluster.primary.kill().await.unwrap();
    pass(Duration::from_secs(6)).await;
    let (reads, writes) = load.stop().await;
    row.show(format!("{} reads", reads.count()), reads.count() > 0);
    row.show(
        format!("{} failed {:?}", reads.failed(), reads.problems()),
        reads.failed() == 0,
    );
    let refused = writes.with_status(503).count();
    row.show(format!("{refused} writes refused"), refused > 0);
    for watch in watches {
        let left = watch.end().await.left();
        row.show(format!("leaves {left:?}"), left.is_empty());
    }
    row
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_every_region_lacks_makes_none_leave() {
    nowhere(Length::Short).await.verdict();
}
