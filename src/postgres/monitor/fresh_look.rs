//! Re-resolves a node's name while a connection works.
//!
//! A connection stays with its server even if the name moves: after a failover that moved the name,
//! one to the former primary may continue to answer as long as that server lives.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::Instrument;

use crate::postgres::{ConnectError, Connection, Server, Session, connect};
use tidegate_model::ServerIdentity;

/// Longest attempt to connect: twice the time of about ten round trips around the world.
pub(super) const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Time between two checks while nothing indicates another server: how long a former primary is
/// trusted without other evidence, at the cost of one connection. Never less than the sample
/// interval.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// Shortest time between two checks. Names move in seconds, so more checks would find no more.
pub(super) const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(500);

/// How often a node's name is re-resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Only on request.
    OnDoubt,
    /// Occasionally.
    Steady,
    /// As often as is useful: no node takes the writes, and this name may lead to the next primary.
    Eager,
}

/// The state of the checks. Dropping it ends a check that has begun.
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

    /// Makes the next check due as soon as possible.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// Waits until the name leads to another server than `known`, and returns a connection to it.
    /// A check that fails is ignored. Cancel-safe: a check that has begun continues.
    pub(super) async fn moved(&mut self, known: ServerIdentity, pace: Pace) -> Connection {
        loop {
            if self.running.is_empty() {
                self.due(pace).await;
                self.begin();
            }
            match self.running.join_next().await {
                Some(Ok(Ok(connection))) if connection.identity != known => return connection,
                Some(Ok(Err(error))) => {
                    tracing::debug!(%error, "could not re-resolve the name");
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
