//! Writes what was counted, and this gateway's own row. A batch that may not have arrived is written again,
//! which changes nothing if it has.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::gauges::{show_buckets, show_copies, show_gone};
use super::prepared::Values;
use super::statistics::{BucketStatus, Outcomes};
use super::this_gateway::ThisGateway;
use super::{StorageError, Store};

/// How often a gateway renews its own row.
const RENEW_INTERVAL: Duration = Duration::from_secs(10);
/// Rows of one batch.
const ROWS_MAX: usize = 1_000;
/// Batches that wait for the database; older ones are lost.
const BATCHES_MAX: usize = 256;
/// Copies are counted once in so many batches: it takes the database a while.
const BATCHES_PER_COUNT: u64 = 10;
/// Rows of a table that are deleted at once, and how often in a row.
const FORGOTTEN_MAX: i32 = 5_000;
const FORGETS_MAX: usize = 20;

/// Rows that are written at once.
struct Batch {
    /// When they were counted, in seconds since 1970.
    at: f64,
    kind: BatchKind,
    rows: String,
}

#[derive(Clone, Copy)]
enum BatchKind {
    Buckets,
    Uses,
}

/// A bucket as this gateway sees it.
#[derive(Serialize)]
struct BucketMinute<'a> {
    bucket: &'a str,
    status: BucketStatus,
    latency_ms: Option<f64>,
    latency_p99_ms: Option<f64>,
    requests: u64,
    errors: u64,
}

/// Renews this gateway's row and writes its statistics again and again; never ends.
pub async fn record_forever(store: Arc<Store>, gateway: Arc<ThisGateway>) {
    let renewals = async {
        let mut ticks = ticks(RENEW_INTERVAL, Instant::now());
        let mut shown = HashSet::new();
        loop {
            ticks.tick().await;
            let inventory = store.inventory.load_full();
            show_buckets(&inventory);
            shown = show_gone(&shown, &inventory);
            if let Err(error) = renew(&store, &gateway).await {
                tracing::debug!(%error, "the row of this gateway could not be renewed");
            }
        }
    };
    let batches = async {
        let every = store.settings.statistics_interval;
        let mut ticks = ticks(every, Instant::now() + every);
        let (mut waiting, mut last) = (VecDeque::new(), 0);
        for number in 0_u64.. {
            ticks.tick().await;
            last = collect(&store, &mut waiting, last);
            if number % BATCHES_PER_COUNT == 0
                && let Err(error) = show_copies(&store).await
            {
                tracing::debug!(%error, "copies could not be counted");
            }
            if let Err(error) = write(&store, &gateway, &mut waiting).await {
                let batches = waiting.len();
                tracing::warn!(%error, batches, "statistics could not be written; they are kept for later");
            }
        }
    };
    tokio::join!(renewals, batches);
}

fn ticks(every: Duration, first: Instant) -> tokio::time::Interval {
    let mut ticks = interval_at(first, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn renew(store: &Store, gateway: &ThisGateway) -> Result<(), StorageError> {
    let sql = "insert into tidegate.storage_gateway as g \
         (id, region, version, ip, endpoint, url, status, latency_ms) \
         select $1, $2, $3, host(address), reached.at, $5 || '://' || reached.at, $6, $7 \
         from (select inet_client_addr() as address) seen, lateral (select case when $4 <> '' then $4 \
         else coalesce(case when family(address) = 6 then '[' || host(address) || ']' else host(address) end, \
         'localhost') || ':' || $8 end as at) reached \
         on conflict (id) do update set ip = excluded.ip, status = excluded.status, \
         endpoint = excluded.endpoint, url = excluded.url, \
         latency_ms = excluded.latency_ms, renewed = now()";
    let port = gateway.port.to_string();
    let (status, latency_ms) = own_standing(store);
    let values: Values<'_> = &[
        (&gateway.id, Type::TEXT),
        (&store.region.as_str(), Type::TEXT),
        (&env!("CARGO_PKG_VERSION"), Type::TEXT),
        (&gateway.endpoint, Type::TEXT),
        (&gateway.scheme, Type::TEXT),
        (&status.as_str(), Type::TEXT),
        (&latency_ms, Type::FLOAT8),
        (&port, Type::TEXT),
    ];
    store.index.database.write(sql, values).await.map(drop)
}

/// The state of this gateway, and the latency of its nearest bucket that works.
fn own_standing(store: &Store) -> (BucketStatus, Option<f64>) {
    let (inventory, now) = (store.inventory.load(), Instant::now());
    let all = inventory.buckets.iter();
    let minutes = all.map(|bucket| bucket.live.attempts.last_minute(now));
    let minute = minutes.fold(Outcomes::default(), |all, it| all + it);
    let works = |index: &usize| inventory.status(*index, now) != BucketStatus::Offline;
    let latencies = (0..inventory.buckets.len()).filter(works);
    let nearest = latencies
        .map(|index| inventory.selector.latency(index))
        .min();
    let status = match minute.are_bad() {
        true => BucketStatus::Disconnected,
        false => BucketStatus::Online,
    };
    (status, nearest.map(|it| it.as_secs_f64() * 1_000.0))
}

/// Turns what was counted into batches; returns their time.
fn collect(store: &Store, waiting: &mut VecDeque<Batch>, last: u64) -> u64 {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let every = store.settings.statistics_interval.as_secs().max(1);
    let time = time_of_batch(since_1970.as_secs(), every, last);
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970")]
    let at = time as f64;
    let (inventory, now) = (store.inventory.load(), Instant::now());
    let buckets: Vec<_> = inventory
        .buckets
        .iter()
        .enumerate()
        .map(|(index, bucket)| {
            let batch = bucket.live.attempts.take();
            BucketMinute {
                bucket: &bucket.row.id,
                status: inventory.status(index, now),
                latency_ms: batch.times.mean_ms(),
                latency_p99_ms: batch.times.p99_ms(),
                requests: batch.outcomes.requests,
                errors: batch.outcomes.errors,
            }
        })
        .collect();
    add(waiting, at, BatchKind::Buckets, &buckets);
    add(waiting, at, BatchKind::Uses, &store.tally.take());
    while waiting.len() > BATCHES_MAX {
        waiting.pop_front();
    }
    time
}

/// The time of a batch: a multiple of the interval, and after the last one, also where the clock was set
/// back or a tick came early. A batch with the time of another one would not be counted.
fn time_of_batch(now: u64, every: u64, last: u64) -> u64 {
    (now / every * every).max(last + every)
}

fn add(waiting: &mut VecDeque<Batch>, at: f64, kind: BatchKind, rows: &[impl Serialize]) {
    for rows in rows.chunks(ROWS_MAX) {
        let rows = serde_json::to_string(rows).unwrap_or_default();
        waiting.push_back(Batch { at, kind, rows });
    }
}

/// Writes what waits, oldest first, and deletes what is too old.
async fn write(
    store: &Store,
    gateway: &ThisGateway,
    waiting: &mut VecDeque<Batch>,
) -> Result<(), StorageError> {
    let database = &store.index.database;
    while let Some(batch) = waiting.front() {
        let sql = match batch.kind {
            BatchKind::Buckets => {
                "select tidegate.storage_record_buckets(to_timestamp($1), $2, $4::jsonb) where $3 <> ''"
            }
            BatchKind::Uses => {
                "select tidegate.storage_record_use(to_timestamp($1), $2, $3, $4::jsonb)"
            }
        };
        let values: Values<'_> = &[
            (&batch.at, Type::FLOAT8),
            (&gateway.id, Type::TEXT),
            (&store.region.as_str(), Type::TEXT),
            (&batch.rows, Type::TEXT),
        ];
        match database.write(sql, values).await {
            Err(StorageError::Database(error)) if is_about_the_rows(&error) => {
                tracing::warn!(%error, "statistics were refused by the database and are lost");
            }
            written => drop(written?),
        }
        waiting.pop_front();
    }
    for _ in 0..FORGETS_MAX {
        let sql = "select tidegate.storage_forget_statistics($1)";
        let rows = database
            .write(sql, &[(&FORGOTTEN_MAX, Type::INT4)])
            .await?
            .rows;
        let forgotten: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
        if forgotten < i64::from(FORGOTTEN_MAX) {
            break;
        }
    }
    Ok(())
}

/// Whether rows are refused by what they say, which would be so again: any other failure, such as a
/// failover or a statement that was cut off, may pass.
fn is_about_the_rows(error: &tokio_postgres::Error) -> bool {
    let code = error.code().map(SqlState::code);
    code.is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_batch_has_the_time_of_another_one() {
        assert_eq!(time_of_batch(119, 60, 0), 60);
        assert_eq!(time_of_batch(119, 60, 60), 120);
        assert_eq!(time_of_batch(90, 60, 600), 660);
        assert_eq!(time_of_batch(1_000, 60, 600), 960);
    }
}
