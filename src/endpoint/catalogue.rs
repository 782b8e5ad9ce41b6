//! Watches the catalogue of each node.
//!
//! A statement is prepared once per connection and proven once to leave nothing in a session; both
//! hold as long as the catalogue does not change. A change is noticed within the interval, or later
//! if reading the catalogue takes long.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tidegate_model::NodeId;
use tokio::time::{Duration, Instant, timeout};

use super::Routes;
use crate::postgres::pool::Node;
use crate::postgres::{ConnectError, Connection};
use crate::sql::{fingerprint, stateless};
use tidegate_model::error_chain;
use tidegate_telemetry::{names, survive};

/// Reading catalogues takes at most one part in this many of the time, as far as the longest
/// interval allows.
const SHARE_MAX: u32 = 50;
/// Longest time between two reads, unless the shortest interval is longer.
const INTERVAL_MAX: Duration = Duration::from_secs(5);
/// A read that takes longer is cancelled; a catalogue with a million columns takes less.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// Watches the catalogue of a node for as long as the process runs, on its own connection.
pub async fn watch_catalogue(
    node: Arc<Node>,
    index: usize,
    routes: Arc<ArcSwap<Routes>>,
    interval: Duration,
) {
    node.seen().await;
    let (mut connection, mut seen) = (None, None);
    loop {
        let started = Instant::now();
        let look = look(&node, index, &routes, &mut connection, &mut seen);
        match survive("catalogue", timeout(LOOK_MAX, look)).await {
            Some(Ok(Ok(()))) => {}
            Some(Ok(Err(error))) => {
                connection = None;
                if let LookError::Connect(error) = &error
                    && let Some(reason) = error.limit_reached()
                {
                    node.make_room(reason);
                }
                tracing::debug!(node = %node.id, %error, "cannot read the catalogue");
            }
            Some(Err(_elapsed)) => {
                connection = None;
                tracing::warn!(node = %node.id, "reading the catalogue takes too long");
            }
            // What was seen last still is: without it, a change since would not end the proofs from before.
            None => connection = None,
        }
        let pause = (SHARE_MAX * started.elapsed()).min(INTERVAL_MAX);
        let pause = timeout(pause.max(interval), node.catalogue().doubted());
        let _doubted_or_elapsed = pause.await;
    }
}

/// The state of a catalogue when it was last read.
#[derive(PartialEq, Eq)]
struct Seen {
    fingerprint: String,
    /// The revision of the tables whose statements were checked.
    tables: u64,
}

/// Reads the catalogue once, and checks all statements if it or the statements have changed.
async fn look(
    node: &Node,
    index: usize,
    routes: &ArcSwap<Routes>,
    connection: &mut Option<Connection>,
    seen: &mut Option<Seen>,
) -> Result<(), LookError> {
    let kept = connection.take().filter(|it| node.leads_to(it.identity));
    if node.is_shut_out() {
        return Err(LookError::NoRoom);
    }
    let client = &connection.insert(match kept {
        Some(kept) => kept,
        None => node.connect().await?,
    });
    let client = &client.client;
    let routes = routes.load_full();
    let now = Seen {
        fingerprint: fingerprint(client).await?,
        tables: routes.revision,
    };
    if seen.as_ref() == Some(&now) {
        return Ok(());
    }
    let known = seen.as_ref().map(|seen| &seen.fingerprint);
    if known.is_some_and(|known| *known != now.fingerprint) {
        tracing::info!(node = %node.id, "the catalogue has changed: statements are prepared again");
        // Invalidates all proofs; those that still hold are made again below.
        node.catalogue().advance();
    }
    let revision = node.catalogue().revision();
    let (mut proven, mut all) = (0, 0);
    let statements = routes.router.sql_endpoints().map(|(_, sql)| sql);
    let statements = statements.inspect(|_| all += 1);
    // What an endpoint sets is always undone.
    let statements = statements.filter(|sql| sql.local.is_none());
    for sql in stateless(client, statements).await? {
        sql.stateless.prove(index, revision);
        proven += 1;
    }
    publish(&node.id, proven, all - proven);
    *seen = Some(now);
    Ok(())
}

fn publish(node: &NodeId, stateless: u32, reset: u32) {
    let gauge = |session: &'static str, count: u32| {
        let labels = [("node", node.to_string()), ("session", session.to_owned())];
        metrics::gauge!(names::STATEMENTS, &labels).set(f64::from(count));
    };
    gauge("kept", stateless);
    gauge("reset", reset);
}

/// Why a catalogue could not be read.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("the server takes no connection that serves requests: it gets this one's place")]
    NoRoom,
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("{}", error_chain::chain(.0))]
    Statement(#[from] tokio_postgres::Error),
}
