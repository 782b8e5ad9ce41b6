//! `/repo/stats` and `/bucket/stats`: how much was moved, how much is stored, and how much may be.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::envelope::all;
use super::range::{Wanted, is_wanted};
use super::sizes::{bytes, sums};
use super::state::Api;
use crate::http::Problem;
use crate::storage::StorageError;
use crate::storage::database::{IndexDatabase, Values};
use crate::storage::inventory::Inventory;
use crate::storage::live::Bucket;

/// Bytes of whole days, by repository and bucket.
const MOVED: &str = "select repository, bucket, sum(uploaded)::bigint, sum(downloaded)::bigint \
     from tidegate.storage_use_day \
     where day >= coalesce(($1::timestamptz at time zone 'UTC')::date, '-infinity') \
     and day < coalesce($2::timestamptz at time zone 'UTC', 'infinity') group by 1, 2";
const RESERVED: &str = "select bucket, sum(bytes)::bigint from tidegate.storage_copy \
     where state = 'reserved' group by 1";

/// Bytes that were moved.
#[derive(Clone, Copy, Default)]
struct Moved {
    uploaded: u64,
    downloaded: u64,
}

pub(super) async fn of_repositories(
    State(api): State<Api>,
    wanted: Wanted,
) -> Result<Json<Value>, Problem> {
    let (inventory, database) = (api.store.inventory.load_full(), &api.store.index.database);
    let moved = moved(database, &wanted).await?;
    let (reserved, stored) = (reserved(database).await?, api.sizes.read(database).await?);
    let ids = wanted.repositories(&inventory);
    let repositories = inventory.repositories.iter();
    let data: Vec<_> = repositories
        .filter(|repository| is_wanted(ids.as_ref(), &repository.row.id))
        .map(|repository| {
            let id = &repository.row.id;
            let moved = total(moved.iter().filter(|(pair, _)| pair.0 == *id));
            let members = repository.members.iter();
            let members = members.map(|&index| (index, &inventory.buckets[index]));
            let reserved: u64 = members
                .clone()
                .map(|(_, bucket)| reserved.get(&bucket.row.id).copied().unwrap_or_default())
                .sum();
            let buckets: Map<_, _> = members
                .map(|(index, bucket)| {
                    (bucket.name().to_owned(), limits(&inventory, index, bucket))
                })
                .collect();
            json!({
                "repoId": id,
                "repoName": repository.row.name,
                "totalUploadBytes": moved.uploaded.to_string(),
                "totalDownloadBytes": moved.downloaded.to_string(),
                "storedBytes": stored.get(id).copied().unwrap_or_default().to_string(),
                "reservedBytes": reserved.to_string(),
                "buckets": buckets,
            })
        })
        .collect();
    Ok(Json(all(&data)))
}

pub(super) async fn of_buckets(
    State(api): State<Api>,
    wanted: Wanted,
) -> Result<Json<Value>, Problem> {
    let (inventory, database) = (api.store.inventory.load_full(), &api.store.index.database);
    let (moved, reserved) = (moved(database, &wanted).await?, reserved(database).await?);
    let ids = wanted.buckets(&inventory);
    let buckets = inventory.buckets.iter().enumerate();
    let data: Vec<_> = buckets
        .filter(|(_, bucket)| is_wanted(ids.as_ref(), &bucket.row.id))
        .map(|(index, bucket)| {
            let id = &bucket.row.id;
            let moved = total(moved.iter().filter(|(pair, _)| pair.1 == *id));
            let reserved = reserved.get(id).copied().unwrap_or_default();
            let mut shown = limits(&inventory, index, bucket);
            shown["bucketId"] = json!(id);
            shown["bucketName"] = json!(bucket.name());
            shown["totalUploadBytes"] = json!(moved.uploaded.to_string());
            shown["totalDownloadBytes"] = json!(moved.downloaded.to_string());
            shown["storedBytes"] = json!(bucket.live.held().saturating_sub(reserved).to_string());
            shown["reservedBytes"] = json!(reserved.to_string());
            shown["egressCost"] = json!(egress_cost(bucket, moved.downloaded));
            shown
        })
        .collect();
    Ok(Json(all(&data)))
}

/// What may be written to a bucket, as numbers: clients compute with them.
fn limits(inventory: &Inventory, index: usize, bucket: &Bucket) -> Value {
    json!({
        "used_bytes": bucket.live.written(),
        "soft_limit_bytes": bucket.row.soft_limit(),
        "quota_bytes": bucket.row.declared.quota,
        "status": inventory.status(index, Instant::now()),
    })
}

/// USD for what was read.
#[expect(
    clippy::cast_precision_loss,
    reason = "a bill is not exact to the byte"
)]
fn egress_cost(bucket: &Bucket, downloaded: u64) -> Option<f64> {
    let price = bucket.row.declared.price_out?;
    Some(downloaded as f64 / 1e9 * price)
}

type Pairs = HashMap<(String, String), Moved>;

fn total<'a>(all: impl Iterator<Item = (&'a (String, String), &'a Moved)>) -> Moved {
    all.fold(Moved::default(), |total, (_, moved)| Moved {
        uploaded: total.uploaded + moved.uploaded,
        downloaded: total.downloaded + moved.downloaded,
    })
}

async fn moved(database: &IndexDatabase, wanted: &Wanted) -> Result<Pairs, StorageError> {
    let values: Values<'_> = &[(&wanted.start, Type::TEXT), (&wanted.end, Type::TEXT)];
    let rows = database.read_much(MOVED, values).await?;
    let pair = |row: &Row| {
        let moved = Moved {
            uploaded: bytes(row, 2)?,
            downloaded: bytes(row, 3)?,
        };
        Ok(((row.try_get(0)?, row.try_get(1)?), moved))
    };
    rows.iter().map(pair).collect()
}

async fn reserved(database: &IndexDatabase) -> Result<HashMap<String, u64>, StorageError> {
    sums(database, RESERVED).await
}
