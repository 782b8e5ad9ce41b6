//! Three of four other regions fall silent: the fault may be this gateway's own.

use std::time::Duration;

use tidegate::testkit::until;
use tokio::time::Instant;

use super::scene::{ENTRY, Load, NOISE, Watch, black_hole, settle};
use crate::drills::drill::{Length, Row, ms};
use crate::drills::scene::pass;
use crate::handing_on::{FleetScene, REGIONS, named};
use crate::world::DEADLINE;

const SILENT: [usize; 3] = [1, 2, 3];
const HEARD: usize = 4;
const POLICY: &str = "\
policy away {
  prefer us-east-1 | ap-southeast-1 | eu-north-1 | sa-east-1 | local
  leave  when errors > 2% for 1s
  return when errors < 1% for 2s
  retry  idempotent 4 budget 20%
}
";

pub(super) async fn three_of_four(length: Length) -> Row {
    let mut row = Row::new("three of four other regions silent");
    let mut scene = FleetScene::prepared(5, POLICY, "", named).await;
    scene.share_policy();
    scene.lay_lines(|_, _| Duration::from_millis(10)).await;
    scene.start_all().await;
    let load = Load::start(&scene, length);
    // What was reachable five seconds ago is what counts.
    pass(Duration::from_secs(6)).await;
    let watch = Watch::begin(&scene, ENTRY);
    swallow(&scene, true);
    let began = Instant::now();
    until_suspect(&scene, true).await;
    let suspected = began.elapsed();
    settle().await;
    let before = sent_to_silent(&scene).await;
    let from = Instant::now();
    settle().await;
    let to = Instant::now();
    let into_dead = sent_to_silent(&scene).await != before;
    let noted = watch.end().await;
    swallow(&scene, false);
    until_suspect(&scene, false).await;
    let (reads, _writes) = load.stop().await;

    row.show(
        format!("suspects itself after {}", ms(suspected)),
        suspected <= 3 * NOISE + 2 * NOISE,
    );
    row.show(format!("{} failed", reads.failed()), reads.failed() == 0);
    let meanwhile = reads.between(from, to);
    let slowest = meanwhile.slowest();
    let sent = into_dead || slowest >= Duration::from_secs(1);
    row.show(format!("slowest read meanwhile {}", ms(slowest)), !sent);
    let served = meanwhile.served_in(REGIONS[HEARD]).count();
    row.show(
        format!(
            "{served} of {} served in the one that is heard",
            meanwhile.count()
        ),
        served == meanwhile.count(),
    );
    let left = noted.left();
    row.show(
        format!("left: {left:?}"),
        left.iter()
            .all(|it| SILENT.map(|at| REGIONS[at]).contains(it)),
    );
    row
}

fn swallow(scene: &FleetScene, on: bool) {
    for other in SILENT {
        black_hole(scene, ENTRY, other, on);
    }
}

/// Returns how many requests the entry has sent to the silent regions; it counts them when they end.
async fn sent_to_silent(scene: &FleetScene) -> f64 {
    let page = scene.metrics().await;
    let counts = page.lines().filter_map(|line| {
        let rest = line.strip_prefix("tidegate_tunnel_requests_total{")?;
        let (labels, count) = rest.split_once("} ")?;
        let silent = SILENT.iter().any(|at| labels.contains(REGIONS[*at]));
        // What no tunnel has taken was not sent.
        let sent = silent && !labels.contains("refused");
        sent.then(|| count.parse::<f64>().unwrap())
    });
    counts.sum()
}

async fn until_suspect(scene: &FleetScene, suspects: bool) {
    until(
        "it suspects itself, or no longer",
        2 * DEADLINE,
        async || {
            let view = scene.view(ENTRY).await;
            Ok((view.suspect == suspects).then_some(()))
        },
    )
    .await
    .unwrap();
}
