//! A year of statistics of 200 buckets: what clients poll is answered soon, and what is too old goes in batches.

use std::time::Duration;

use tokio::time::Instant;

use super::drill::{Length, Row, ms};
use crate::storage::api_client::ApiClient;
use crate::storage::world::StorageWorld;

/// Of 200 buckets in one repository and region each, for a year.
const DAYS: &str = "insert into tidegate.storage_use_day \
     select (now() at time zone 'UTC')::date - d, 'eu-west-1', 'repository', 'bucket-' || b, \
     b * 1000, d * 1000, b, 100, 1, 100, 1234.5, 80 \
     from generate_series(0, 364) d, generate_series(1, 200) b; analyze tidegate.storage_use_day";
/// A day of minutes of each, which are too old.
const MINUTES: &str = "insert into tidegate.storage_use_minute \
     select now() - interval '8 days' - m * interval '1 min', 'g', 'repository', 'bucket-' || b, \
     1, 1, 1, 1, 0, 1, 1, 1 from generate_series(1, 1440) m, generate_series(1, 200) b";
const ROUNDS: usize = 5;

fn longest(length: Length) -> Duration {
    match length {
        Length::Full => Duration::from_millis(100),
        // Of a machine that also runs other tests.
        Length::Short => Duration::from_millis(1_000),
    }
}

pub(super) async fn year_of_statistics(length: Length) -> Row {
    let mut row = Row::new("storage: a year of statistics, 200 buckets");
    let world = StorageWorld::with(1, &[], &[], "", 0).await;
    let api = ApiClient::of(&world.gateways[0]).await;
    let primary = world.cluster.primary.client().await.unwrap();
    primary.batch_execute(DAYS).await.unwrap();
    for (path, rows) in [
        ("/stats/daily", 10_000),
        ("/stats/daily?bucketId=bucket-7", 365),
    ] {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let (took, found) = api.timed(path).await;
            times.push(took);
            assert_eq!(found, rows);
        }
        let best = times.into_iter().min().unwrap_or_default();
        row.show(
            format!("{rows} rows in {}", ms(best)),
            best <= longest(length),
        );
    }
    if length == Length::Full {
        primary.batch_execute(MINUTES).await.unwrap();
        let (mut batches, mut slowest) = (0, Duration::ZERO);
        loop {
            let started = Instant::now();
            let forgotten = world
                .value("select tidegate.storage_forget_statistics(5000)::text")
                .await;
            slowest = slowest.max(started.elapsed());
            if forgotten == "0" {
                break;
            }
            batches += 1;
        }
        // The gateway deletes some of them meanwhile.
        row.show(
            format!("old rows deleted in {batches} batches"),
            batches <= 58,
        );
        row.show(format!("slowest batch {}", ms(slowest)), true);
    }
    row
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_year_of_statistics_is_answered_soon() {
    let row = year_of_statistics(Length::Short).await;
    println!("{row}");
    row.verdict();
}
