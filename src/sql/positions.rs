//! The primary's insert position, for clients of applications that do not state their own. Questions are
//! pipelined over one connection, which is opened when the first is asked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, Shared};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::Statement;

use super::Position;
use super::execute::{POSITION, parse_position};
use crate::postgres::Connection;
use crate::postgres::pool::Node;
use tidegate_model::NodeId;
use tidegate_telemetry::survive;

/// Time between two attempts to open the connection while they fail: more would load a primary that takes
/// none.
const PAUSE: Duration = Duration::from_millis(250);

/// Longest time to open the connection: questions wait for no other while it is being opened.
const OPENING_MAX: Duration = Duration::from_secs(10);

/// Asks the primary for its position.
pub(super) struct Positions {
    /// The longest time for one question, the opening of the connection included.
    patience: Duration,
    newest: Mutex<Option<Dialled>>,
}

/// The connection to a node, open or being opened by a task of its own: one that takes longer than a
/// question may is there for the next.
#[derive(Clone)]
struct Dialled {
    node: NodeId,
    since: Instant,
    opening: Shared<BoxFuture<'static, Option<Arc<Asker>>>>,
}

struct Asker {
    connection: Connection,
    statement: Statement,
}

impl Positions {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            newest: Mutex::default(),
        }
    }

    /// Asks a node for its position, which `is_meant` has to accept. None if it is not there in time.
    pub(super) async fn ask(
        &self,
        node: &Arc<Node>,
        is_meant: impl FnOnce(Position) -> bool,
    ) -> Option<Position> {
        let until = Instant::now() + self.patience;
        let dialled = self.dialled(node);
        let opened = timeout_at(until, dialled.opening.clone()).await.ok()??;
        let client = &opened.connection.client;
        let shown = timeout_at(until, client.query_one(&opened.statement, &[])).await;
        let shown = shown.ok().and_then(Result::ok);
        let shown = shown.as_ref().and_then(parse_position);
        let shown = shown.filter(|shown| is_meant(*shown));
        if shown.is_none() {
            // It is silent or broken, or leads to another server than the primary.
            self.give_up(&dialled);
        }
        shown
    }

    fn dialled(&self, node: &Arc<Node>) -> Dialled {
        let mut newest = self.lock();
        if let Some(known) = newest.as_ref().filter(|it| it.is_of_use(&node.id)) {
            return known.clone();
        }
        let opening = in_time(node.id.clone(), open(Arc::clone(node)));
        let opening = opening.boxed().shared();
        tokio::spawn(opening.clone());
        let dialled = Dialled {
            node: node.id.clone(),
            since: Instant::now(),
            opening,
        };
        newest.insert(dialled).clone()
    }

    /// Closes a connection once all questions on it have ended.
    fn give_up(&self, given_up: &Dialled) {
        let mut newest = self.lock();
        if newest
            .as_ref()
            .is_some_and(|it| it.opening.ptr_eq(&given_up.opening))
        {
            *newest = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Dialled>> {
        // A panic while it is held cannot leave half a connection.
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dialled {
    fn is_of_use(&self, node: &NodeId) -> bool {
        let is_open = match self.opening.peek() {
            Some(Some(opened)) => !opened.connection.client.is_closed(),
            Some(None) => self.since.elapsed() < PAUSE,
            None => true,
        };
        is_open && self.node == *node
    }
}

async fn open(node: Arc<Node>) -> Result<Asker, String> {
    let connection = node.connect().await.map_err(|error| error.to_string())?;
    let statement = connection.client.prepare(POSITION).await;
    let statement = statement.map_err(|error| error.to_string())?;
    Ok(Asker {
        connection,
        statement,
    })
}

/// Waits until a connection is open, for so long at most: a server may take it, and then be silent.
async fn in_time<A>(
    node: NodeId,
    opening: impl Future<Output = Result<A, String>>,
) -> Option<Arc<A>> {
    // One that has panicked would stay, and all questions on it would panic.
    let opened = survive("positions", timeout(OPENING_MAX, opening)).await;
    let opened = match opened {
        Some(Ok(opened)) => opened,
        Some(Err(_elapsed)) => Err("it takes too long".to_owned()),
        None => Err("opening it has panicked".to_owned()),
    };
    match opened {
        Ok(opened) => Some(Arc::new(opened)),
        Err(reason) => {
            tracing::debug!(%node, reason, "no connection for positions");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_open_is_given_up() {
        let silent = in_time(NodeId::Primary, pending::<Result<(), _>>());
        let given_up = timeout(2 * OPENING_MAX, silent).await;
        assert_eq!(given_up, Ok(None));
        let opened = in_time(NodeId::Primary, ready(Ok(7))).await;
        assert_eq!(opened.as_deref(), Some(&7));
    }

    #[tokio::test]
    async fn a_connection_whose_opening_panics_is_none() {
        let dies = ready(()).map(|()| -> Result<(), String> { panic!("it dies") });
        assert_eq!(in_time(NodeId::Primary, dies).await, None);
    }
}
