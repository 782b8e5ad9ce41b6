//! One statement on one connection, in one round trip.
//!
//! Everything a request needs is sent before the first answer is awaited: the futures are joined in
//! the order in which the server must receive them, and each sends when it is first polled. Only a position
//! that several reads share is requested a moment later.
//! Dropping one of these futures leaves answers on the wire, so the caller must then give up the
//! connection.
//!
//! What a statement may leave in the session is undone before the server receives a statement of
//! another request: the reset is sent with it.

use std::pin::pin;

use bytes::Bytes;
use futures_util::future::{join, join3};
use smallvec::SmallVec;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{PgLsn, ToSql};
use tokio_postgres::{Error, Row, Statement};

use super::{Argument, Failure, SqlStatement};
use crate::postgres::pool::Lease;
use crate::postgres::reset_after_read;
use tidegate_model::{Lsn, Timeline};

/// The result of a statement.
#[derive(Debug)]
pub struct Answer {
    /// The JSON that PostgreSQL produced; `None` if a `single` statement returned no row.
    pub body: Option<Bytes>,
    /// The last row of a page that is followed by another.
    pub last: Option<LastRow>,
    /// A position that covers everything the statement saw or did, if one was requested.
    pub position: Option<Position>,
    /// Whether the session can serve others: everything the statement may have left was undone.
    pub session_is_clean: bool,
}

/// What the next page begins after: the value of the cursor's column.
#[derive(Debug)]
pub struct LastRow {
    /// It, unless it is NULL.
    pub cursor: Option<String>,
}

/// A WAL position as reported by the node that answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The position.
    pub lsn: Lsn,
    /// Its timeline; a replica's is known only to the monitor.
    pub timeline: Option<Timeline>,
}

/// The options of a statement.
#[derive(Debug, Clone, Copy)]
pub struct ReadOptions {
    /// Whether a position is requested; it always is by a write.
    pub with_position: bool,
    /// Whether the session is reset: the statement is not proven to leave nothing in it.
    pub resets_session: bool,
}

/// Reads the node's position, in a statement that runs after the one that it covers. A promotion
/// may happen between any two calls, so recovery is tested once.
pub(crate) const POSITION: &str = "select case when standby \
     then greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) \
     else pg_current_wal_insert_lsn() end, \
     case when not standby then pg_walfile_name(pg_current_wal_insert_lsn()) end \
     from (select pg_is_in_recovery() as standby offset 0) node";

/// Runs a statement in a read-only transaction (the session's default).
///
/// The types of a prepared statement's parameters are those at the time when it was prepared. If it
/// fails in a way that a change of the catalogue explains, it is prepared again and, if its types
/// have changed, run once more.
///
/// # Errors
/// A [`Failure`]; it is safe to run the statement again elsewhere.
pub async fn read(
    lease: &Lease,
    statement: &SqlStatement,
    arguments: &[Argument<'_>],
    options: ReadOptions,
) -> Result<Answer, Failure> {
    let fail = |cause| Failure::of(cause, statement, &[], false);
    let prepared = Prepared::of(lease, statement, options)
        .await
        .map_err(fail)?;
    let cause = match prepared.read(lease, arguments, options).await {
        Ok(answer) => return Ok(answer),
        Err(cause) => cause,
    };
    match may_be_stale(&cause) {
        false => Err(prepared.failure(cause, statement)),
        // Boxed: large and rarely needed.
        true => {
            Box::pin(read_anew(
                lease, statement, arguments, options, prepared, cause,
            ))
            .await
        }
    }
}

/// Prepares a failed read again, and runs it once more if that explains the failure.
async fn read_anew(
    lease: &Lease,
    statement: &SqlStatement,
    arguments: &[Argument<'_>],
    options: ReadOptions,
    prepared: Prepared,
    cause: Error,
) -> Result<Answer, Failure> {
    forget(lease, statement);
    let anew = Prepared::of(lease, statement, options).await;
    let anew = anew.map_err(|cause| Failure::of(cause, statement, &[], false))?;
    if anew.statement.params() != prepared.statement.params() {
        lease.doubt_catalogue();
    } else if !is_gone(&cause) {
        return Err(prepared.failure(cause, statement));
    }
    let answer = anew.read(lease, arguments, options).await;
    answer.map_err(|cause| anew.failure(cause, statement))
}

/// A read's statements, as prepared on one connection.
struct Prepared {
    statement: Statement,
    position: Option<Statement>,
}

impl Prepared {
    async fn of(
        lease: &Lease,
        statement: &SqlStatement,
        options: ReadOptions,
    ) -> Result<Self, Error> {
        let client = lease.client();
        // Sent together: names must not be resolved by what a statement of another request left
        // behind.
        let prepare = |text| Box::pin(client.prepare_cached(text));
        let statement = lease.in_one_go(prepare(statement.text()).as_mut()).await?;
        let position = match options.with_position {
            true => Some(lease.in_one_go(prepare(POSITION).as_mut()).await?),
            false => None,
        };
        Ok(Self {
            statement,
            position,
        })
    }

    async fn read(
        &self,
        lease: &Lease,
        arguments: &[Argument<'_>],
        options: ReadOptions,
    ) -> Result<Answer, Error> {
        if let Some(position) = &self.position
            && !options.resets_session
            && lease.is_shared()
        {
            return Box::pin(self.read_with_others(lease, arguments, position)).await;
        }
        if self.position.is_some() || options.resets_session {
            // Boxed: several times as large as what most reads need.
            return Box::pin(self.read_with_more(lease, arguments, options)).await;
        }
        let rows = pin!(query(lease, &self.statement, arguments));
        let rows = lease.in_one_go(rows).await?;
        Ok(Answer {
            last: last_row(&rows),
            body: body(rows),
            position: None,
            session_is_clean: true,
        })
    }

    /// Reads on a shared connection. One position covers every read that was sent before it, so that reads which
    /// are sent together request one.
    async fn read_with_others(
        &self,
        lease: &Lease,
        arguments: &[Argument<'_>],
        position: &Statement,
    ) -> Result<Answer, Error> {
        let rows = async {
            let rows = pin!(query(lease, &self.statement, arguments));
            lease.in_one_go(rows).await
        };
        // In this order: the rows are requested when the first is polled.
        let (rows, shown) = join(rows, lease.ask_together(position)).await;
        let rows = rows?;
        let position = match shown {
            Some(shown) => parse_position(&shown),
            // It shows why.
            None => {
                let own = pin!(lease.client().query_one(position, &[]));
                match lease.in_one_go(own).await {
                    Err(cause) if is_gone(&cause) => return Err(cause),
                    own => own.ok().as_ref().and_then(parse_position),
                }
            }
        };
        Ok(Answer {
            last: last_row(&rows),
            body: body(rows),
            position,
            session_is_clean: true,
        })
    }

    /// Reads, and requests the position or resets the session with it.
    async fn read_with_more(
        &self,
        lease: &Lease,
        arguments: &[Argument<'_>],
        options: ReadOptions,
    ) -> Result<Answer, Error> {
        let rows = query(lease, &self.statement, arguments);
        let position = async {
            match &self.position {
                Some(position) => Some(lease.client().query_one(position, &[]).await),
                None => None,
            }
        };
        let (rows, reset, position) = match options.resets_session {
            false => {
                let (rows, position) = lease.in_one_go(pin!(join(rows, position))).await;
                (rows, Ok(()), position)
            }
            true => {
                let reset = reset_after_read();
                let reset = lease.client().batch_execute(&reset);
                lease.in_one_go(pin!(join3(rows, reset, position))).await
            }
        };
        let rows = rows?;
        let position = match position {
            Some(Err(cause)) if is_gone(&cause) => return Err(cause),
            position => position.and_then(Result::ok),
        };
        Ok(Answer {
            last: last_row(&rows),
            body: body(rows),
            position: position.as_ref().and_then(parse_position),
            session_is_clean: reset.is_ok(),
        })
    }

    fn failure(&self, cause: Error, statement: &SqlStatement) -> Failure {
        Failure::of(cause, statement, self.statement.params(), true).of_read()
    }
}

/// Makes a read's statements be prepared again the next time.
fn forget(lease: &Lease, statement: &SqlStatement) {
    let cache = &lease.client().statement_cache;
    cache.remove(statement.text(), &[]);
    cache.remove(POSITION, &[]);
}

/// Whether a failure can be due to an outdated prepared statement rather than to the request: a
/// value that does not fit its parameter, a name or an operator that does not exist, a statement
/// that the server does not have.
fn may_be_stale(cause: &Error) -> bool {
    let class = cause.code().and_then(|code| code.code().get(..2));
    matches!(class, Some("22" | "26" | "42" | "0A" | "XX"))
}

/// Whether the server does not have the prepared statement, so that nothing was executed.
pub(crate) fn is_gone(cause: &Error) -> bool {
    cause.code() == Some(&SqlState::INVALID_SQL_STATEMENT_NAME)
}

/// Queries with borrowed arguments.
async fn query(
    lease: &Lease,
    prepared: &Statement,
    arguments: &[Argument<'_>],
) -> Result<Vec<Row>, Error> {
    let arguments: SmallVec<[&(dyn ToSql + Sync); 8]> = arguments
        .iter()
        .map(|argument| argument as &(dyn ToSql + Sync))
        .collect();
    lease.client().query(prepared, &arguments).await
}

/// The last row of a page, by the other columns of a [statement in pages](SqlStatement::in_pages).
pub(super) fn last_row(rows: &[Row]) -> Option<LastRow> {
    let row = rows.first().filter(|row| row.len() == 3)?;
    let is_followed: bool = row.try_get(1).ok()?;
    let cursor = row.try_get(2).ok().flatten();
    is_followed.then_some(LastRow { cursor })
}

/// The text of the first row's first column, without a copy: the bytes keep the row alive.
pub(super) fn body(rows: Vec<Row>) -> Option<Bytes> {
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

pub(super) fn parse_position(row: &Row) -> Option<Position> {
    let lsn: PgLsn = row.try_get(0).ok()?;
    let file: Option<&str> = row.try_get(1).ok()?;
    let timeline = file.and_then(|name| u32::from_str_radix(name.get(..8)?, 16).ok());
    Some(Position {
        lsn: Lsn::from(u64::from(lsn)),
        timeline: timeline.map(Timeline),
    })
}
