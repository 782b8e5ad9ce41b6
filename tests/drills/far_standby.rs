//! The replica beside the gateway dies or freezes, and the next one is far away: its standby must be
//! large enough for what moves there, with the pool as it is by default.

use std::time::Duration;

use tokio::time::Instant;

use super::drill::{Length, Row, ms};
use super::scene::{NEXT, Scene, pass};

/// What a failover may add to the round trip for 99 of 100 requests in its first second.
const ADDED: Duration = Duration::from_millis(100);

/// Round trips to the next replica: as from Europe to the east of North America, and to Japan.
pub(super) const FAR: Duration = Duration::from_millis(120);
pub(super) const FARTHEST: Duration = Duration::from_millis(220);

/// The fault of the replica here.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Killed,
    Frozen,
}

pub(super) async fn taken_over(
    length: Length,
    fault: Fault,
    to_next: Duration,
    per_second: u32,
) -> Row {
    let name = match fault {
        Fault::Killed => "far standby: SIGKILL",
        Fault::Frozen => "far standby: SIGSTOP",
    };
    let mut row = Row::new(name);
    let to_primary = to_next + Duration::from_millis(60);
    let mut scene = Scene::start_far(length, "", to_next, to_primary).await;
    let traffic = scene.traffic_at(per_second);
    // The standby follows the load once a second, and opening a connection takes some round trips.
    pass(Duration::from_secs(5)).await;
    let lost = Instant::now();
    match fault {
        Fault::Killed => scene.world.replica().kill().await.unwrap(),
        Fault::Frozen => scene.world.replica().freeze().unwrap(),
    }
    pass(Duration::from_secs(5)).await;
    if let Fault::Frozen = fault {
        scene.world.replica().thaw();
    }
    let answers = scene.end(traffic).await;
    row.show(
        format!(
            "{per_second}/s, next replica {} away: {} requests",
            ms(to_next),
            answers.count()
        ),
        true,
    );
    row.show(
        format!("{} failed", answers.failed()),
        answers.failed() == 0,
    );
    let first_second = answers.between(lost, lost + Duration::from_secs(1));
    let p99 = first_second.quantile(0.99);
    row.show(
        format!("p99 of the first second {}", ms(p99)),
        p99 <= to_next + ADDED,
    );
    let after = answers.between(lost, lost + Duration::from_secs(5));
    row.show(format!("slowest {}", ms(after.slowest())), true);
    let moved = after.0.iter().any(|answer| answer.region == NEXT);
    row.show("moved to the next replica", moved);
    row
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_far_standby_takes_over_from_a_killed_replica_at_once() {
    let row = taken_over(Length::Short, Fault::Killed, FAR, 200).await;
    row.verdict();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_far_standby_takes_over_from_a_frozen_replica_at_once() {
    let row = taken_over(Length::Short, Fault::Frozen, FARTHEST, 200).await;
    row.verdict();
}
