//! Every replica is gone, and readers of a slow statement need four times what the primary can spare.

use std::time::Duration;

use tokio::time::Instant;

use super::drill::{Length, Row, ms};
use super::scene::{HERE, NEXT, PER_SECOND, Scene, pass};
use super::traffic::Traffic;

/// The connections that spilled reads may use alone: half of the scene's, without those that quick
/// reads share.
const BUDGET: u32 = 14;
/// Long enough that four times the budget is not more requests than this machine can send.
const TO_PRIMARY: Duration = Duration::from_millis(160);
/// How long a read takes on the server.
const READ_TAKES: Duration = Duration::from_millis(50);
/// Requests a second that keep four times the budget busy.
const OFFERED: u32 = 4 * BUDGET * 1_000 / 210;

const STRONG: &str = "/public/one";
const WRITE: &str = "/api/v1/documents";

/// The slow reads, and what only the primary can do.
const ENDPOINTS: &str = r#"
[[endpoint]]
method = "GET"
path = "/public/rates"
sql = "select pg_sleep(0.05)::text as slept"
[[endpoint]]
method = "GET"
path = "/public/one"
sql = "select 1 as one"
[[endpoint]]
method = "POST"
path = "/api/v1/documents"
sql = "update documents set updated_at = now() returning 1 as one"
"#;
/// Opening a connection takes five round trips or so.
const WARM_UP: Duration = Duration::from_secs(2);
/// A refusal is made at once, on a machine that is busy.
const REFUSAL_MAX: Duration = Duration::from_millis(100);
const MOST_OF_BEFORE: f64 = 1.5;

/// Strong reads and writes, which only the primary can serve.
struct Needy {
    strong: Traffic,
    writes: Traffic,
    started: Instant,
}

impl Needy {
    fn start(scene: &Scene) -> Self {
        let world = &scene.world;
        let (client, url) = (world.client.clone(), world.gateway.url(STRONG));
        let strong = move |_| client.get(&url).header("X-Consistency", "strong");
        let (client, url) = (world.client.clone(), world.gateway.url(WRITE));
        let write = move |_| client.post(&url);
        Self {
            strong: Traffic::start(30, strong),
            writes: Traffic::start(20, write),
            started: Instant::now(),
        }
    }

    /// The 99th percentiles of strong reads and writes, and how many failed, except in the first
    /// seconds, when the required connections are opened.
    async fn stop(self) -> ([Duration; 2], usize) {
        let from = self.started + WARM_UP;
        let (strong, writes) = (self.strong.stop().await, self.writes.stop().await);
        let (strong, writes) = (strong.since(from), writes.since(from));
        let failed = strong.failed() + writes.failed();
        ([strong.quantile(0.99), writes.quantile(0.99)], failed)
    }
}

pub(super) async fn only_the_primary(length: Length) -> Row {
    let mut row = Row::new("all replicas down, 4 × the spill budget");
    let mut scene = Scene::start(length, ENDPOINTS).await;
    scene.lines.primary.set_round_trip(TO_PRIMARY);
    let time = match length {
        Length::Full => Duration::from_secs(15),
        Length::Short => Duration::from_secs(6),
    };
    let calm = scene.traffic_at(PER_SECOND);
    let needy = Needy::start(&scene);
    pass(time).await;
    let (before, failed_before) = needy.stop().await;
    calm.stop().await;

    for replica in &mut scene.world.cluster.replicas {
        replica.kill().await.unwrap();
    }
    let flood = scene.traffic_at(OFFERED);
    scene.replicas_are_given_up().await;
    let (given_up, needy) = (Instant::now(), Needy::start(&scene));
    pass(time).await;
    let (under, failed_under) = needy.stop().await;
    // The readers go on for as long as the others take to end.
    let flooded = given_up.elapsed();
    let answers = flood.stop().await.since(given_up);

    let failed = failed_before + failed_under;
    row.show(format!("{failed} strong or written failed"), failed == 0);
    for (what, before, under) in [
        ("strong", before[0], under[0]),
        ("writes", before[1], under[1]),
    ] {
        let times = under.as_secs_f64() / before.as_secs_f64();
        let figure = format!("p99 of {what} {} → {}", ms(before), ms(under));
        row.show(figure, times <= MOST_OF_BEFORE);
    }
    let (served, refused) = (answers.with_status(200), answers.with_status(503));
    let others = answers.count() - served.count() - refused.count();
    row.show(format!("{OFFERED} reads/s offered"), others == 0);
    let rate = served.count() as f64 / flooded.as_secs_f64();
    let room = f64::from(BUDGET) / (TO_PRIMARY + READ_TAKES).as_secs_f64();
    // Beyond those that follow one another, as many may be under way at the end.
    let most = room + f64::from(BUDGET) / flooded.as_secs_f64();
    row.show(
        format!("{rate:.0}/s served"),
        rate <= most && rate >= room * 0.6,
    );
    let told = refused.0.iter().all(|it| it.is_told_to_retry);
    row.show(
        format!("{} refused with Retry-After", refused.count()),
        told && refused.count() > 0,
    );
    let refusal = refused.quantile(0.99);
    row.show(
        format!("p99 of refusals {}", ms(refusal)),
        refusal <= REFUSAL_MAX,
    );
    row
}

impl Scene {
    /// Waits until the monitor has given up both replicas.
    async fn replicas_are_given_up(&self) {
        for region in [HERE, NEXT] {
            let series =
                format!("tidegate_node_condition{{node=\"{region}\",condition=\"unreachable\"}}");
            self.world.metric_turns(&series, |value| value == 1.0).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_without_a_replica_do_not_drown_the_primary() {
    only_the_primary(Length::Short).await.verdict();
}
