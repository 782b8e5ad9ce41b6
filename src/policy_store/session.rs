//! What commands do with the store: one connection to the primary.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use super::StoreError;
use super::rows::{
    InForceRow, ListedRevision, NewRevision, OpenRow, STARTED, TEXT_MAX, finished, in_force,
    listed, open_row, report, stored,
};
use crate::postgres::{Connection, Server, Session, connect};
use tidegate_rollout::{FinishedRollout, GatewayReport, StoredRevision};

/// Longest time to connect, and longest statement.
const CONNECT_MAX: Duration = Duration::from_secs(5);
const STATEMENT_MAX: Duration = Duration::from_secs(10);

/// Longest wait for the answer to a statement, if a command says no other: the server itself ends one before.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// How a time is written.
pub(super) const UTC: &str = "at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'";

/// One connection to the primary.
pub struct StoreSession {
    server: Server,
    connection: Connection,
    /// Longest wait for the answer to one statement.
    answer_max: Duration,
}

pub(super) type Arguments<'a> = &'a [&'a (dyn ToSql + Sync)];

impl StoreSession {
    /// Connects to the primary.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn open(server: &Server) -> Result<Self, StoreError> {
        Ok(Self {
            connection: connect_to(server).await?,
            server: server.clone(),
            answer_max: ANSWER_MAX,
        })
    }

    /// Waits no longer than this for the answer to a statement from now on.
    pub(super) fn answer_within(&mut self, limit: Duration) {
        self.answer_max = limit;
    }

    /// Connects again if the connection has ended, or was left in the middle of a statement.
    ///
    /// # Errors
    /// When the primary cannot be reached.
    pub async fn reopen_after(&mut self, error: &StoreError) -> Result<(), StoreError> {
        let is_left = matches!(error, StoreError::Timeout(_));
        if is_left || self.connection.client.is_closed() {
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
            // A lock of the table would need more than SELECT and INSERT.
            let lock = "select pg_advisory_xact_lock(hashtext('tidegate.traffic_revision'))";
            self.rows(lock, &[]).await?;
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
            if new.floor > revision {
                let floor = new.floor;
                return Err(StoreError::Floor { floor, revision });
            }
            let mut stored = StoredRevision {
                language: new.language,
                floor: new.floor,
                ..StoredRevision::unsigned(revision, new.body)
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
        let sql = format!(
            "select revision, left(author, {TEXT_MAX}), left(note, {TEXT_MAX}), to_char(created_at {UTC}), \
             left(sha256, 64), signature is not null, floor, \
             revision = (select revision from tidegate.traffic_rollout \
                 where outcome = 'done' order by rollout desc limit 1) is true \
             from tidegate.traffic_revision order by revision desc limit 1000"
        );
        self.rows(&sql, &[]).await?.iter().map(listed).collect()
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
        let sql = format!(
            "select rollout, {STARTED}, revision, base from tidegate.traffic_rollout \
             where outcome = 'done' order by rollout desc limit 1"
        );
        let rows = self.rows(&sql, &[]).await?;
        let in_force = rows.first().map(in_force).transpose()?;
        Ok(in_force.unwrap_or_default())
    }

    /// Returns the open rollout, if there is one, or the newest.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn newest(&self, only_open: bool) -> Result<Option<OpenRow>, StoreError> {
        let those = if only_open { "outcome is null" } else { "true" };
        self.row_of(those, &[]).await
    }

    /// Returns a rollout.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn rollout(&self, rollout: u64) -> Result<Option<OpenRow>, StoreError> {
        let number = i64::try_from(rollout).unwrap_or(i64::MAX);
        self.row_of("rollout = $1", &[&number]).await
    }

    /// Returns the newest rollback that has ended what a rollout has put in force.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn rolled_back_after(&self, rollout: u64) -> Result<Option<OpenRow>, StoreError> {
        let number = i64::try_from(rollout).unwrap_or(i64::MAX);
        let those = "rollout > $1 and kind = 'rollback' and outcome = 'done'";
        self.row_of(those, &[&number]).await
    }

    /// Returns the rollouts after one that are open or done, and not those that were taken back; at most 1,000.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn rollouts_after(&self, rollout: u64) -> Result<Vec<FinishedRollout>, StoreError> {
        let after = i64::try_from(rollout).unwrap_or(i64::MAX);
        let sql = format!(
            "select rollout, {STARTED}, revision from tidegate.traffic_rollout \
             where rollout > $1 and coalesce(outcome, 'done') = 'done' order by rollout limit 1000"
        );
        let rows = self.rows(&sql, &[&after]).await?;
        rows.iter().map(finished).collect()
    }

    async fn row_of(
        &self,
        those: &str,
        arguments: Arguments<'_>,
    ) -> Result<Option<OpenRow>, StoreError> {
        let sql = format!(
            "select rollout, kind, revision, base, stage, left(region, {TEXT_MAX}), share, paused, \
             left(by, {TEXT_MAX}), to_char(started_at {UTC}), outcome, left(reason, {TEXT_MAX}) \
             from tidegate.traffic_rollout where {those} order by rollout desc limit 1"
        );
        let rows = self.rows(&sql, arguments).await?;
        rows.first().map(open_row).transpose()
    }

    /// Returns what the gateways report.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn gateways(&self) -> Result<Vec<GatewayReport>, StoreError> {
        let sql = format!(
            "select left(gateway, {TEXT_MAX}), left(region, {TEXT_MAX}), left(version, {TEXT_MAX}), language, \
             rollout, revision, share, left(state, {TEXT_MAX}), left(refused, {TEXT_MAX}), \
             case when octet_length(report::text) <= 65536 then report::text end, \
             case when isfinite(reported_at) then \
                extract(epoch from clock_timestamp() - reported_at) else 1e9 end::float8 \
             from tidegate.traffic_gateway order by region, gateway limit 10000"
        );
        Ok(self.rows(&sql, &[]).await?.iter().map(report).collect())
    }

    /// Runs statements as one: all of them, or none.
    pub(super) async fn transaction<T>(
        &self,
        body: impl AsyncFnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let client = &self.connection.client;
        let begun = self.answer(client.batch_execute("begin read write")).await;
        begun.map_err(|error| match error {
            // A replica cannot begin one that writes.
            StoreError::Statement(error)
                if error.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED) =>
            {
                StoreError::ReadOnly
            }
            error => error,
        })?;
        let done = body().await;
        if let Err(StoreError::Timeout(_)) = done {
            // The connection is given up, and with it the transaction.
            return done;
        }
        let end = if done.is_ok() { "commit" } else { "rollback" };
        let ended = self.answer(client.batch_execute(end)).await;
        let done = done?;
        ended?;
        Ok(done)
    }

    pub(super) async fn run(&self, sql: &str, arguments: Arguments<'_>) -> Result<u64, StoreError> {
        self.answer(self.connection.client.execute(sql, arguments))
            .await
    }

    pub(super) async fn rows(
        &self,
        sql: &str,
        arguments: Arguments<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        self.answer(self.connection.client.query(sql, arguments))
            .await
    }

    /// Waits for an answer, but not for ever.
    async fn answer<T>(
        &self,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, StoreError> {
        match timeout(self.answer_max, statement).await {
            Ok(answered) => Ok(answered?),
            Err(_elapsed) => Err(StoreError::Timeout(self.answer_max.as_secs())),
        }
    }
}

async fn connect_to(server: &Server) -> Result<Connection, StoreError> {
    let session = Session {
        application_name: "tidegate/policy".to_owned(),
        statement_timeout: STATEMENT_MAX,
    };
    Ok(connect(server, &session, CONNECT_MAX).await?)
}

/// Whether a push would store what is there: the same text, floor and key, in a row that gateways take.
fn is_unchanged(known: &StoredRevision, new: &NewRevision<'_>) -> bool {
    let signed = new.key.map(|(fleet, key)| key.sign(fleet, known));
    let is_same = known.body == new.body && known.floor == new.floor && known.signature == signed;
    is_same && known.is_whole() && known.language == new.language
}

pub(super) fn int(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
