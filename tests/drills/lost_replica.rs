//! The replica beside the gateway dies or freezes.

use std::time::Duration;

use tokio::time::Instant;

use super::drill::{Length, Row, ms};
use super::scene::{HERE, Scene, TO_NEXT, pass};

/// What a frozen node may cost.
const P99_FROZEN: Duration = Duration::from_millis(300);

pub(super) async fn killed(length: Length) -> Row {
    let mut row = Row::new("local replica: SIGKILL");
    let mut scene = Scene::start(length, "").await;
    let traffic = scene.steady_traffic().await;
    let dead = Instant::now();
    scene.world.replica().kill().await.unwrap();
    pass(Duration::from_secs(5)).await;
    let answers = scene.end(traffic).await;
    let after = answers.since(dead);
    row.show(format!("{} requests", answers.count()), true);
    row.show(
        format!("{} failed", answers.failed()),
        answers.failed() == 0,
    );
    // Opening a connection to the next node takes some of its round trips.
    let most = Duration::from_millis(100) + TO_NEXT;
    let slowest = after.slowest();
    row.show(format!("slowest {}", ms(slowest)), slowest < most);
    row
}

pub(super) async fn frozen(length: Length) -> Row {
    let mut row = Row::new("local replica: SIGSTOP");
    let mut scene = Scene::start(length, "").await;
    let traffic = scene.steady_traffic().await;
    let frozen = Instant::now();
    scene.world.replica().freeze().unwrap();
    scene.breaker_opened(1.0).await;
    let opened = frozen.elapsed();
    pass(Duration::from_secs(5)).await;
    let woken = Instant::now();
    scene.world.replica().thaw();
    let back = scene.reads_come_from(HERE).await;
    pass(Duration::from_secs(5)).await;
    let opened_in_all = scene.breaker_opened(1.0).await;
    let answers = scene.end(traffic).await;
    row.show(format!("{} requests", answers.count()), true);
    row.show(
        format!("{} failed", answers.failed()),
        answers.failed() == 0,
    );
    let second = answers
        .between(frozen, frozen + Duration::from_secs(1))
        .quantile(0.99);
    row.show(
        format!("p99 of the first second {}", ms(second)),
        second <= P99_FROZEN,
    );
    let later = answers
        .between(frozen + Duration::from_secs(1), woken)
        .quantile(0.99);
    row.show(format!("p99 thereafter {}", ms(later)), later <= P99_FROZEN);
    row.show(
        format!("breaker opened after {}", ms(opened)),
        opened < Duration::from_secs(2),
    );
    let returned = answers.since(woken);
    row.show(
        format!(
            "back after {} with p99 {}",
            ms(back - woken),
            ms(returned.quantile(0.99))
        ),
        returned.quantile(0.99) <= P99_FROZEN && back - woken <= length.dwell(),
    );
    row.show(
        format!("{} switches", answers.switches()),
        answers.switches() == 2,
    );
    row.show(
        format!("breaker opened {opened_in_all} times"),
        opened_in_all <= 1.0,
    );
    row
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_replica_fails_no_request_and_delays_few() {
    killed(Length::Short).await.verdict();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_replica_fails_no_request_and_comes_back_without_a_second_dip() {
    frozen(Length::Short).await.verdict();
}
