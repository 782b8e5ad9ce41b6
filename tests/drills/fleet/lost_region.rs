//! The region that serves is killed, swallows everything, or does so in turns.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::Instant;

use super::scene::{
    ENTRY, LEFT_WITHIN, Load, NEXT, NOISE, PREFERRED, Watch, black_hole, settle, start, way,
};
use crate::drills::drill::{Length, Row, ms};
use crate::drills::scene::pass;
use crate::drills::traffic::Answers;
use crate::handing_on::{FleetScene, REGIONS, named};

const POLICY: &str = "\
policy away {
  prefer us-east-1 | ap-southeast-1 | local
  leave  when errors > 2% for 1s
  return when errors < 1% for 10s ramp 5s
  retry  idempotent 2 budget 20%
}
";

/// The entry's.
const DEADLINE: Duration = Duration::from_secs(10);

pub(super) async fn killed(length: Length) -> Row {
    let mut row = Row::new("a whole region: SIGKILL");
    let scene = start(POLICY, named).await;
    let (load, watch) = (Load::start(&scene, length), Watch::begin(&scene, ENTRY));
    settle().await;
    scene.gateway(PREFERRED).signal(Signal::SIGKILL);
    let killed = Instant::now();
    settle().await;
    let (reads, writes) = load.stop().await;
    let noted = watch.end().await;
    row.show(format!("{} reads", reads.count()), true);
    show_failed(&mut row, &reads);
    let left = noted.left_after(REGIONS[PREFERRED], killed);
    let left = left
        .unwrap_or(Duration::MAX)
        .saturating_sub(way(ENTRY, PREFERRED));
    row.show(
        format!("left {} after the loss arrived", ms(left)),
        left <= NOISE,
    );
    let after = writes.since(killed + NOISE);
    let failed = after.failed();
    row.show(format!("{failed} later writes failed"), failed == 0);
    let next = reads.since(killed + NOISE).served_in(REGIONS[NEXT]).count();
    row.show(format!("{next} reads served in the next one"), next > 0);
    row
}

pub(super) async fn black_holed(length: Length) -> Row {
    let mut row = Row::new("a region black-holed");
    let scene = start(POLICY, named).await;
    let (load, watch) = (Load::start(&scene, length), Watch::begin(&scene, ENTRY));
    settle().await;
    swallow(&scene, true);
    let began = Instant::now();
    pass(Duration::from_secs(4)).await;
    let (reads, _writes) = load.stop().await;
    let noted = watch.end().await;
    row.show(format!("{} reads", reads.count()), true);
    show_failed(&mut row, &reads);
    let left = noted.left_after(REGIONS[PREFERRED], began);
    let left = left.unwrap_or(Duration::MAX);
    row.show(
        format!("left after {}", ms(left)),
        left <= LEFT_WITHIN + NOISE,
    );
    let slowest = reads.slowest();
    row.show(format!("slowest read {}", ms(slowest)), slowest <= DEADLINE);
    row
}

/// One minute of five seconds each; shorter only to try it.
pub(super) async fn flapping(length: Length) -> Row {
    let mut row = Row::new("a region flapping every 5 s");
    let scene = start(POLICY, named).await;
    let (load, watch) = (Load::start(&scene, length), Watch::begin(&scene, ENTRY));
    settle().await;
    let turns = match length {
        Length::Full => 12,
        Length::Short => 2,
    };
    for turn in 0..turns {
        swallow(&scene, turn % 2 == 0);
        pass(Duration::from_secs(5)).await;
    }
    let (reads, _writes) = load.stop().await;
    let noted = watch.end().await;
    row.show(format!("{} reads", reads.count()), true);
    show_failed(&mut row, &reads);
    let transitions = noted.transitions(REGIONS[PREFERRED]);
    row.show(
        format!("{transitions} transitions"),
        (1..=2).contains(&transitions),
    );
    row
}

/// Shows what has failed; what had begun may be cut off.
fn show_failed(row: &mut Row, reads: &Answers) {
    let cut_off = reads.cut_off();
    let failed = reads.failed() - cut_off;
    row.show(
        format!("{failed} failed {:?}", reads.problems()),
        failed == 0,
    );
    row.show(format!("{cut_off} cut off"), true);
}

/// Drops everything from and to the preferred region.
fn swallow(scene: &FleetScene, on: bool) {
    for other in [ENTRY, NEXT] {
        black_hole(scene, PREFERRED, other, on);
    }
}
