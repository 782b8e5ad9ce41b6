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
use crate::storage::database::IndexDatabase;
use crate::storage::inventory::{Inventory, Repository};
use crate::storage::live::Bucket;
use crate::storage::prepared::Values;

/// Bytes of whole days, by repository and bucket.
const MOVED: &str = "select repository, bucket, sum(uploaded)::bigint, sum(downloaded)::bigint \
     from tidegate.storage_use_day \
     where day >= coalesce(($1::timestamptz at time zone 'UTC')::date, '-infinity') \
     and day < coalesce($2::timestamptz at time zone 'UTC', 'infinity') group by 1, 2";
const RESERVED: &str = "select bucket, sum(bytes)::bigint from tidegate.storage_copy \
     where state = 'reserved' group by 1";

/// What the parameters restrict an answer to: its rows, and what they add up.
struct Asked {
    repositories: Option<Vec<String>>,
    buckets: Option<Vec<String>>,
}

impl Asked {
    fn of(wanted: &Wanted, inventory: &Inventory) -> Self {
        Self {
            repositories: wanted.repositories(inventory),
            buckets: wanted.buckets(inventory),
        }
    }

    fn has(&self, repository: &str) -> bool {
        is_wanted(self.repositories.as_ref(), repository)
    }

    fn has_bucket(&self, bucket: &str) -> bool {
        is_wanted(self.buckets.as_ref(), bucket)
    }

    /// Whether a repository is asked for, and has a member that is.
    fn has_repository(&self, inventory: &Inventory, repository: &Repository) -> bool {
        let has = |&index: &usize| self.has_bucket(&inventory.buckets[index].row.id);
        self.has(&repository.row.id)
            && (self.buckets.is_none() || repository.members.iter().any(has))
    }

    /// Whether a bucket is a member, or the mirror, of a repository that is asked for.
    fn uses(&self, inventory: &Inventory, bucket: usize) -> bool {
        let mut all = inventory.repositories.iter();
        self.repositories.is_none()
            || all.any(|it| {
                let mirror = it.row.policy.mirror.as_ref();
                let mirror = mirror.and_then(|mirror| inventory.named(&mirror.to));
                self.has(&it.row.id) && (it.members.contains(&bucket) || mirror == Some(bucket))
            })
    }
}

/// Adds up what belongs to the same repository or bucket.
fn added(
    sizes: HashMap<(String, String), u64>,
    of: impl Fn((String, String)) -> Option<String>,
) -> HashMap<String, u64> {
    let mut sums = HashMap::new();
    for (pair, bytes) in sizes {
        if let Some(id) = of(pair) {
            *sums.entry(id).or_default() += bytes;
        }
    }
    sums
}

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
    let reserved = reserved(database).await?;
    let asked = Asked::of(&wanted, &inventory);
    let stored = match asked.buckets {
        None => api.sizes.read(database).await?,
        // Of some buckets, what lies there.
        Some(_) => added(api.sizes.placed(database).await?, |(repository, bucket)| {
            asked.has_bucket(&bucket).then_some(repository)
        }),
    };
    let repositories = inventory.repositories.iter();
    let data: Vec<_> = repositories
        .filter(|repository| asked.has_repository(&inventory, repository))
        .map(|repository| {
            let id = &repository.row.id;
            let moved = total(
                moved
                    .iter()
                    .filter(|(pair, _)| pair.0 == *id && asked.has_bucket(&pair.1)),
            );
            let members = repository.members.iter();
            let members = members
                .map(|&index| (index, &inventory.buckets[index]))
                .filter(|(_, bucket)| asked.has_bucket(&bucket.row.id));
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
    let asked = Asked::of(&wanted, &inventory);
    let stored = match asked.repositories {
        None => None,
        // What these repositories have there.
        Some(_) => Some(added(
            api.sizes.placed(database).await?,
            |(repository, bucket)| asked.has(&repository).then_some(bucket),
        )),
    };
    let buckets = inventory.buckets.iter().enumerate();
    let data: Vec<_> = buckets
        .filter(|(index, bucket)| {
            asked.has_bucket(&bucket.row.id) && asked.uses(&inventory, *index)
        })
        .map(|(index, bucket)| {
            let id = &bucket.row.id;
            let moved = total(
                moved
                    .iter()
                    .filter(|(pair, _)| pair.1 == *id && asked.has(&pair.0)),
            );
            let reserved = reserved.get(id).copied().unwrap_or_default();
            let stored = match &stored {
                None => bucket.live.held().saturating_sub(reserved),
                Some(stored) => stored.get(id).copied().unwrap_or_default(),
            };
            let mut shown = limits(&inventory, index, bucket);
            shown["bucketId"] = json!(id);
            shown["bucketName"] = json!(bucket.name());
            shown["totalUploadBytes"] = json!(moved.uploaded.to_string());
            shown["totalDownloadBytes"] = json!(moved.downloaded.to_string());
            shown["storedBytes"] = json!(stored.to_string());
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
