//! What commands do with the store: one connection to the primary.

use std::time::Duration;

use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::StoreError;
use crate::postgres::{Connection, Server, Session, connect};
use tidegate_rollout::{
    ArmReport, GatewayReport, RolloutStage, SigningKey, StoredRevision, sha256_hex,
};

/// Longest time to connect, and longest statement.
const CONNECT_MAX: Duration = Duration::from_secs(5);
const STATEMENT_MAX: Duration = Duration::from_secs(10);

/// How a time is written.
const UTC: &str = "at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'";

/// Ends an open rollout whose leader is gone.
const EXPIRE: &str = "update tidegate.traffic_rollout \
    set outcome = 'expired', reason = 'its leader was gone for 15 s', ended_at = clock_timestamp() \
    where outcome is null and renewed_at < clock_timestamp() - interval '15 s'";

/// The condition under which a leader may go on.
const LED: &str = "rollout = $1 and leader = $2 and outcome is null \
    and renewed_at > clock_timestamp() - interval '10 s'";

/// One connection to the primary.
pub struct StoreSession {
    server: Server,
    connection: Connection,
}

/// A revision to be stored.
pub struct NewRevision<'a> {
    /// Its text, checked.
    pub body: &'a str,
    /// The least language that it needs.
    pub language: u32,
    /// Who has written it.
    pub author: &'a str,
    /// What it is for.
    pub note: &'a str,
    /// Revisions below it are void.
    pub floor: u32,
    /// The fleet's name and the key that signs.
    pub key: Option<(&'a str, &'a SigningKey)>,
}

/// A revision in the list.
#[derive(Clone, Debug, Serialize)]
pub struct ListedRevision {
    /// Its number.
    pub revision: u32,
    /// Who has written it.
    pub author: String,
    /// What it is for.
    pub note: String,
    /// When it was stored.
    pub created_at: String,
    /// The digest of its text.
    pub sha256: String,
    /// Whether it is signed.
    pub signed: bool,
    /// Revisions below it are void.
    pub floor: u32,
    /// Whether it is in force.
    pub in_force: bool,
}

/// The rollout that has put in force what is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InForceRow {
    /// Its number; 0 before the first.
    pub rollout: u64,
    /// Its revision; 0 for the built-in policy.
    pub revision: u32,
    /// What was in force before.
    pub base: u32,
}

/// A rollout, open or not.
#[derive(Clone, Debug, Serialize)]
pub struct OpenRow {
    /// Its number.
    pub rollout: u64,
    /// `rollout` or `rollback`.
    pub kind: String,
    /// Its revision.
    pub revision: u32,
    /// What was in force before.
    pub base: u32,
    /// Its stage.
    pub stage: String,
    /// The region at work.
    pub region: Option<String>,
    /// The share of its keys, of 10,000.
    pub share: u16,
    /// Whether the bake stands still.
    pub paused: bool,
    /// Who leads it.
    pub by: String,
    /// Since when.
    pub started_at: String,
    /// How it has ended.
    pub outcome: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// A rollout to begin.
pub struct NewRollout<'a> {
    /// The revision.
    pub revision: u32,
    /// The regions in their order.
    pub regions: &'a [String],
    /// How long each stage bakes.
    pub bake: Duration,
    /// Of 10,000 decisions.
    pub blast_radius: u32,
    /// What is judged.
    pub judge: &'a str,
    /// The random id of the leader.
    pub leader: &'a str,
    /// Who begins it.
    pub by: &'a str,
}

/// What a rollback has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyRollback {
    /// It has ended an open rollout: what was in force still is.
    Ended {
        /// The rollout.
        rollout: u64,
        /// What is in force.
        in_force: InForceRow,
    },
    /// An older revision is in force.
    Done(InForceRow),
}

/// How a rollout ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutEnd {
    /// Its revision is in force.
    Done,
    /// An operator has ended it.
    Aborted,
    /// It was found bad.
    Stopped,
}

impl RolloutEnd {
    fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Aborted => "aborted",
            Self::Stopped => "stopped",
        }
    }
}

type Arguments<'a> = &'a [&'a (dyn ToSql + Sync)];

impl StoreSession {
    /// Connects to the primary.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn open(server: &Server) -> Result<Self, StoreError> {
        Ok(Self {
            connection: connect_to(server).await?,
            server: server.clone(),
        })
    }

    /// Connects again if the connection has ended.
    ///
    /// # Errors
    /// When the primary cannot be reached.
    pub async fn reopen(&mut self) -> Result<(), StoreError> {
        if self.connection.client.is_closed() {
            self.connection = connect_to(&self.server).await?;
        }
        Ok(())
    }

    /// Stores a revision; an unchanged text keeps its number. Returns the number, and whether it is new.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn push(&self, new: &NewRevision<'_>) -> Result<(u32, bool), StoreError> {
        self.transaction(async || {
            self.run(
                "lock table tidegate.traffic_revision in share row exclusive mode",
                &[],
            )
            .await?;
            let newest = "select revision, body, sha256, language, floor, signature \
                from tidegate.traffic_revision order by revision desc limit 1";
            let newest = self.rows(newest, &[]).await?;
            let newest = newest.first().map(stored).transpose()?;
            if let Some(known) = &newest
                && is_unchanged(known, new)
            {
                return Ok((known.revision, false));
            }
            let revision = newest.map_or(0, |known| known.revision) + 1;
            let mut stored = StoredRevision {
                revision,
                body: new.body.to_owned(),
                sha256: sha256_hex(new.body.as_bytes()),
                language: new.language,
                floor: new.floor,
                signature: None,
            };
            stored.signature = new.key.map(|(fleet, key)| key.sign(fleet, &stored));
            let insert = "insert into tidegate.traffic_revision \
                (revision, body, sha256, language, floor, signature, author, note) \
                values ($1, $2, $3, $4, $5, $6, $7, $8)";
            let (number, language, floor) = (int(revision), int(new.language), int(new.floor));
            let arguments: Arguments<'_> = &[
                &number,
                &stored.body,
                &stored.sha256,
                &language,
                &floor,
                &stored.signature,
                &new.author,
                &new.note,
            ];
            self.run(insert, arguments).await?;
            Ok((revision, true))
        })
        .await
    }

    /// Returns the revisions, newest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn list(&self) -> Result<Vec<ListedRevision>, StoreError> {
        let in_force = self.in_force().await?.revision;
        let sql = format!(
            "select revision, author, note, to_char(created_at {UTC}), sha256, signature is not null, floor \
             from tidegate.traffic_revision order by revision desc limit 1000"
        );
        let rows = self.rows(&sql, &[]).await?;
        let listed = |row: &Row| {
            let revision = number(row, 0)?;
            Ok(ListedRevision {
                revision,
                author: row.try_get(1)?,
                note: row.try_get(2)?,
                created_at: row.try_get(3)?,
                sha256: row.try_get(4)?,
                signed: row.try_get(5)?,
                floor: number(row, 6)?,
                in_force: revision == in_force,
            })
        };
        rows.iter().map(listed).collect()
    }

    /// Returns a revision.
    ///
    /// # Errors
    /// When it is not there, or cannot be read.
    pub async fn revision(&self, revision: u32) -> Result<StoredRevision, StoreError> {
        let sql = "select revision, body, sha256, language, floor, signature \
            from tidegate.traffic_revision where revision = $1";
        let rows = self.rows(sql, &[&int(revision)]).await?;
        if let Some(row) = rows.first() {
            return stored(row);
        }
        let sql = "select max(revision) from tidegate.traffic_revision";
        let newest = self.rows(sql, &[]).await?;
        let newest = newest.first().map(|row| row.try_get::<_, Option<i32>>(0));
        let known = match newest.transpose()?.flatten() {
            Some(newest) => format!("the newest is {newest}"),
            None => "there are none yet: `tidegate policy push FILE`".to_owned(),
        };
        Err(StoreError::NoRevision { revision, known })
    }

    /// Returns the rollout that has put in force what is.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn in_force(&self) -> Result<InForceRow, StoreError> {
        let sql = "select rollout, revision, base from tidegate.traffic_rollout \
            where outcome = 'done' order by rollout desc limit 1";
        let rows = self.rows(sql, &[]).await?;
        let row = |row: &Row| {
            Ok::<_, StoreError>(InForceRow {
                rollout: long(row, 0)?,
                revision: number(row, 1)?,
                base: number(row, 2)?,
            })
        };
        Ok(rows.first().map(row).transpose()?.unwrap_or_default())
    }

    /// Returns the open rollout, if there is one, or the newest.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn newest(&self, only_open: bool) -> Result<Option<OpenRow>, StoreError> {
        let open = if only_open {
            "where outcome is null"
        } else {
            ""
        };
        let sql = format!(
            "select rollout, kind, revision, base, stage, region, share, paused, by, \
             to_char(started_at {UTC}), outcome, reason \
             from tidegate.traffic_rollout {open} order by rollout desc limit 1"
        );
        let rows = self.rows(&sql, &[]).await?;
        let row = |row: &Row| {
            Ok(OpenRow {
                rollout: long(row, 0)?,
                kind: row.try_get(1)?,
                revision: number(row, 2)?,
                base: number(row, 3)?,
                stage: row.try_get(4)?,
                region: row.try_get(5)?,
                share: number(row, 6)? as u16,
                paused: row.try_get(7)?,
                by: row.try_get(8)?,
                started_at: row.try_get(9)?,
                outcome: row.try_get(10)?,
                reason: row.try_get(11)?,
            })
        };
        rows.first().map(row).transpose()
    }

    /// Returns what the gateways report.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn gateways(&self) -> Result<Vec<GatewayReport>, StoreError> {
        let sql = "select gateway, region, version, language, rollout, revision, share, state, refused, \
            report::text, extract(epoch from clock_timestamp() - reported_at)::float8 \
            from tidegate.traffic_gateway order by region, gateway limit 10000";
        self.rows(sql, &[]).await?.iter().map(report).collect()
    }

    /// Begins a rollout.
    ///
    /// # Errors
    /// When another one is open, or the revision is below the one in force.
    pub async fn begin(&self, new: &NewRollout<'_>) -> Result<u64, StoreError> {
        self.transaction(async || {
            self.lock_rollouts().await?;
            self.refuse_open().await?;
            let in_force = self.in_force().await?.revision;
            let revision = new.revision;
            if revision < in_force {
                return Err(StoreError::Below { revision, in_force });
            }
            let sql = "insert into tidegate.traffic_rollout \
                (kind, revision, base, regions, bake, blast_radius, judge, leader, by) \
                values ('rollout', $1, $2, $3, make_interval(secs => $4), $5, $6, $7, $8) returning rollout";
            let (revision, base) = (int(revision), int(in_force));
            let (bake, radius) = (new.bake.as_secs_f64(), int(new.blast_radius));
            let arguments: Arguments<'_> = &[
                &revision,
                &base,
                &new.regions,
                &bake,
                &radius,
                &new.judge,
                &new.leader,
                &new.by,
            ];
            let rows = self.rows(sql, arguments).await?;
            rows.first().map_or(Ok(0), |row| long(row, 0))
        })
        .await
    }

    /// Shows that the leader lives; returns whether it still leads.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn renew(&self, rollout: u64, leader: &str) -> Result<bool, StoreError> {
        let sql = format!(
            "update tidegate.traffic_rollout set beat = beat + 1, renewed_at = clock_timestamp() where {LED}"
        );
        self.led(&sql, &[&big(rollout), &leader]).await
    }

    /// Goes on with a stage; returns whether it still leads.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn enter(
        &self,
        (rollout, leader): (u64, &str),
        stage: RolloutStage,
        region: Option<&str>,
        share: u16,
    ) -> Result<bool, StoreError> {
        let sql = format!(
            "update tidegate.traffic_rollout set stage = $3, region = $4, share = $5, beat = beat + 1, \
             renewed_at = clock_timestamp() where {LED}"
        );
        let (rollout, share) = (big(rollout), i32::from(share));
        let arguments: Arguments<'_> = &[&rollout, &leader, &stage.as_str(), &region, &share];
        self.led(&sql, arguments).await
    }

    /// Ends a rollout as its leader; returns whether it still led.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn end(
        &self,
        (rollout, leader): (u64, &str),
        end: RolloutEnd,
        reason: &str,
    ) -> Result<bool, StoreError> {
        let sql = format!(
            "update tidegate.traffic_rollout set outcome = $3, reason = $4, ended_at = clock_timestamp() \
             where {LED}"
        );
        let arguments: Arguments<'_> = &[&big(rollout), &leader, &end.as_str(), &reason];
        self.led(&sql, arguments).await
    }

    /// Ends the open rollout, whoever leads it.
    ///
    /// # Errors
    /// When none is open.
    pub async fn abort(&self, by: &str) -> Result<OpenRow, StoreError> {
        self.transaction(async || {
            self.lock_rollouts().await?;
            self.expire().await?;
            let open = self.newest(true).await?.ok_or(StoreError::NoneOpen)?;
            self.end_open(&format!("aborted by {by}")).await?;
            Ok(open)
        })
        .await
    }

    /// Lets the stage of the open rollout stand still, or bake again.
    ///
    /// # Errors
    /// When none is open.
    pub async fn pause(&self, paused: bool) -> Result<OpenRow, StoreError> {
        self.transaction(async || {
            self.lock_rollouts().await?;
            self.expire().await?;
            let sql = "update tidegate.traffic_rollout set paused = $1 where outcome is null";
            self.run(sql, &[&paused]).await?;
            self.newest(true).await?.ok_or(StoreError::NoneOpen)
        })
        .await
    }

    /// Ends an open rollout, else puts an older revision in force, at once and everywhere.
    ///
    /// # Errors
    /// When there is nothing to go back to.
    pub async fn roll_back(&self, to: Option<u32>, by: &str) -> Result<PolicyRollback, StoreError> {
        if let Some(revision) = to.filter(|it| *it > 0) {
            self.revision(revision).await?;
        }
        self.transaction(async || {
            self.lock_rollouts().await?;
            self.expire().await?;
            let (open, in_force) = (self.newest(true).await?, self.in_force().await?);
            if let Some(open) = open {
                self.end_open(&format!("rolled back by {by}")).await?;
                let rollout = open.rollout;
                if to.is_none() {
                    return Ok(PolicyRollback::Ended { rollout, in_force });
                }
            }
            if in_force.rollout == 0 || to.is_none() && in_force.revision == 0 {
                return Err(StoreError::NothingBefore);
            }
            let revision = to.unwrap_or(in_force.base);
            let base = self.base_of(revision).await?;
            let sql = "insert into tidegate.traffic_rollout \
                (kind, revision, base, regions, leader, by, outcome, reason, ended_at) \
                values ('rollback', $1, $2, '{}', '', $3, 'done', $4, clock_timestamp()) returning rollout";
            let reason = format!("from revision {}", in_force.revision);
            let (number, below) = (int(revision), int(base));
            let rows = self.rows(sql, &[&number, &below, &by, &reason]).await?;
            let rollout = rows.first().map_or(Ok(0), |row| long(row, 0))?;
            Ok(PolicyRollback::Done(InForceRow {
                rollout,
                revision,
                base,
            }))
        })
        .await
    }

    /// Writes that an open rollout has expired, if it has.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn expire_if_left(&self) -> Result<(), StoreError> {
        self.transaction(async || self.expire().await).await
    }

    /// What was in force before a revision was rolled out.
    async fn base_of(&self, revision: u32) -> Result<u32, StoreError> {
        let sql = "select base from tidegate.traffic_rollout \
            where outcome = 'done' and kind = 'rollout' and revision = $1 order by rollout desc limit 1";
        let rows = self.rows(sql, &[&int(revision)]).await?;
        rows.first().map_or(Ok(0), |row| number(row, 0))
    }

    async fn lock_rollouts(&self) -> Result<(), StoreError> {
        let sql = "lock table tidegate.traffic_rollout in share row exclusive mode";
        self.run(sql, &[]).await.map(drop)
    }

    async fn expire(&self) -> Result<(), StoreError> {
        self.run(EXPIRE, &[]).await.map(drop)
    }

    async fn end_open(&self, reason: &str) -> Result<(), StoreError> {
        let sql = "update tidegate.traffic_rollout \
            set outcome = 'aborted', reason = $1, ended_at = clock_timestamp() where outcome is null";
        self.run(sql, &[&reason]).await.map(drop)
    }

    async fn refuse_open(&self) -> Result<(), StoreError> {
        self.expire().await?;
        match self.newest(true).await? {
            None => Ok(()),
            Some(open) => Err(StoreError::Open {
                rollout: open.rollout,
                revision: open.revision,
                by: open.by,
                since: open.started_at,
            }),
        }
    }

    async fn led(&self, sql: &str, arguments: Arguments<'_>) -> Result<bool, StoreError> {
        self.transaction(async || Ok(self.run(sql, arguments).await? == 1))
            .await
    }

    /// Runs statements as one: all of them, or none.
    async fn transaction<T>(
        &self,
        body: impl AsyncFnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let client = &self.connection.client;
        client.batch_execute("begin read write").await?;
        let done = body().await;
        let end = if done.is_ok() { "commit" } else { "rollback" };
        let ended = client.batch_execute(end).await;
        let done = done?;
        ended?;
        Ok(done)
    }

    async fn run(&self, sql: &str, arguments: Arguments<'_>) -> Result<u64, StoreError> {
        Ok(self.connection.client.execute(sql, arguments).await?)
    }

    async fn rows(&self, sql: &str, arguments: Arguments<'_>) -> Result<Vec<Row>, StoreError> {
        Ok(self.connection.client.query(sql, arguments).await?)
    }
}

async fn connect_to(server: &Server) -> Result<Connection, StoreError> {
    let session = Session {
        application_name: "tidegate/policy".to_owned(),
        statement_timeout: STATEMENT_MAX,
    };
    Ok(connect(server, &session, CONNECT_MAX).await?)
}

/// Whether a push would store what is there: the same text, floor and key.
fn is_unchanged(known: &StoredRevision, new: &NewRevision<'_>) -> bool {
    let signed = new.key.map(|(fleet, key)| key.sign(fleet, known));
    known.body == new.body && known.floor == new.floor && known.signature == signed
}

fn stored(row: &Row) -> Result<StoredRevision, StoreError> {
    Ok(StoredRevision {
        revision: number(row, 0)?,
        body: row.try_get(1)?,
        sha256: row.try_get(2)?,
        language: number(row, 3)?,
        floor: number(row, 4)?,
        signature: row.try_get(5)?,
    })
}

fn report(row: &Row) -> Result<GatewayReport, StoreError> {
    let wrong = |error: &dyn std::fmt::Display| StoreError::Row(error.to_string());
    let (state, arms): (String, String) = (row.try_get(7)?, row.try_get(9)?);
    let age: f64 = row.try_get(10)?;
    // A newer gateway may count what this program does not know.
    let arms: ArmReport = serde_json::from_str(&arms).unwrap_or_default();
    Ok(GatewayReport {
        gateway: row.try_get(0)?,
        region: row.try_get(1)?,
        version: row.try_get(2)?,
        language: number(row, 3)?,
        rollout: long(row, 4)?,
        revision: number(row, 5)?,
        share: u16::try_from(number(row, 6)?).map_err(|error| wrong(&error))?,
        state: state.parse().map_err(|error: String| wrong(&error))?,
        refused: row.try_get(8)?,
        age: Duration::from_secs_f64(age.max(0.0)),
        arms,
    })
}

fn int(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn big(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn number(row: &Row, column: usize) -> Result<u32, StoreError> {
    let number: i32 = row.try_get(column)?;
    u32::try_from(number).map_err(|error| StoreError::Row(error.to_string()))
}

fn long(row: &Row, column: usize) -> Result<u64, StoreError> {
    let number: i64 = row.try_get(column)?;
    u64::try_from(number).map_err(|error| StoreError::Row(error.to_string()))
}
