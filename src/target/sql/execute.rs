//! One statement on one connection, in one round trip.
//!
//! Everything a request needs is sent before the first answer is awaited: the futures are joined in
//! the order in which the server is to see them, and each sends when it is first polled. Dropping
//! one of these futures leaves answers on the wire, so the caller must then give up the connection.

use bytes::Bytes;
use deadpool_postgres::ClientWrapper;
use futures_util::future::{join, join4};
use smallvec::SmallVec;
use tokio_postgres::types::{PgLsn, ToSql};
use tokio_postgres::{Row, Statement};

use super::{Argument, Failure, SqlStatement};
use crate::consistency::{Lsn, Timeline};

/// What a statement gave.
#[derive(Debug)]
pub struct Answer {
    /// The JSON that PostgreSQL made; `None` when a `single` statement had no row.
    pub body: Option<Bytes>,
    /// A position that covers everything the statement saw or did, if one was asked for.
    pub position: Option<Position>,
}

/// A WAL position as the node that answered knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Where.
    pub lsn: Lsn,
    /// On which timeline; a replica's is known to the monitor only.
    pub timeline: Option<Timeline>,
}

/// Asks where the node is, in a statement that runs after the one it speaks for. A promotion may
/// fall between any two calls, so whether there is recovery is asked once.
pub(in crate::target) const POSITION: &str = "select case when standby \
     then greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) \
     else pg_current_wal_insert_lsn() end, \
     case when not standby then pg_walfile_name(pg_current_wal_insert_lsn()) end \
     from (select pg_is_in_recovery() as standby offset 0) node";

/// Runs a statement in a read-only transaction (the connection's default).
///
/// # Errors
/// A [`Failure`]; it is safe to run the statement again elsewhere.
pub async fn read(
    client: &ClientWrapper,
    statement: &SqlStatement,
    arguments: &[Argument<'_>],
    with_position: bool,
) -> Result<Answer, Failure> {
    let fail = |cause| Failure::of(cause, statement, None);
    let prepared = client
        .prepare_cached(statement.text())
        .await
        .map_err(fail)?;
    let fail = |cause| Failure::of(cause, statement, Some(&prepared)).of_read();
    if !with_position {
        let rows = query(client, &prepared, arguments).await.map_err(fail)?;
        return Ok(Answer {
            body: body(rows),
            position: None,
        });
    }
    let position = client.prepare_cached(POSITION).await.map_err(fail)?;
    let (rows, position) = join(
        query(client, &prepared, arguments),
        client.query_one(&position, &[]),
    )
    .await;
    let body = body(rows.map_err(fail)?);
    Ok(Answer {
        body,
        position: position.ok().as_ref().and_then(parse_position),
    })
}

/// Runs a statement in a read-write transaction and takes the position after its commit. A server
/// in recovery or on another timeline than the primary's refuses before it has done anything.
///
/// # Errors
/// A [`Failure`]. When its kind is `Unavailable` the statement may have been committed: it was sent
/// and no answer came.
pub async fn write(
    client: &ClientWrapper,
    statement: &SqlStatement,
    arguments: &[Argument<'_>],
    timeline: Timeline,
) -> Result<Answer, Failure> {
    let fail = |cause| Failure::of(cause, statement, None);
    let prepared = client
        .prepare_cached(statement.text())
        .await
        .map_err(fail)?;
    let position = client.prepare_cached(POSITION).await.map_err(fail)?;
    let fail = |cause| Failure::of(cause, statement, Some(&prepared));
    let begin = begin_on(timeline);
    let (begun, rows, committed, position) = join4(
        client.batch_execute(&begin),
        query(client, &prepared, arguments),
        client.batch_execute("commit"),
        client.query_one(&position, &[]),
    )
    .await;
    begun.map_err(|cause| Failure::of_begin(cause, statement, &prepared))?;
    let rows = rows.map_err(fail)?;
    committed.map_err(fail)?;
    Ok(Answer {
        body: body(rows),
        position: position.ok().as_ref().and_then(parse_position),
    })
}

/// Begins a transaction that can only fail on a server other than the primary of a timeline: in
/// recovery `read write` is refused, and on another timeline the text does not become a number.
/// The statements that follow in one go then fail too, and the commit rolls back.
fn begin_on(Timeline(number): Timeline) -> String {
    format!(
        "begin isolation level read committed read write; \
         select (case left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) \
         when '{number:08X}' then '0' else 'not the primary of timeline {number}' end)::int"
    )
}

/// Queries with borrowed arguments.
async fn query(
    client: &ClientWrapper,
    prepared: &Statement,
    arguments: &[Argument<'_>],
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let arguments: SmallVec<[&(dyn ToSql + Sync); 8]> = arguments
        .iter()
        .map(|argument| argument as &(dyn ToSql + Sync))
        .collect();
    client.query(prepared, &arguments).await
}

/// The text of the first row's only column, without a copy: the bytes keep the row alive.
fn body(rows: Vec<Row>) -> Option<Bytes> {
    struct JsonText(Row);
    impl AsRef<[u8]> for JsonText {
        fn as_ref(&self) -> &[u8] {
            self.0.try_get::<_, &str>(0).unwrap_or_default().as_bytes()
        }
    }
    rows.into_iter()
        .next()
        .map(|row| Bytes::from_owner(JsonText(row)))
}

fn parse_position(row: &Row) -> Option<Position> {
    let lsn: PgLsn = row.try_get(0).ok()?;
    let file: Option<&str> = row.try_get(1).ok()?;
    let timeline = file.and_then(|name| u32::from_str_radix(name.get(..8)?, 16).ok());
    Some(Position {
        lsn: Lsn::from(u64::from(lsn)),
        timeline: timeline.map(Timeline),
    })
}
