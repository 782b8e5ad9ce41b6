//! Operations on a server through SQL: queries, replay, streaming, promotion.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::timeout;
use tokio_postgres::types::PgLsn;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::postgres_server::{PostgresServer, conninfo};
use super::wait::until;

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// For replay, a new stream or a promotion: each takes well under a second on an idle machine.
const REPLICATION_DEADLINE: Duration = Duration::from_secs(60);
/// Nothing listens on it, so a replica that connects to it is refused at once.
const DEAD_PORT: u16 = 1;

impl PostgresServer {
    /// Opens a connection that closes with the client.
    ///
    /// # Errors
    ///
    /// Fails if the server does not accept it within five seconds.
    pub async fn client(&self) -> Result<Client> {
        let connecting = timeout(CONNECT_DEADLINE, connect(self.url()));
        connecting.await.context("PostgreSQL did not answer")?
    }

    /// Runs statements on a separate connection.
    ///
    /// # Errors
    ///
    /// Fails if the server cannot be reached or refuses a statement.
    pub async fn execute(&self, sql: &str) -> Result<()> {
        self.client()
            .await?
            .batch_execute(sql)
            .await
            .with_context(|| sql.to_owned())
    }

    /// The first column of the first row, as text; `None` without a row or if it is null.
    ///
    /// # Errors
    ///
    /// See [`execute`](Self::execute).
    pub async fn value(&self, sql: &str) -> Result<Option<String>> {
        let messages = self.client().await?.simple_query(sql).await;
        let messages = messages.with_context(|| sql.to_owned())?;
        Ok(messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        }))
    }

    /// The position up to which a primary has flushed: everything that has been committed.
    ///
    /// # Errors
    ///
    /// Fails on a replica, or see [`execute`](Self::execute).
    pub async fn flushed(&self) -> Result<PgLsn> {
        let row = self
            .client()
            .await?
            .query_one("select pg_current_wal_flush_lsn()", &[])
            .await?;
        Ok(row.try_get(0)?)
    }

    /// Waits until a replica has replayed a position.
    ///
    /// # Errors
    ///
    /// Fails if it has not within a minute.
    pub async fn wait_for_replay(&self, position: PgLsn) -> Result<()> {
        let replayed = "select coalesce(pg_last_wal_replay_lsn() >= $1, false)";
        until("the replica replays", REPLICATION_DEADLINE, async || {
            let row = self
                .client()
                .await?
                .query_one(replayed, &[&position])
                .await?;
            Ok(row.try_get::<_, bool>(0)?.then_some(()))
        })
        .await
    }

    /// Pauses replay on a replica, and waits until it is paused.
    ///
    /// # Errors
    ///
    /// See [`execute`](Self::execute).
    pub async fn pause_replay(&self) -> Result<()> {
        self.execute("select pg_wal_replay_pause()").await?;
        self.wait_until("pg_get_wal_replay_pause_state() = 'paused'")
            .await
    }

    /// Resumes replay on a replica.
    ///
    /// # Errors
    ///
    /// See [`execute`](Self::execute).
    pub async fn resume_replay(&self) -> Result<()> {
        self.execute("select pg_wal_replay_resume()").await
    }

    /// Makes a replica use a dead port for its WAL, and waits until its stream has ended.
    ///
    /// # Errors
    ///
    /// See [`execute`](Self::execute).
    pub async fn cut_stream(&self) -> Result<()> {
        self.set("primary_conninfo", &conninfo(DEAD_PORT)).await?;
        self.wait_until("not exists (select from pg_stat_wal_receiver)")
            .await
    }

    /// Makes a replica use the server that it followed before, and waits until it streams.
    ///
    /// # Errors
    ///
    /// See [`execute`](Self::execute).
    pub async fn restore_stream(&self) -> Result<()> {
        self.execute("alter system reset primary_conninfo").await?;
        self.execute("select pg_reload_conf()").await?;
        self.wait_until_it_streams().await
    }

    /// Lets a replica follow another server, such as one that was promoted, and waits until it
    /// streams.
    ///
    /// # Errors
    ///
    /// See [`execute`](Self::execute).
    pub async fn stream_from(&self, source: &Self) -> Result<()> {
        let upstream = conninfo(source.port());
        self.configure(&format!("primary_conninfo = '{upstream}'"))?;
        self.execute("alter system reset primary_conninfo").await?;
        self.execute("select pg_reload_conf()").await?;
        let port = format!("sender_port = {} and status = 'streaming'", source.port());
        self.wait_until(&format!(
            "exists (select from pg_stat_wal_receiver where {port})"
        ))
        .await
    }

    pub(super) async fn wait_until_it_streams(&self) -> Result<()> {
        let streaming = "exists (select from pg_stat_wal_receiver where status = 'streaming')";
        self.wait_until(streaming).await
    }

    /// Promotes a replica and waits until it accepts writes.
    ///
    /// # Errors
    ///
    /// Fails if it is not a replica, or see [`execute`](Self::execute).
    pub async fn promote(&self) -> Result<()> {
        let promoted = self.value("select pg_promote(true, 60)").await?;
        ensure!(
            promoted.as_deref() == Some("t"),
            "the server was not promoted"
        );
        Ok(())
    }

    /// Changes a setting that takes effect at a reload.
    ///
    /// # Errors
    ///
    /// See [`execute`](Self::execute).
    pub async fn set(&self, name: &str, value: &str) -> Result<()> {
        let value = value.replace('\'', "''");
        self.execute(&format!("alter system set {name} = '{value}'"))
            .await?;
        self.execute("select pg_reload_conf()").await
    }

    /// Waits until a condition, an SQL expression, is true.
    ///
    /// # Errors
    ///
    /// Fails if it is not within a minute.
    pub async fn wait_until(&self, condition: &str) -> Result<()> {
        let question = format!("select {condition}");
        until(condition, REPLICATION_DEADLINE, async || {
            let answer = self.value(&question).await?;
            Ok((answer.as_deref() == Some("t")).then_some(()))
        })
        .await
    }
}

async fn connect(url: String) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
    // It ends when the client is dropped; the client receives its errors.
    tokio::spawn(connection);
    Ok(client)
}
