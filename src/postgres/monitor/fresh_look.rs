//! Looks anew where a node's name leads, beside a connection that works.
//!
//! A connection stays with its server whatever becomes of the name: after a failover that moved the
//! name, one to the former primary may go on answering for as long as that lives.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::Instrument;

use crate::postgres::{ConnectError, Connection, Server, Session, connect};
use tidegate_model::ServerIdentity;

/// Longest attempt to connect: some ten round trips around the world, twice over.
pub(super) const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Time between two looks while nothing speaks for another server: how long a former primary that
/// no evidence gives away is believed, at the price of one connection. Never less than between two
/// samples.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// Time between two looks at least. Names move in seconds, so more would find no more.
pub(super) const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(500);

/// How eagerly a node's name is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Only when somebody doubts.
    OnDoubt,
    /// Now and then.
    Steady,
    /// As often as makes sense: nobody takes the writes, and this name may lead to who will.
    Eager,
}

/// The state of looking. Dropping it ends a look that has begun.
pub(super) struct FreshLook {
    server: Arc<Server>,
    session: Session,
    interval: Duration,
    last: Instant,
    wanted: bool,
    /// At most one, in a task of its own: the samples between two polls may take a second each.
    running: JoinSet<Result<Connection, ConnectError>>,
}

impl FreshLook {
    /// Starts with a connection that was opened a moment ago.
    pub(super) fn new(server: &Arc<Server>, session: &Session, sample_interval: Duration) -> Self {
        Self {
            server: Arc::clone(server),
            session: session.clone(),
            interval: LOOK_INTERVAL.max(sample_interval),
            last: Instant::now(),
            wanted: false,
            running: JoinSet::new(),
        }
    }

    /// Makes the next look due as soon as may be.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// Waits until the name leads to another server than `known`, and returns a connection to it.
    /// A look that fails says nothing. Cancel-safe: a look that has begun goes on.
    pub(super) async fn moved(&mut self, known: ServerIdentity, pace: Pace) -> Connection {
        loop {
            if self.running.is_empty() {
                self.due(pace).await;
                self.begin();
            }
            match self.running.join_next().await {
                Some(Ok(Ok(connection))) if connection.identity != known => return connection,
                Some(Ok(Err(error))) => {
                    tracing::debug!(%error, "could not look where the name leads");
                }
                Some(Ok(Ok(_)) | Err(_)) | None => {}
            }
        }
    }

    async fn due(&self, pace: Pace) {
        let interval = match pace {
            _ if self.wanted => LOOK_INTERVAL_MIN,
            Pace::Eager => LOOK_INTERVAL_MIN,
            Pace::Steady => self.interval,
            Pace::OnDoubt => return std::future::pending().await,
        };
        sleep_until(self.last + interval).await;
    }

    fn begin(&mut self) {
        self.last = Instant::now();
        self.wanted = false;
        let (server, session) = (Arc::clone(&self.server), self.session.clone());
        let look = async move { connect(&server, &session, CONNECT_DEADLINE).await };
        self.running.spawn(look.in_current_span());
    }
}
