//! The task that keeps a node's connections open, alive and prepared.

use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::Object;
use futures_util::future::{join, join_all};
use tokio::time::{Instant, timeout};

use super::borrowed::Slotted;
use super::connection::NodeConnection;
use super::line::LINES_MAX;
use super::node::{Node, answers, is_meant};
use super::standby::Load;
use crate::postgres::ConnectError;
use tidegate_telemetry::names;

/// How often the connections of a node are counted and missing ones opened.
const INTERVAL: Duration = Duration::from_secs(1);

/// Time after which an idle connection is probed. Firewalls and NATs drop silent connections only
/// after minutes.
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(15);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(1);

/// The limits that can keep a server from taking one more connection.
const LIMITS: &str = "select rolconnlimit::text, datconnlimit::text, current_setting('max_connections') \
    from pg_roles, pg_database where rolname = session_user and datname = current_database()";

impl Node {
    /// Keeps at least `connections_min` connections open until the node is dropped with its task,
    /// and as many, those in use included, as its own requests and those of any one other node would
    /// need; closes
    /// idle ones to the name's former server as soon as another is known.
    pub async fn keep_warm(self: Arc<Self>) {
        let mut watch = self.monitor.watch(&self.id);
        let mut counted_at = Instant::now();
        let mut wanted = self.settings.connections_min;
        let mut at_once = 0;
        let mut yields = false;
        loop {
            let (meant, missed) = {
                let status = watch.borrow_and_update();
                (status.last_identity, status.missed)
            };
            yields = self.follow_limit(yields && missed).await;
            let (mut silent, mut stale) = (0, 0);
            self.pool.retain(|connection, metrics| {
                silent += usize::from(metrics.last_used() >= KEEP_ALIVE_AFTER);
                stale += usize::from(!connection.is_prepared());
                !connection.client.is_closed() && is_meant(connection.life, meant)
            });
            let status = self.pool.status();
            let missing = wanted.saturating_sub(status.size).max(at_once);
            let missing = missing.min(self.limit.max().saturating_sub(status.size));
            if missing > 0 && !yields {
                self.open(missing, status.available).await;
            }
            if !watch.borrow().missed {
                self.keep_alive(silent).await;
                self.prepare(stale).await;
            }
            self.publish();
            let moved = watch.wait_for(|status| status.last_identity != meant);
            tokio::select! {
                () = self.lines_long.notified() => at_once = 1,
                _moved_or_elapsed = timeout(spread(INTERVAL), moved) => at_once = 0,
            }
            if counted_at.elapsed() >= INTERVAL {
                wanted = self.wanted(counted_at.elapsed());
                counted_at = Instant::now();
            }
        }
    }

    /// Returns how many connections there should be, given the time since the last count.
    fn wanted(&self, elapsed: Duration) -> usize {
        let ended = self.turnover.ended();
        let per_second = elapsed.as_secs_f64().recip();
        let needed = self.loads.exchange(
            &self.id,
            Load {
                per_second: f64::from(ended.alone) * per_second,
                busy: ended.held.as_secs_f64() * per_second,
                shared: if ended.shared { LINES_MAX as f64 } else { 0.0 },
                round_trip: self.round_trip(),
            },
        );
        let settings = &self.settings;
        needed.clamp(settings.connections_min, settings.connections_max)
    }

    /// Opens connections in addition to the idle ones. It holds those until the new ones have found
    /// none idle and have started to open.
    async fn open(&self, missing: usize, idle: usize) {
        let take = |count| join_all((0..count).map(|_| self.get()));
        let idle = take(idle).await;
        // Each one is held until all are open, for the same reason.
        let (opened, ()) = join(take(missing), async { drop(idle) }).await;
        drop(opened);
    }

    /// A connection and its slot, if there is one.
    async fn get(&self) -> Option<Slotted> {
        let slot = self.limit.slot().await;
        Some((self.pool.get().await.ok()?, slot))
    }

    /// Leaves a connection to the monitor, warns of a limit that was met, and tries now and then whether
    /// it is still there. Returns whether the monitor still needs one that the server has refused.
    async fn follow_limit(&self, mut yields: bool) -> bool {
        if let Some(reason) = self.monitor.take_refusal(&self.id) {
            self.yield_to_monitor(&reason);
            yields = true;
        }
        if !yields && self.limit.is_retry_due(Instant::now()) {
            let opened = self.connect().await;
            match opened.as_ref().err().and_then(ConnectError::limit_reached) {
                Some(reason) => self.limit.refused(reason, Instant::now()),
                None => self.limit.lift(),
            }
        }
        // Whether those that are open can serve shows once the monitor has its own.
        if (!yields || self.limit.is_shut_out())
            && let Some(reason) = self.limit.news()
        {
            self.warn_of_limit(&reason).await;
        }
        yields
    }

    /// Closes one connection, the last one, too: what the monitor does not see cannot serve.
    fn yield_to_monitor(&self, reason: &str) {
        let is_last = self.pool.status().size == 1;
        self.make_room(reason);
        if is_last {
            self.pool.retain(|_, _| false);
        }
    }

    async fn warn_of_limit(&self, reason: &str) {
        let is_shut_out = self.limit.is_shut_out();
        let asked = async {
            let slotted = self.get().await?;
            slotted.0.client.query_one(LIMITS, &[]).await.ok()
        };
        let row = match is_shut_out {
            // There is none to ask over, and a new one could take the monitor's place.
            true => None,
            false => {
                let asked = timeout(self.settings.acquire_timeout, asked).await;
                asked.ok().flatten()
            }
        };
        let limit = |column: usize| {
            let limit = row.as_ref().map(|row| row.get::<_, &str>(column));
            // Without a limit it is -1.
            limit.filter(|limit| *limit != "-1")
        };
        let (connections, outcome) = match is_shut_out {
            true => (
                0,
                "nothing can be served, since it takes none beside the monitor's",
            ),
            false => (
                self.limit.max(),
                "those that are open serve, other requests wait for one of them or are shed",
            ),
        };
        tracing::warn!(
            node = %self.id,
            reason,
            connections,
            connections_max = self.settings.connections_max,
            role_connection_limit = limit(0),
            database_connection_limit = limit(1),
            max_connections = limit(2),
            "the server takes fewer connections than [pool] connections_max: {outcome}"
        );
    }

    /// Probes connections that were not used for a while; those that no longer lead to the node are
    /// closed.
    async fn keep_alive(&self, silent: usize) {
        for _ in 0..silent {
            if self.pool.status().available == 0 {
                return;
            }
            // The one that has been idle longest.
            let Some((object, _slot)) = self.get().await else {
                return;
            };
            if !answers(&object, KEEP_ALIVE_TIMEOUT).await {
                tracing::debug!(node = %self.id, "a connection had died unnoticed");
                drop::<NodeConnection>(Object::take(object));
            }
        }
    }

    /// Prepares the statements of idle connections again after the catalogue has changed, so that
    /// no request waits for it.
    async fn prepare(&self, stale: usize) {
        if stale == 0 {
            return;
        }
        for _ in 0..self.pool.status().available {
            if self.pool.status().available == 0 {
                return;
            }
            let Some((object, _slot)) = self.get().await else {
                return;
            };
            if !object.is_prepared() {
                object.follow_catalogue();
                let manager = self.pool.manager();
                let prepared = timeout(KEEP_ALIVE_TIMEOUT, manager.warm_up(&object.client)).await;
                if prepared.is_err() {
                    drop::<NodeConnection>(Object::take(object));
                }
            }
        }
    }

    fn publish(&self) {
        let connections = self.connections();
        let gauge = |name: &'static str, value: usize| {
            metrics::gauge!(name, "node" => self.id.to_string()).set(value as f64);
        };
        gauge(names::POOL_CONNECTIONS, connections.open);
        gauge(names::POOL_IDLE, connections.idle);
        gauge(names::POOL_WAITING, connections.waiting);
    }
}

/// A duration up to a quarter longer, so that gateways do not reconnect in step.
fn spread(duration: Duration) -> Duration {
    duration.mul_f64(1.0 + fastrand::f64() / 4.0)
}
