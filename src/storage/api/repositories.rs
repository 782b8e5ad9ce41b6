//! `/repo`: what clients see as a bucket.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Value, json};

use super::envelope::{all, one};
use super::input::{Input, NoFields, present};
use super::path::Named;
use super::state::Api;
use crate::http::Problem;
use crate::storage::{
    ByName, DefaultLevel, Mirror, ReadPolicy, RepositoryPolicy, RepositoryRow, Rule, WritePolicy,
    read_slo_ms, repository_as_json,
};

/// A repository that is to be added.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AddedRepository {
    name: String,
    buckets: Vec<String>,
    #[serde(default)]
    write: WritePolicy,
    #[serde(default)]
    read: ReadPolicy,
    #[serde(default)]
    consistency: DefaultLevel,
    #[serde(default)]
    redirect: bool,
    read_slo: Option<Slo>,
    mirror: Option<ByName<Mirror>>,
    #[serde(default)]
    rules: Vec<ByName<Rule>>,
}

/// What is to be changed of a repository. Its name stays: clients use it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ChangedRepository {
    buckets: Option<Vec<String>>,
    write: Option<WritePolicy>,
    read: Option<ReadPolicy>,
    consistency: Option<DefaultLevel>,
    redirect: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    read_slo: Option<Option<Slo>>,
    #[serde(default, deserialize_with = "present")]
    mirror: Option<Option<ByName<Mirror>>>,
    rules: Option<Vec<ByName<Rule>>>,
}

impl ChangedRepository {
    /// Changes what is given, and nothing else.
    fn apply(&self, row: &mut RepositoryRow) {
        let policy = &mut row.policy;
        policy.write = self.write.unwrap_or(policy.write);
        policy.read = self.read.unwrap_or(policy.read);
        policy.consistency = self.consistency.unwrap_or(policy.consistency);
        policy.redirect = self.redirect.unwrap_or(policy.redirect);
        if let Some(slo) = self.read_slo {
            policy.read_slo_ms = slo.map(|Slo(milliseconds)| milliseconds);
        }
        if let Some(mirror) = &self.mirror {
            policy.mirror = mirror.clone().map(|ByName(mirror)| mirror);
        }
        if let Some(rules) = &self.rules {
            policy.rules = rules.iter().map(|ByName(rule)| rule.clone()).collect();
        }
        if let Some(buckets) = &self.buckets {
            row.members.clone_from(buckets);
        }
    }
}

/// Milliseconds, written as a duration such as `50ms`.
#[derive(Clone, Copy)]
struct Slo(u64);

impl<'de> Deserialize<'de> for Slo {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        read_slo_ms(&text).map(Self).map_err(de::Error::custom)
    }
}

pub(super) async fn list(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let repositories = api.store.registry().repositories().await?;
    let repositories: Vec<_> = repositories.iter().map(repository_as_json).collect();
    Ok(Json(all(&repositories)))
}

pub(super) async fn show(
    State(api): State<Api>,
    Named([id]): Named<1>,
) -> Result<Json<Value>, Problem> {
    let repository = api.store.registry().repository(&id).await?;
    Ok(Json(one(repository_as_json(&repository))))
}

pub(super) async fn add(
    State(api): State<Api>,
    Input(added): Input<AddedRepository>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let policy = RepositoryPolicy {
        write: added.write,
        read: added.read,
        consistency: added.consistency,
        redirect: added.redirect,
        read_slo_ms: added.read_slo.map(|Slo(milliseconds)| milliseconds),
        mirror: added.mirror.map(|ByName(mirror)| mirror),
        rules: added.rules.into_iter().map(|ByName(rule)| rule).collect(),
    };
    let registry = api.store.registry();
    let id = registry
        .add_repository(&added.name, &added.buckets, &policy)
        .await?;
    let added = registry.repository(&id).await?;
    api.store.changed().await;
    Ok((StatusCode::CREATED, Json(one(repository_as_json(&added)))))
}

pub(super) async fn change(
    State(api): State<Api>,
    Named([id]): Named<1>,
    Input(changed): Input<ChangedRepository>,
) -> Result<Json<Value>, Problem> {
    let registry = api.store.registry();
    let change = |row: &mut RepositoryRow| changed.apply(row);
    let repository = registry.change_repository(&id, change).await?;
    api.store.changed().await;
    Ok(Json(one(repository_as_json(&repository))))
}

pub(super) async fn remove(
    State(api): State<Api>,
    Named([id]): Named<1>,
    NoFields {}: NoFields,
) -> Result<Json<Value>, Problem> {
    let registry = api.store.registry();
    let repository = registry.repository(&id).await?;
    registry.remove_repository(&repository.id).await?;
    api.store.changed().await;
    Ok(Json(json!({"success": true})))
}
