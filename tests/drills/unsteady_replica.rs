//! The link to the replica beside the gateway fails and recovers, once or repeatedly.

use std::time::Duration;

use tokio::time::Instant;

use super::drill::{Length, Row, ms};
use super::scene::{HERE, Scene, pass};

const SWITCHES_MAX: usize = 2;

pub(super) async fn black_holed(length: Length) -> Row {
    let mut row = Row::new("link black-holed, then healed");
    let scene = Scene::start(length, "").await;
    let traffic = scene.steady_traffic().await;
    scene.lines.here.black_hole(true);
    pass(Duration::from_secs(8)).await;
    let healed = Instant::now();
    scene.lines.here.black_hole(false);
    let back = scene.reads_come_from(HERE).await - healed;
    pass(Duration::from_secs(2)).await;
    let answers = scene.end(traffic).await;
    row.show(format!("{} requests", answers.count()), true);
    row.show(
        format!("{} failed", answers.failed()),
        answers.failed() == 0,
    );
    row.show(format!("back after {}", ms(back)), back <= length.dwell());
    row
}

pub(super) async fn alternating(length: Length) -> Row {
    let mut row = Row::new("good and bad in turns");
    let scene = Scene::start(length, "").await;
    let (turn, turns) = match length {
        Length::Full => (Duration::from_secs(5), 24),
        Length::Short => (Duration::from_secs(2), 8),
    };
    let traffic = scene.steady_traffic().await;
    for number in 0..turns {
        scene.lines.here.black_hole(number % 2 == 1);
        pass(turn).await;
    }
    let answers = scene.end(traffic).await;
    row.show(format!("{} requests", answers.count()), true);
    row.show(
        format!("{} failed", answers.failed()),
        answers.failed() == 0,
    );
    let switches = answers.switches();
    row.show(format!("{switches} switches"), switches <= SWITCHES_MAX);
    row
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_link_fails_no_request_and_is_used_again_within_the_dwell_time() {
    black_holed(Length::Short).await.verdict();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_alternates_is_left_once() {
    alternating(Length::Short).await.verdict();
}
