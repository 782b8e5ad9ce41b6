//! The nodes of the database, as the index asks them: statements in one round trip each.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join4};
use smallvec::SmallVec;
use tidegate_model::{Lsn, NodeStatus, Timeline, WalPosition};
use tidegate_policy::{Decision, NodeView, Step, plan};
use tidegate_steering::AttemptOutcome;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::PgLsn;
use tokio_postgres::{Error, Row};

use super::StorageError;
use super::owed::Owed;
use super::prepared::{Prepared, Values};
use crate::postgres::pool::{Lease, Node};
use crate::sql::{Database, POSITION, begin_on, is_gone};

/// Time to get an answer from the database, all nodes together.
const DEADLINE: Duration = Duration::from_secs(5);

/// Rows, and a position that covers what they show.
pub(super) struct Shown {
    pub(super) rows: Vec<Row>,
    pub(super) position: Option<WalPosition>,
}

/// What is at fault if no answer comes in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blame {
    Node,
    Statement,
}

/// The database that has the index.
#[derive(Clone)]
pub(super) struct IndexDatabase(pub(super) Arc<Database>);

impl IndexDatabase {
    /// Runs one statement on the primary, in a transaction of its own.
    ///
    /// # Errors
    /// If no answer came, the statement may have been executed.
    pub(super) async fn write(&self, sql: &str, values: Values<'_>) -> Result<Shown, StorageError> {
        let deadline = Instant::now() + DEADLINE;
        match self.write_once(sql, values, deadline).await {
            // Nothing was executed.
            Err(StorageError::Database(error)) if is_gone(&error) => {
                self.write_once(sql, values, deadline).await
            }
            written => written,
        }
    }

    async fn write_once(
        &self,
        sql: &str,
        values: Values<'_>,
        deadline: Instant,
    ) -> Result<Shown, StorageError> {
        let (node, index) = self.primary()?;
        let timeline = self.0.monitor.knowledge().timeline;
        let begin = begin_on(timeline.ok_or_else(no_primary)?);
        let lease = lease(node, false, deadline).await?;
        let client = lease.client();
        let sent = async {
            let prepared = Prepared::of(&lease, sql, values).await?;
            let (begun, rows, committed, position) = join4(
                client.batch_execute(&begin),
                prepared.rows(&lease, values),
                client.batch_execute("commit"),
                prepared.position(&lease),
            )
            .await;
            let position = match position {
                Err(error) if is_gone(&error) => client.query_typed(POSITION, &[]).await,
                position => position,
            };
            Ok::<_, Error>((begun, rows, committed, position))
        };
        let answered = timeout_at(deadline, Box::pin(sent)).await;
        let Ok(answered) = answered else {
            self.report(index, AttemptOutcome::Failed);
            return Err(StorageError::NoNode(
                "the primary does not answer".to_owned(),
            ));
        };
        let (begun, rows, committed, position) = match answered {
            Ok(ended) => ended,
            Err(error) => {
                if error.is_closed() {
                    self.report(index, AttemptOutcome::Failed);
                }
                return Err(StorageError::Database(error));
            }
        };
        let lost = [
            begun.as_ref().err(),
            rows.as_ref().err(),
            committed.as_ref().err(),
        ];
        if lost.iter().flatten().any(|error| error.is_closed()) {
            self.report(index, AttemptOutcome::Failed);
        } else if begun.is_ok() && rows.is_ok() && committed.is_ok() {
            lease.settle();
        } else {
            lease.settle_later();
        }
        begun.map_err(not_begun)?;
        let rows = rows?;
        committed?;
        let position = position
            .ok()
            .and_then(|rows| self.position(rows.first()?, None));
        Ok(Shown { rows, position })
    }

    /// Runs one read where its level and token allow it.
    ///
    /// # Errors
    /// If no node that may be asked answers.
    pub(super) async fn read(
        &self,
        owed: Owed,
        sql: &str,
        values: Values<'_>,
    ) -> Result<Shown, StorageError> {
        self.read_from(owed, sql, values, Blame::Node).await
    }

    /// Runs a read that may take long, in any committed state. That it does says nothing about its node.
    ///
    /// # Errors
    /// If no node answers in time.
    pub(super) async fn read_much(
        &self,
        sql: &str,
        values: Values<'_>,
    ) -> Result<Vec<Row>, StorageError> {
        let read = self.read_from(Owed::EVENTUAL, sql, values, Blame::Statement);
        read.await.map(|shown| shown.rows)
    }

    async fn read_from(
        &self,
        owed: Owed,
        sql: &str,
        values: Values<'_>,
        blame: Blame,
    ) -> Result<Shown, StorageError> {
        let deadline = Instant::now() + DEADLINE;
        let known = self.0.monitor.knowledge();
        let token = owed.token.at_present(known.lineage.as_deref());
        let token = token.map_err(|error| StorageError::Invalid(error.to_string()))?;
        let decision = owed.decision(token);
        let members = self.0.members.iter();
        let views: SmallVec<[_; 4]> = members
            .map(|member| NodeView {
                id: &member.node.id,
                status: known.status(&member.node.id),
            })
            .collect();
        let ranking = self.0.selector.ranking(Instant::now());
        let steps = plan(&decision, true, &views, &ranking, Instant::now());
        let mut failed = StorageError::NoNode(format!("none can honour {}", owed.consistency));
        for step in steps {
            let attempt = || self.attempt(&step, &decision, (sql, values, blame), deadline);
            let answered = match attempt().await {
                Err(StorageError::Database(error)) if is_gone(&error) => attempt().await,
                answered => answered,
            };
            match answered {
                Ok(Some(shown)) => return Ok(shown),
                Ok(None) => {}
                Err(error @ StorageError::Database(_)) => {
                    let lost = matches!(&error, StorageError::Database(it) if it.is_closed());
                    if !lost {
                        return Err(error);
                    }
                    self.report(step.node, AttemptOutcome::Failed);
                    failed = error;
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Asks one node; nothing if it turns out that it cannot honour the decision.
    async fn attempt(
        &self,
        step: &Step,
        decision: &Decision,
        (sql, values, blame): (&str, Values<'_>, Blame),
        deadline: Instant,
    ) -> Result<Option<Shown>, StorageError> {
        let node = &self.0.members[step.node].node;
        if let Some(lsn) = step.wait_for
            && !self.0.reaches(&node.id, lsn).await
        {
            return Ok(None);
        }
        let lease = lease(node, true, deadline).await?;
        let status = self.0.monitor.status(&node.id);
        let is_current = status.identity == Some(lease.life());
        if status.acts_as_primary != step.as_primary || !is_current {
            lease.settle();
            return Ok(None);
        }
        let both = async {
            let prepared = Prepared::of(&lease, sql, values).await?;
            let both = join(prepared.rows(&lease, values), prepared.position(&lease));
            Ok::<_, Error>(lease.in_one_go(pin!(both)).await)
        };
        let answered = timeout_at(deadline, Box::pin(both)).await;
        let Ok(answered) = answered else {
            if blame == Blame::Node {
                self.report(step.node, AttemptOutcome::Failed);
            }
            return Err(StorageError::NoNode(format!("{} does not answer", node.id)));
        };
        let (rows, position) = answered.map_err(StorageError::Database)?;
        let rows = rows?;
        lease.settle();
        self.report(step.node, AttemptOutcome::Answered);
        if self.is_too_old(decision, step, &status) {
            return Ok(None);
        }
        let position = position.ok();
        let position = position.and_then(|rows| self.position(rows.first()?, Some(&status)));
        Ok(Some(Shown { rows, position }))
    }

    /// Whether an answer of a replica is older than a bound allows by the time that it arrives.
    fn is_too_old(&self, decision: &Decision, step: &Step, status: &NodeStatus) -> bool {
        let Some(bound) = decision.consistency.max_staleness else {
            return false;
        };
        let newest = self.0.monitor.status(&status.node);
        let proven = [status.proven_at, newest.proven_at]
            .into_iter()
            .flatten()
            .max();
        !step.as_primary && proven.is_none_or(|at| at + bound < Instant::now())
    }

    fn primary(&self) -> Result<(&Node, usize), StorageError> {
        let known = self.0.monitor.knowledge();
        let mut members = self.0.members.iter().enumerate();
        let found = members.find(|(_, it)| known.status(&it.node.id).acts_as_primary);
        found
            .map(|(index, it)| (&*it.node, index))
            .ok_or_else(no_primary)
    }

    fn report(&self, index: usize, outcome: AttemptOutcome) {
        self.0.selector.report(index, outcome, None, Instant::now());
    }

    /// The position that a node has shown; a replica's timeline is known only to the monitor.
    fn position(&self, row: &Row, status: Option<&NodeStatus>) -> Option<WalPosition> {
        let lsn: PgLsn = row.try_get(0).ok()?;
        let file: Option<&str> = row.try_get(1).ok()?;
        let timeline = file.and_then(|name| u32::from_str_radix(name.get(..8)?, 16).ok());
        let known = self.0.monitor.knowledge();
        let system = known.lineage.as_ref().map(|lineage| lineage.present().0)?;
        let of_monitor = || Some(status?.position?.timeline);
        Some(WalPosition {
            system,
            timeline: timeline.map(Timeline).or_else(of_monitor)?,
            lsn: Lsn::from(u64::from(lsn)),
        })
    }
}

/// What is wrong with a transaction that could not begin: the number that [`begin_on`] asks for is not one
/// on another timeline. That says nothing about the statement, which was not executed.
fn not_begun(error: Error) -> StorageError {
    match error.code() {
        Some(&SqlState::INVALID_TEXT_REPRESENTATION) => no_primary(),
        _ => StorageError::Database(error),
    }
}

fn no_primary() -> StorageError {
    StorageError::NoNode("there is no primary".to_owned())
}

async fn lease(node: &Node, shared: bool, deadline: Instant) -> Result<Lease, StorageError> {
    let leased = async {
        match shared {
            true => node.lease_free_or_share(deadline).await,
            false => node.lease(deadline).await,
        }
    };
    let late = |_elapsed| StorageError::NoNode(format!("no connection to {} in time", node.id));
    let leased = timeout_at(deadline, leased).await.map_err(late)?;
    leased.map_err(|error| StorageError::NoNode(error.to_string()))
}
