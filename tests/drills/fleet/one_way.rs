//! Ways that work in one direction only.

use std::time::Duration;

use tokio::time::Instant;

use super::scene::{
    ENTRY, LEFT_WITHIN, Load, NEXT, NOISE, PREFERRED, Watch, settle, start, until_state,
};
use crate::drills::drill::{Length, Row, ms};
use crate::drills::scene::pass;
use crate::handing_on::{REGIONS, named};

const POLICY: &str = "\
policy away {
  prefer us-east-1 | ap-southeast-1 | local
  retry  idempotent 2 budget 20%
}
";

pub(super) async fn packets_lost(length: Length) -> Row {
    let mut row = Row::new("packets lost one way only");
    let scene = start(POLICY, named).await;
    let load = Load::start(&scene, length);
    settle().await;
    let watches = [ENTRY, PREFERRED, NEXT].map(|at| Watch::begin(&scene, at));
    pass(Duration::from_millis(200)).await;
    // What the entry's host sends does not arrive, on whichever side's connections.
    scene.lines[&(ENTRY, PREFERRED)].lose_to_target(true);
    scene.lines[&(PREFERRED, ENTRY)].lose_to_client(true);
    let began = Instant::now();
    pass(Duration::from_millis(2_500)).await;
    let (reads, _writes) = load.stop().await;
    let [entry, preferred, next] = watches;
    row.show(format!("{} failed", reads.failed()), reads.failed() == 0);
    for (watch, other) in [(entry, PREFERRED), (preferred, ENTRY)] {
        let left = watch.end().await.left_after(REGIONS[other], began);
        let left = left.unwrap_or(Duration::MAX);
        row.show(
            format!("{} left after {}", REGIONS[other], ms(left)),
            left <= LEFT_WITHIN + NOISE,
        );
    }
    let moved = next.end().await.left();
    row.show(format!("the third one leaves {moved:?}"), moved.is_empty());
    row
}

pub(super) async fn connecting_refused(length: Length) -> Row {
    let mut row = Row::new("connecting refused one way only");
    let scene = start(POLICY, named).await;
    let load = Load::start(&scene, length);
    settle().await;
    let watch = Watch::begin(&scene, PREFERRED);
    scene.lines[&(ENTRY, PREFERRED)].cut(true);
    until_state(&scene, ENTRY, PREFERRED, "unreachable").await;
    let left = Instant::now();
    pass(Duration::from_secs(2)).await;
    let own = scene.view(ENTRY).await.regions;
    let (reads, writes) = load.stop().await;
    let other = watch.end().await.left();
    let later = writes.since(left);
    let failed = reads.failed() + later.failed();
    row.show(format!("{failed} failed"), failed == 0);
    let next = reads.since(left).served_in(REGIONS[NEXT]).count();
    row.show(format!("{next} reads served in the next one"), next > 0);
    let lost = own.iter().filter(|it| it.state != "well");
    let lost: Vec<_> = lost.map(|it| it.region.as_str()).collect();
    row.show(
        format!("that side leaves {lost:?}"),
        lost == [REGIONS[PREFERRED]],
    );
    row.show(format!("the other leaves {other:?}"), other.is_empty());
    row
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_packets_are_lost_one_way_both_sides_leave_each_other() {
    packets_lost(Length::Short).await.verdict();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_connecting_is_refused_one_way_only_that_side_leaves() {
    connecting_refused(Length::Short).await.verdict();
}
