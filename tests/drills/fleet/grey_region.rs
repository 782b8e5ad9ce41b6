//! The region that serves becomes ten times slower, and recovers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use tokio::time::{Instant, sleep};

use super::scene::{ENTRY, Load, NEXT, NOISE, PREFERRED, Watch, settle, start, until_state, way};
use crate::drills::drill::{Length, Row, ms};
use crate::drills::scene::pass;
use crate::handing_on::REGIONS;

/// How long the application takes. The limit is far from that and from ten times that: the machine adds to both.
const CALM: u64 = 50;
const POLICY: &str = "\
policy away {
  prefer us-east-1 | ap-southeast-1 | local
  leave  when p99 > 300ms for 1s
  return when p99 < 250ms for 2s ramp 3s
  retry  idempotent 2 budget 20%
}
";

/// The window of the quantities, and what the clause asks for.
const WINDOW: Duration = Duration::from_secs(2);
const CLAUSE: Duration = Duration::from_secs(1);

pub(super) async fn slow(length: Length) -> Row {
    let mut row = Row::new("a region ten times slower");
    let millis = Arc::new(AtomicU64::new(CALM));
    let app = |region: &'static str| {
        let millis = Arc::clone(&millis);
        let answer = move || async move {
            let preferred = region == REGIONS[PREFERRED];
            let millis = if preferred {
                millis.load(Ordering::Relaxed)
            } else {
                CALM
            };
            sleep(Duration::from_millis(millis)).await;
            region
        };
        Router::new().fallback(answer)
    };
    let scene = start(POLICY, app).await;
    let (load, watch) = (Load::start(&scene, length), Watch::begin(&scene, ENTRY));
    settle().await;
    millis.store(CALM * 10, Ordering::Relaxed);
    let began = Instant::now();
    until_state(&scene, ENTRY, PREFERRED, "left").await;
    let left = Instant::now();
    pass(Duration::from_secs(1)).await;
    millis.store(CALM, Ordering::Relaxed);
    let healed = Instant::now();
    until_state(&scene, ENTRY, PREFERRED, "ramping").await;
    let returning = Instant::now();
    until_state(&scene, ENTRY, PREFERRED, "well").await;
    pass(Duration::from_secs(1)).await;
    let (reads, writes) = load.stop().await;
    let noted = watch.end().await;

    let bar = WINDOW + CLAUSE + Duration::from_secs(1);
    row.show(
        format!("left after {}", ms(left - began)),
        left - began <= bar + NOISE,
    );
    let failed = reads.failed() + writes.failed();
    row.show(format!("{failed} failed"), failed == 0);
    let settled = reads.between(left + Duration::from_millis(100), healed);
    let p99 = settled.quantile(0.99);
    let expected = 2 * way(ENTRY, NEXT) + Duration::from_millis(3 * CALM);
    row.show(
        format!("p99 after that {}", ms(p99)),
        p99 <= expected + NOISE,
    );
    row.show(format!("returns {} later", ms(returning - healed)), true);
    let transitions = noted.transitions(REGIONS[PREFERRED]);
    row.show(format!("{transitions} transitions"), transitions == 2);
    let p99 = reads.since(returning).quantile(0.99);
    row.show(
        format!("p99 in the ramp {}", ms(p99)),
        p99 <= expected + NOISE,
    );
    row
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_region_is_left_and_returns_by_a_ramp_without_a_second_dip() {
    slow(Length::Short).await.verdict();
}
