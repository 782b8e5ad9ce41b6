//! Every database is down, then up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join;
use tidegate::testkit::{DelayProxy, Shutdown};
use tokio::time::{Instant, interval};

use super::drill::{Length, Row, ms};
use super::scene::{READ, Scene, pass};
use super::traffic::Traffic;

const SERVES_WITHIN: Duration = Duration::from_secs(2);
const STRONG_PER_SECOND: u32 = 20;
/// The default of `[steering] reconnects_per_second_max`, twice since any second may hold the end
/// of one burst and the start of the next, and one a second of the monitor's.
const CONNECTIONS_PER_SECOND_MAX: usize = 2 * 20 + 1;

pub(super) async fn everything(length: Length) -> Row {
    let mut row = Row::new("everything down, then up");
    let mut scene = Scene::start(length, "").await;
    let traffic = scene.steady_traffic().await;
    let (client, url) = (scene.world.client.clone(), scene.world.gateway.url(READ));
    let strong = move |_| client.get(&url).header("X-Consistency", "strong");
    let strong = Traffic::start(STRONG_PER_SECOND, strong);
    let cluster = &mut scene.world.cluster;
    for server in cluster.replicas.iter_mut().chain([&mut cluster.primary]) {
        server.stop(Shutdown::Immediate).await.unwrap();
    }
    pass(match length {
        Length::Full => Duration::from_secs(20),
        Length::Short => Duration::from_secs(4),
    })
    .await;
    let (watched, cluster) = (AtomicBool::new(true), &mut scene.world.cluster);
    let start = async {
        cluster.primary.start().await.unwrap();
        let up = Instant::now();
        for replica in &mut cluster.replicas {
            replica.start().await.unwrap();
        }
        pass(Duration::from_secs(4)).await;
        watched.store(false, Ordering::Relaxed);
        up
    };
    let (up, busiest) = join(start, busiest_second(&scene.lines.primary, &watched)).await;
    let strong = strong.stop().await;
    let answers = scene.end(traffic).await;
    for (what, answers) in [("reads", &answers), ("strong reads", &strong)] {
        let served = answers.since(up).with_status(200).0.into_iter();
        let first = served.map(|it| it.sent + it.took - up).min();
        let first = first.unwrap_or(Duration::MAX);
        row.show(
            format!("serves {what} {} after the database", ms(first)),
            first <= SERVES_WITHIN,
        );
    }
    let settled = answers.since(up + SERVES_WITHIN);
    row.show(
        format!("{} failed later", settled.failed()),
        settled.failed() == 0,
    );
    row.show(
        format!("{busiest} connections to the primary in the busiest second"),
        busiest <= CONNECTIONS_PER_SECOND_MAX,
    );
    row
}

/// The most connections that were opened within a second.
async fn busiest_second(line: &DelayProxy, watched: &AtomicBool) -> usize {
    const TICKS: usize = 20;
    let mut ticks = interval(Duration::from_millis(1_000 / TICKS as u64));
    let mut counts = Vec::new();
    while watched.load(Ordering::Relaxed) {
        ticks.tick().await;
        counts.push(line.connections());
    }
    let seconds = counts.windows(TICKS + 1);
    seconds
        .map(|second| second[TICKS] - second[0])
        .max()
        .unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_is_served_again_soon_after_everything_was_down() {
    everything(Length::Short).await.verdict();
}
