//! `/repo/{id}/apikey`: what clients sign requests with. A secret is answered once, when it is made.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::envelope::{all, one};
use super::input::{Input, NoFields};
use super::path::Named;
use super::state::Api;
use crate::http::Problem;
use crate::storage::{KeyMode, StorageError};

/// A key that is to be made.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AddedKey {
    mode: KeyMode,
}

/// What is to be done with a key's secret.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangedKey {
    rotate: Rotate,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Rotate {
    /// Make a second one.
    Begin,
    /// Let only the second one hold.
    Finish,
    /// Let only the first one hold.
    Cancel,
}

pub(super) async fn list(
    State(api): State<Api>,
    Named([repository]): Named<1>,
) -> Result<Json<Value>, Problem> {
    let keys = api.keys().of(&repository).await?;
    Ok(Json(all(&keys)))
}

pub(super) async fn add(
    State(api): State<Api>,
    Named([repository]): Named<1>,
    Input(added): Input<AddedKey>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let key = api.keys().add(&repository, added.mode).await?;
    api.store.changed().await;
    Ok((StatusCode::CREATED, Json(one(&key))))
}

pub(super) async fn rotate(
    State(api): State<Api>,
    Named([repository, key]): Named<2>,
    Input(changed): Input<ChangedKey>,
) -> Result<Json<Value>, Problem> {
    let id = id_of(&api, &repository, key).await?;
    let answer = match changed.rotate {
        Rotate::Begin => one(api.keys().rotate(&id).await?),
        Rotate::Finish => {
            api.keys().finish(&id).await?;
            json!({"success": true})
        }
        Rotate::Cancel => {
            api.keys().cancel(&id).await?;
            json!({"success": true})
        }
    };
    api.store.changed().await;
    Ok(Json(answer))
}

pub(super) async fn remove(
    State(api): State<Api>,
    Named([repository, key]): Named<2>,
    NoFields {}: NoFields,
) -> Result<Json<Value>, Problem> {
    let id = id_of(&api, &repository, key).await?;
    api.keys().remove(&id).await?;
    api.store.changed().await;
    Ok(Json(json!({"success": true})))
}

/// The id of a key of a repository, by either of its ids.
async fn id_of(api: &Api, repository: &str, key: String) -> Result<String, StorageError> {
    let mut keys = api.keys().of(repository).await?.into_iter();
    let found = keys.find(|it| it.id == key || it.key_id == key);
    found
        .map(|it| it.id)
        .ok_or(StorageError::NotFound("key", key))
}
