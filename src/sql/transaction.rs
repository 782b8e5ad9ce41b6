//! One statement in a transaction of its own, in one round trip: begin, settings, role, statement, commit, and
//! the reset of the session.
//!
//! Everything is sent before the first answer is awaited, as in [`execute`](super::execute), so a request
//! that is given up leaves no transaction open. When a part of it fails:
//!
//! * After `begin` the transaction is aborted: the server refuses all that follows, and the commit rolls
//!   back. So no statement runs without its settings and its role.
//! * If `begin` itself fails, every part is a transaction of its own, which is read-only by the session's
//!   default. The statement runs as the gateway's own role, and its answer is thrown away.
//! * If the commit fails, which a client can cause (deferred constraints), the server skips the reset, which is
//!   in the same message. It is sent again.
//! * If the reset fails, the connection is closed.

use std::future::ready;
use std::pin::pin;

use futures_util::TryStreamExt;
use futures_util::future::{join, join5};
use smallvec::SmallVec;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row, Statement};

use super::begin::{Begin, GUARD, digits};
use super::execute::{Answer, POSITION, body, is_gone, last_row, parse_position};
use super::local_settings::BoundSettings;
use super::{Argument, Failure, SqlStatement};
use crate::postgres::pool::Lease;
use crate::postgres::{reset_after_read, reset_after_write};
use tidegate_model::Timeline;

/// Sets the role until the end of the transaction.
const SET_ROLE: &str = "select pg_catalog.set_config('role', $1, true)";

/// A statement, its arguments, and what its transaction sets.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// The statement.
    pub statement: &'a SqlStatement,
    /// Its arguments.
    pub arguments: &'a [Argument<'a>],
    /// The settings and the role of the transaction.
    pub local: Option<&'a BoundSettings<'a>>,
}

/// Runs a statement in a read-write transaction and takes the position after its commit. A server
/// in recovery or on another timeline than the primary's refuses before anything is executed.
///
/// Without `resets_session` the statement is proven to leave nothing but values of sequences.
///
/// # Errors
/// A [`Failure`]. If its kind is `Unavailable` the statement may have been committed: it was sent
/// and no answer arrived.
pub async fn write(
    lease: &Lease,
    work: Work<'_>,
    timeline: Timeline,
    resets_session: bool,
) -> Result<Answer, Failure> {
    let timeline = digits(timeline);
    let reset = match resets_session {
        true => reset_after_write(),
        false => "discard sequences".to_owned(),
    };
    let mut ended = work.run_on(lease, &timeline, &reset).await?;
    // A function had deallocated all prepared statements: without the guard nothing was executed.
    if ended.begun.as_ref().is_err_and(is_gone) && ended.reset.is_ok() {
        let cache = &lease.client().statement_cache;
        cache.remove(GUARD, &[]);
        cache.remove(POSITION, &[]);
        // Boxed: large and rarely needed.
        ended = Box::pin(work.run_on(lease, &timeline, &reset)).await?;
    }
    work.answer(lease, ended, Failure::of_begin).await
}

/// Runs a statement in a read-only transaction with settings or a role.
///
/// # Errors
/// A [`Failure`]; it is safe to run the statement again elsewhere.
pub(super) async fn read_in_transaction(
    lease: &Lease,
    work: Work<'_>,
    with_position: bool,
) -> Result<Answer, Failure> {
    let reset = reset_after_read();
    let position = match with_position {
        true => Some(work.prepare(lease, POSITION).await?),
        false => None,
    };
    let ended = work.run(lease, &Begin::Read, &reset, position).await;
    let of_begin = |cause, statement: &SqlStatement| Failure::of(cause, statement, &[], true);
    let answer = work.answer(lease, ended, of_begin).await;
    answer.map_err(Failure::of_read)
}

/// How the parts of a transaction ended.
struct Ended {
    begun: Result<(), Error>,
    set: Result<(), SetError>,
    rows: Result<Vec<Row>, Error>,
    committed: Result<(), Error>,
    reset: Result<(), Error>,
    position: Option<Result<Row, Error>>,
}

/// What could not be set.
enum SetError {
    Settings(Error),
    Role(Error),
}

impl Work<'_> {
    /// Prepares a statement other than the work's own, unless the connection has it.
    async fn prepare(&self, lease: &Lease, text: &str) -> Result<Statement, Failure> {
        let prepared = lease.client().prepare_cached(text).await;
        prepared.map_err(|cause| Failure::of(cause, self.statement, &[], false))
    }

    /// Runs a write on the primary of a timeline.
    async fn run_on(&self, lease: &Lease, timeline: &str, reset: &str) -> Result<Ended, Failure> {
        let prepare = |text| self.prepare(lease, text);
        let (guard, position) = join(prepare(GUARD), prepare(POSITION)).await;
        let begin = Begin::Write {
            timeline,
            guard: guard?,
        };
        Ok(self.run(lease, &begin, reset, Some(position?)).await)
    }

    /// Runs all parts. The statement is parsed in its own transaction, which locks the objects that it
    /// names: no value is ever converted by a column's former type, and no name is looked up by another
    /// role than the transaction's.
    async fn run(
        &self,
        lease: &Lease,
        begin: &Begin<'_>,
        reset: &str,
        position: Option<Statement>,
    ) -> Ended {
        let client = lease.client();
        let (begun, set, rows, (committed, reset), position) = join5(
            begin.send(client),
            set(client, self.local),
            self.query(client),
            commit_and_reset(client, reset),
            query_position(client, position),
        )
        .await;
        Ended {
            begun,
            set,
            rows,
            committed,
            reset,
            position,
        }
    }

    /// The answer, or the meaning of the first part that failed.
    async fn answer(
        &self,
        lease: &Lease,
        ended: Ended,
        of_begin: impl FnOnce(Error, &SqlStatement) -> Failure,
    ) -> Result<Answer, Failure> {
        let session_is_clean = ended.reset.is_ok();
        let failed = |failure| Failure {
            session_is_clean,
            ..failure
        };
        let begun = ended.begun;
        begun.map_err(|cause| failed(of_begin(cause, self.statement)))?;
        let set = ended.set;
        set.map_err(|error| failed(error.meaning(self.statement)))?;
        let rows = match ended.rows {
            Ok(rows) => rows,
            Err(cause) => return Err(failed(self.failure(lease, cause).await)),
        };
        let committed = ended.committed;
        committed.map_err(|cause| failed(Failure::of(cause, self.statement, &[], true)))?;
        let position = match ended.position {
            // Its function has deallocated all prepared statements.
            Some(Err(cause)) if is_gone(&cause) => position_anew(lease).await,
            position => position.and_then(Result::ok),
        };
        Ok(Answer {
            last: last_row(&rows),
            body: body(rows),
            position: position.as_ref().and_then(parse_position),
            session_is_clean,
        })
    }

    /// Parses the statement, lets PostgreSQL infer the types of its parameters, and queries with borrowed
    /// arguments.
    async fn query(&self, client: &Client) -> Result<Vec<Row>, Error> {
        let arguments: SmallVec<[(&(dyn ToSql + Sync), Type); 8]> = self
            .arguments
            .iter()
            .map(|argument| (argument as &(dyn ToSql + Sync), Type::UNKNOWN))
            .collect();
        client.query_typed(self.statement.text(), &arguments).await
    }

    /// The meaning of the failure of the statement. The types of its parameters are requested
    /// only now, because only the message for a value that does not fit names them.
    async fn failure(&self, lease: &Lease, cause: Error) -> Failure {
        let class = cause.code().and_then(|code| code.code().get(..2));
        let prepared = match class {
            Some("22" | "54") => lease.client().prepare(self.statement.text()).await.ok(),
            _ => None,
        };
        let types = prepared.as_ref().map(Statement::params).unwrap_or_default();
        let failure = Failure::of(cause, self.statement, types, true);
        match self.local {
            Some(_) => failure.of_client(),
            None => failure,
        }
    }
}

/// Sets the settings, then the role, which may not be allowed to.
async fn set(client: &Client, local: Option<&BoundSettings<'_>>) -> Result<(), SetError> {
    let Some(local) = local else {
        return Ok(());
    };
    let values = local.values.iter();
    let values: SmallVec<[(&(dyn ToSql + Sync), Type); 4]> = values
        .map(|value| (value as &(dyn ToSql + Sync), Type::TEXT))
        .collect();
    let settings = async {
        match local.text {
            "" => Ok(()),
            text => client.query_typed(text, &values).await.map(drop),
        }
    };
    let role = async {
        match &local.role {
            None => Ok(()),
            Some(role) => client
                .query_typed(SET_ROLE, &[(role, Type::TEXT)])
                .await
                .map(drop),
        }
    };
    let (settings, role) = join(settings, role).await;
    settings.map_err(SetError::Settings)?;
    role.map_err(SetError::Role)
}

impl SetError {
    fn meaning(self, statement: &SqlStatement) -> Failure {
        match self {
            Self::Settings(cause) => Failure::of_settings(cause, statement),
            Self::Role(cause) => Failure::of_role(cause, statement),
        }
    }
}

/// Commits and resets the session: one message, and one more after a commit that failed, of which the server
/// has skipped the rest.
async fn commit_and_reset(client: &Client, reset: &str) -> (Result<(), Error>, Result<(), Error>) {
    match commit_with(client, reset).await {
        Ok(reset) => (Ok(()), reset),
        Err(cause) => (Err(cause), client.batch_execute(reset).await),
    }
}

/// Sends `commit` and a reset. Returns the result of the reset if the transaction has been committed: each
/// command is answered for itself, the commit once it has taken effect.
async fn commit_with(client: &Client, reset: &str) -> Result<Result<(), Error>, Error> {
    let text = format!("commit; {reset}");
    let mut answers = pin!(client.simple_query_raw(&text).await?);
    answers.try_next().await?;
    Ok(answers.try_for_each(|_answer| ready(Ok(()))).await)
}

async fn query_position(
    client: &Client,
    position: Option<Statement>,
) -> Option<Result<Row, Error>> {
    match position {
        Some(position) => Some(client.query_one(&position, &[]).await),
        None => None,
    }
}

async fn position_anew(lease: &Lease) -> Option<Row> {
    let client = lease.client();
    client.statement_cache.remove(POSITION, &[]);
    let position = client.prepare_cached(POSITION).await.ok()?;
    client.query_one(&position, &[]).await.ok()
}
