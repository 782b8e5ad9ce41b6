//! `/bucket`: where bytes can be stored.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::envelope::{all, one};
use super::input::{Input, NoFields, present};
use super::path::Named;
use super::state::Api;
use crate::http::Problem;
use crate::storage::credentials::ServiceAccount;
use crate::storage::endpoint::Reach;
use crate::storage::registry::change_bucket;
use crate::storage::{
    BucketBackend, BucketChange, BucketCredentials, BucketRow, ByName, NewBucket, Provider, Role,
    StorageError, bucket_as_json,
};

/// What opens a bucket: one of a key, a service account and a role.
struct Opening {
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    service_account: Option<ByName<ServiceAccount>>,
    role: Option<String>,
}

/// A bucket that is to be added.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AddedBucket {
    name: String,
    provider: Provider,
    region: String,
    url: String,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    service_account: Option<ByName<ServiceAccount>>,
    role: Option<String>,
    soft_cap: Option<f64>,
    credit: Option<u64>,
    quota: Option<u64>,
    price_out: Option<f64>,
}

/// What is to be changed of a bucket. Where it is stays: its objects are there.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ChangedBucket {
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    service_account: Option<ByName<ServiceAccount>>,
    role: Option<String>,
    soft_cap: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    credit: Option<Option<u64>>,
    #[serde(default, deserialize_with = "present")]
    quota: Option<Option<u64>>,
    #[serde(default, deserialize_with = "present")]
    price_out: Option<Option<f64>>,
    writes: Option<bool>,
}

pub(super) async fn list(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let buckets = api.store.registry().buckets().await?;
    let buckets: Vec<_> = buckets.iter().map(bucket_as_json).collect();
    Ok(Json(all(&buckets)))
}

pub(super) async fn show(
    State(api): State<Api>,
    Named([id]): Named<1>,
) -> Result<Json<Value>, Problem> {
    let bucket = api.store.registry().bucket(&id).await?;
    Ok(Json(one(bucket_as_json(&bucket))))
}

pub(super) async fn add(
    State(api): State<Api>,
    Input(added): Input<AddedBucket>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let bucket = NewBucket {
        name: added.name,
        provider: added.provider,
        region: added.region,
        url: added.url,
        soft_cap: added.soft_cap.unwrap_or(1.0),
        credit: added.credit,
        quota: added.quota,
        price_out: added.price_out,
        public_only: api.store.settings.api_endpoints == Reach::Public,
    };
    let opening = Opening {
        access_key_id: added.access_key_id,
        secret_access_key: added.secret_access_key,
        service_account: added.service_account,
        role: added.role,
    };
    let credentials = opening.credentials()?;
    // Says what is wrong of it before there is a row; nothing is connected.
    BucketBackend::of(&bucket, credentials.as_ref(), &api.store.settings.file_root)?;
    let registry = api.store.registry();
    let id = registry.add_bucket(&bucket, credentials.as_ref()).await?;
    let added = registry.bucket(&id).await?;
    api.store.changed().await;
    Ok((StatusCode::CREATED, Json(one(bucket_as_json(&added)))))
}

pub(super) async fn change(
    State(api): State<Api>,
    Named([id]): Named<1>,
    Input(changed): Input<ChangedBucket>,
) -> Result<Json<Value>, Problem> {
    let registry = api.store.registry();
    let bucket = registry.bucket(&id).await?;
    if changed.writes == Some(false) {
        let why =
            "writes: expected true, which lets a bucket take writes again that has named a quota";
        return Err(StorageError::Invalid(why.to_owned()).into());
    }
    let opening = Opening {
        access_key_id: changed.access_key_id,
        secret_access_key: changed.secret_access_key,
        service_account: changed.service_account,
        role: changed.role,
    };
    let credentials = opening.credentials()?;
    if let Some(credentials) = &credentials {
        has_all_rights(&api, &bucket.clone().with(credentials.clone())).await?;
    }
    let change = BucketChange {
        soft_cap: changed.soft_cap,
        credit: changed.credit,
        quota: changed.quota,
        price_out: changed.price_out,
        credentials,
        enable: changed.writes == Some(true),
    };
    change_bucket(&registry, &bucket, &change).await?;
    let bucket = registry.bucket(&bucket.id).await?;
    api.store.changed().await;
    Ok(Json(one(bucket_as_json(&bucket))))
}

pub(super) async fn remove(
    State(api): State<Api>,
    Named([id]): Named<1>,
    NoFields {}: NoFields,
) -> Result<Json<Value>, Problem> {
    let registry = api.store.registry();
    let bucket = registry.bucket(&id).await?;
    registry.remove_bucket(&bucket.id).await?;
    api.store.changed().await;
    Ok(Json(json!({"success": true})))
}

/// Writes, reads, lists and deletes a small object.
pub(super) async fn validate(
    State(api): State<Api>,
    Named([id]): Named<1>,
    NoFields {}: NoFields,
) -> Result<Json<Value>, Problem> {
    let bucket = api.store.registry().bucket(&id).await?;
    let backend = BucketBackend::new(&bucket, &api.store.settings.file_root)?;
    let outcomes = backend.check().await;
    let rights: serde_json::Map<_, _> = outcomes
        .iter()
        .map(|(right, outcome)| ((*right).to_owned(), outcome.is_ok().into()))
        .collect();
    let started = Instant::now();
    let answers = backend.probe().await.is_ok();
    let latency_ms = answers.then(|| started.elapsed().as_secs_f64() * 1_000.0);
    Ok(Json(json!({
        "success": outcomes.iter().all(|(_, outcome)| outcome.is_ok()),
        "rights": rights,
        "latencyMs": latency_ms,
    })))
}

/// Checks credentials before they are taken over.
async fn has_all_rights(api: &Api, bucket: &BucketRow) -> Result<(), StorageError> {
    let backend = BucketBackend::new(bucket, &api.store.settings.file_root)?;
    let outcomes = backend.check().await.into_iter();
    let missing: Vec<_> = outcomes
        .filter_map(|(right, outcome)| Some(format!("{right}: {}", outcome.err()?.kind.as_str())))
        .collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(StorageError::Invalid(format!(
            "credentials: the bucket does not permit {}",
            missing.join(", ")
        ))),
    }
}

impl Opening {
    fn credentials(self) -> Result<Option<BucketCredentials>, StorageError> {
        let refused = |why: &str| Err(StorageError::Invalid(why.to_owned()));
        match (
            self.access_key_id,
            self.secret_access_key,
            self.service_account,
            self.role,
        ) {
            (None, None, None, None) => Ok(None),
            (Some(access_key_id), Some(secret_access_key), None, None) => {
                Ok(Some(BucketCredentials::Key {
                    access_key_id,
                    secret_access_key,
                }))
            }
            (None, None, Some(ByName(service_account)), None) => {
                Ok(Some(BucketCredentials::ServiceAccount { service_account }))
            }
            (None, None, None, Some(role)) => match &*role {
                "process" => Ok(Some(BucketCredentials::Role {
                    role: Role::Process,
                })),
                arn => match Role::assumed(arn) {
                    Ok(role) => Ok(Some(BucketCredentials::Role { role })),
                    Err(_expected) => refused("role: expected `process`, or the ARN of a role"),
                },
            },
            (Some(_), None, None, None) => refused("secretAccessKey: it belongs to accessKeyId"),
            (None, Some(_), None, None) => refused("accessKeyId: it belongs to secretAccessKey"),
            _ => refused(
                "credentials: expected accessKeyId and secretAccessKey, or serviceAccount, or role",
            ),
        }
    }
}
