//! What a gateway asks the store, over the monitor's connection.
//!
//! Each is one message, and so one transaction that leaves nothing behind, whatever fails. Locks are
//! waited for only briefly: the monitor's samples wait behind.

use std::time::Duration;

use serde::Deserialize;
use tidegate_rollout::{FinishedRollout, GatewayReport, OpenRollout, RevisionHead, StoredRevision};
use tidegate_traffic::syntax::BYTES_MAX;
use tokio::time::timeout;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::StoreError;
use super::rows::STARTED;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Most floors that are looked at: a rollout brings one, and whoever writes many rows by hand signs none.
const FLOORS_MAX: usize = 64;

/// How a message begins.
const BEGIN: &str = "set local lock_timeout = '100ms'; ";

/// How long a rollout bakes its stages, in milliseconds, whatever is in its row.
const BAKE_MS: &str = "least(greatest(extract(epoch from bake) * 1000, 0), 1e9)::bigint";

/// What one poll reads.
#[derive(Debug, Deserialize)]
pub(super) struct Polled {
    /// The OID of the database: there may be several in one cluster, each with a store of its own.
    pub(super) database: Option<u32>,
    pub(super) newest: u64,
    pub(super) open: Option<OpenRollout>,
    /// The outcome of the rollout that was asked for.
    pub(super) ended: Option<String>,
    pub(super) finished: Option<FinishedRollout>,
    /// The newest finished one whose revision is not below the floor.
    pub(super) above_floor: Option<FinishedRollout>,
    /// The revisions with a greater floor that were in force, without their texts.
    floors: Vec<FloorRow>,
    pub(super) revisions: Vec<RevisionHead>,
}

/// What a poll asks for.
pub(super) struct PollOf {
    /// The revision in force.
    pub(super) in_force: u32,
    /// The rollout that is known as open.
    pub(super) rollout: u64,
    /// The greatest floor that is known.
    pub(super) floor: u32,
    /// The newest finished rollout of which the floors are known; nothing where none would count.
    pub(super) floors_of: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct FloorRow {
    revision: u32,
    floor: u32,
    sha256: String,
    signature: String,
}

impl Polled {
    /// The revisions with a greater floor that were in force, each with an empty text.
    pub(super) fn floors(&self) -> impl Iterator<Item = StoredRevision> {
        self.floors.iter().map(|row| StoredRevision {
            revision: row.revision,
            body: String::new(),
            sha256: row.sha256.clone(),
            language: 0,
            floor: row.floor,
            signature: Some(from_hex(&row.signature)),
        })
    }
}

/// Returns whether the store's tables are there.
pub(super) async fn exists(client: &Client) -> Result<bool, StoreError> {
    let sql = "select to_regclass('tidegate.traffic_gateway') is not null";
    Ok(value(client, sql).await?.as_deref() == Some("t"))
}

/// Reads the rollouts, their revisions and the one in force, and how a rollout has ended, in one snapshot.
pub(super) async fn poll(client: &Client, of: &PollOf) -> Result<Polled, StoreError> {
    let PollOf {
        in_force,
        rollout,
        floor,
        floors_of,
    } = of;
    let (asks, floors_of) = (floors_of.is_some(), floors_of.unwrap_or_default());
    let sql = format!(
        "with open as (select rollout, {STARTED} as started, revision, base, {BAKE_MS} as bake_ms, regions, stage, \
                 region, share, beat, paused, judge \
             from tidegate.traffic_rollout where outcome is null), \
         finished as (select rollout, {STARTED} as started, revision from tidegate.traffic_rollout \
             where outcome = 'done' order by rollout desc limit 1), \
         above_floor as (select rollout, {STARTED} as started, revision from tidegate.traffic_rollout \
             where outcome = 'done' and (revision = 0 or revision >= {floor}) order by rollout desc limit 1), \
         floors as (select revision, floor, left(sha256, 65) as sha256, \
                 encode(substr(signature, 1, 65), 'hex') as signature from tidegate.traffic_revision as it \
             where floor > {floor} and floor <= revision and signature is not null \
                 and exists (select from tidegate.traffic_rollout where outcome = 'done' and revision = it.revision) \
             order by floor desc limit {FLOORS_MAX}) \
         select json_build_object( \
             'database', (select oid::bigint from pg_database where datname = current_database()), \
             'newest', (select coalesce(max(rollout), 0) from tidegate.traffic_rollout), \
             'open', (select to_json(open) from open), \
             'ended', (select outcome from tidegate.traffic_rollout where rollout = {rollout}), \
             'finished', (select to_json(finished) from finished), \
             'above_floor', (select to_json(above_floor) from above_floor), \
             'floors', case when {asks} and coalesce((select rollout from finished), 0) <> {floors_of} \
                 then (select coalesce(json_agg(floors), '[]') from floors) else '[]' end, \
             'revisions', (select coalesce(json_agg(json_build_object('revision', revision, \
                 'version', xmin::text, 'bytes', octet_length(body), 'sha256', left(sha256, 65))), '[]') \
                 from tidegate.traffic_revision where revision in ( \
                     select revision from open union select revision from finished \
                     union select revision from above_floor union select {in_force})))"
    );
    let text = value(client, &sql).await?.unwrap_or_default();
    serde_json::from_str(&text).map_err(|error| StoreError::Row(error.to_string()))
}

/// Reads a revision, one character more than a sound digest and signature have; nothing if it is not there or its text is too long.
pub(super) async fn body(
    client: &Client,
    revision: u32,
) -> Result<Option<StoredRevision>, StoreError> {
    #[derive(Deserialize)]
    struct Row {
        body: String,
        sha256: String,
        language: u32,
        floor: u32,
        signature: Option<String>,
    }
    let sql = format!(
        "select json_build_object('body', body, 'sha256', left(sha256, 65), 'language', language, \
             'floor', floor, 'signature', encode(substr(signature, 1, 65), 'hex')) \
         from tidegate.traffic_revision where revision = {revision} and octet_length(body) <= {BYTES_MAX}"
    );
    let Some(text) = value(client, &sql).await? else {
        return Ok(None);
    };
    let row: Row = serde_json::from_str(&text).map_err(|it| StoreError::Row(it.to_string()))?;
    Ok(Some(StoredRevision {
        revision,
        body: row.body,
        sha256: row.sha256,
        language: row.language,
        floor: row.floor,
        signature: row.signature.map(|hex| from_hex(&hex)),
    }))
}

/// Writes a gateway's row, and removes those that are older than a day.
pub(super) async fn report(client: &Client, report: &GatewayReport) -> Result<(), StoreError> {
    let arms = serde_json::to_string(&report.arms).unwrap_or_default();
    let refused = report.refused.as_ref();
    let refused = refused.map_or_else(|| "null".to_owned(), |text| literal(text));
    let GatewayReport {
        language,
        rollout,
        revision,
        share,
        ..
    } = report;
    let values = [
        literal(&report.gateway),
        literal(&report.region),
        literal(&report.version),
        language.to_string(),
        rollout.to_string(),
        revision.to_string(),
        share.to_string(),
        literal(report.state.as_str()),
        refused,
        literal(&arms) + "::jsonb",
        "clock_timestamp()".to_owned(),
    ];
    let columns = "gateway, region, version, language, rollout, revision, share, state, refused, report, reported_at";
    let kept = columns.split(", ").skip(1);
    let kept: Vec<_> = kept
        .map(|name| format!("{name} = excluded.{name}"))
        .collect();
    let sql = format!(
        "set local transaction_read_only = off; set local synchronous_commit = off; \
         insert into tidegate.traffic_gateway ({columns}) values ({}) \
         on conflict (gateway) do update set {}; \
         delete from tidegate.traffic_gateway where reported_at < now() - interval '1 day'",
        values.join(", "),
        kept.join(", "),
    );
    messages(client, &sql).await.map(drop)
}

/// Removes the row of a gateway that ends, so that no command waits for it. While a rollout is open it stays: the leader
/// counts what it says, and would pass over a region whose only gateway starts anew.
pub(super) async fn leave(client: &Client, gateway: &str) -> Result<(), StoreError> {
    let gateway = literal(gateway);
    let sql = format!(
        "set local transaction_read_only = off; set local synchronous_commit = off; \
         delete from tidegate.traffic_gateway where gateway = {gateway} \
             and not exists (select from tidegate.traffic_rollout \
                 where outcome is null and renewed_at > clock_timestamp() - interval '15 s')"
    );
    messages(client, &sql).await.map(drop)
}

/// Returns the only value of the only row.
async fn value(client: &Client, sql: &str) -> Result<Option<String>, StoreError> {
    let messages = messages(client, sql).await?;
    let row = messages.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(row.and_then(|row| row.get(0).map(str::to_owned)))
}

async fn messages(client: &Client, sql: &str) -> Result<Vec<SimpleQueryMessage>, StoreError> {
    let sql = format!("{BEGIN}{sql}");
    match timeout(TIMEOUT, client.simple_query(&sql)).await {
        Ok(answer) => Ok(answer?),
        Err(_elapsed) => Err(StoreError::Timeout(TIMEOUT.as_secs())),
    }
}

/// Writes a text so that no setting of the session changes its meaning.
fn literal(text: &str) -> String {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("convert_from(decode('{hex}', 'hex'), 'UTF8')")
}

fn from_hex(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    bytes.filter_map(byte).collect()
}
