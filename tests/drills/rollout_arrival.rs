//! How soon what was rolled out, and what was taken back, is in force on every gateway.

use std::time::Duration;

use tidegate::testkit::until;
use tokio::time::sleep;

use super::drill::{Length, Row, ms};
use crate::rollouts::kit::{LOCAL, Scene, TO_US, in_force};
use crate::world::DEADLINE;

/// The contract.
const IN_FORCE_MAX: Duration = Duration::from_secs(2);

/// Measures rounds of a finished rollout and of the command that takes it back.
pub(super) async fn everywhere(length: Length) -> Row {
    let rounds = match length {
        Length::Full => 100,
        Length::Short => 6,
    };
    let scene = Scene::start("").await;
    scene.push(LOCAL).await;
    scene.push(TO_US).await;
    scene.put_in_force("1").await;
    let (mut forth, mut back) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        scene.roll_out_by_hand("2").await;
        forth.push(until_everywhere(&scene, "2").await);
        // At any moment between two polls.
        sleep(Duration::from_millis(fastrand::u64(0..1_000))).await;
        let (taken_back, command) =
            tokio::join!(until_everywhere(&scene, "1"), scene.done(&["rollback"]));
        assert_eq!(command, "revision 1 is in force");
        back.push(taken_back);
        sleep(Duration::from_millis(fastrand::u64(0..1_000))).await;
    }
    let mut row = Row::new("in force on every gateway");
    for (what, times) in [("rollout", &mut forth), ("rollback", &mut back)] {
        times.sort();
        let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
        let (half, tail, most) = (at(0.5), at(0.95), at(1.0));
        let figures = format!(
            "{what}: p50 {}, p95 {}, max {}",
            ms(half),
            ms(tail),
            ms(most)
        );
        // Of a few rounds the tail is one round.
        let judged = match length {
            Length::Full => tail,
            Length::Short => half,
        };
        row.show(figures, judged <= IN_FORCE_MAX);
    }
    row
}

/// Waits until all gateways decide by a revision; returns how long ago its rollout has ended, by the
/// primary's clock.
async fn until_everywhere(scene: &Scene, revision: &str) -> Duration {
    until("it is in force everywhere", DEADLINE, async || {
        for gateway in &scene.gateways {
            if in_force(gateway).await != revision {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await
    .unwrap();
    let sql = "select extract(epoch from clock_timestamp() - ended_at) from tidegate.traffic_rollout \
        where outcome = 'done' order by rollout desc limit 1";
    let age = scene.cluster.primary.value(sql).await.unwrap();
    Duration::from_secs_f64(age.unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_and_a_rollback_are_in_force_on_every_gateway_within_two_seconds() {
    let row = everywhere(Length::Short).await;
    println!("{row}");
    row.verdict();
}
