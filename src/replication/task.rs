//! The task that samples one node for as long as the process runs.
//!
//! It has its own connection, never one of a pool, so that no load on the node's pool can keep it
//! from seeing the node.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::consistency::Timeline;
use crate::postgres::{Connection, Server, Session, connect};
use crate::replication::MonitorSettings;
use crate::replication::backoff::Backoff;
use crate::replication::lineage::read_lineage;
use crate::replication::published::Published;
use crate::replication::sample::{Question, Sample};

/// Longest attempt to connect: some ten round trips around the world, twice over.
pub(super) const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Time between two samples while requests wait for the node: a tenth of the default
/// `session_wait`, and at most 200 small statements a second however many wait.
const HURRY_INTERVAL: Duration = Duration::from_millis(5);

/// Samples one node.
pub(super) struct NodeTask {
    pub(super) index: usize,
    pub(super) server: Arc<Server>,
    pub(super) published: Arc<Published>,
    pub(super) settings: Arc<MonitorSettings>,
}

/// Why sampling over one connection has come to an end.
type Reason = String;

impl NodeTask {
    /// Connects and samples, over and over; ends only by being aborted.
    pub(super) async fn run(self) -> Infallible {
        let session = Session {
            application_name: self.settings.application_name.clone(),
            statement_timeout: self.settings.sample_timeout,
        };
        let mut backoff = Backoff::new(self.settings.sample_interval, self.settings.fail_after);
        loop {
            self.published.beat(self.index);
            match connect(&self.server, &session, CONNECT_DEADLINE).await {
                Ok(mut connection) => {
                    let reason = self.sample_until_lost(&mut connection, &mut backoff).await;
                    drop(connection);
                    self.lose(&reason);
                }
                Err(error) => drop(self.miss(error.to_string())),
            }
            self.published.beat(self.index);
            sleep(backoff.pause(fastrand::f64())).await;
        }
    }

    async fn sample_until_lost(
        &self,
        connection: &mut Connection,
        backoff: &mut Backoff,
    ) -> Reason {
        let asked = Question::for_role_of(&connection.client);
        let question = match timeout(self.settings.sample_timeout, asked).await {
            Ok(Ok(question)) => question,
            Ok(Err(error)) => return self.miss(error.to_string()),
            Err(_elapsed) => return self.miss("it does not answer in time".to_owned()),
        };
        let mut ticks = interval(self.settings.sample_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut missed = 0;
        let mut asked_lineage = None;
        loop {
            tokio::select! {
                // Noticed at once, since what is known of a lost life proves nothing.
                () = connection.closed() => return "the connection was closed".to_owned(),
                _ = ticks.tick() => {}
                () = self.hurry() => {}
            }
            self.published.beat(self.index);
            match self.ask(&question, connection).await {
                Ok(sample) => {
                    missed = 0;
                    backoff.reset();
                    self.publish(sample);
                    self.learn_lineage(&sample, &mut asked_lineage, connection)
                        .await;
                }
                Err(reason) => {
                    missed += 1;
                    let reason = self.miss(reason);
                    if missed >= self.settings.fail_after || connection.client.is_closed() {
                        return reason;
                    }
                }
            }
        }
    }

    /// Returns a moment after somebody began to wait for the node.
    async fn hurry(&self) {
        self.published.awaited(self.index).await;
        sleep(HURRY_INTERVAL).await;
    }

    async fn ask(&self, question: &Question, connection: &Connection) -> Result<Sample, Reason> {
        let answer = question.ask(&connection.client);
        match timeout(self.settings.sample_timeout, answer).await {
            Ok(Ok(Some(sample))) => Ok(sample),
            Ok(Ok(None)) => Err("it does not answer as PostgreSQL does".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_elapsed) => Err("it does not answer in time".to_owned()),
        }
    }

    /// Reads how the primary's timeline came about, once per connection and timeline.
    async fn learn_lineage(
        &self,
        sample: &Sample,
        asked: &mut Option<Timeline>,
        connection: &Connection,
    ) {
        let Some(lineage) = self.published.lineage().filter(|known| !known.is_read()) else {
            return;
        };
        let (system, timeline) = lineage.present();
        let here = !sample.in_recovery
            && sample.position().map(|at| (at.system, at.timeline)) == Some(lineage.present());
        if !here || *asked == Some(timeline) {
            return;
        }
        *asked = Some(timeline);
        let read = read_lineage(&connection.client, system, timeline);
        let why = match timeout(self.settings.sample_timeout, read).await {
            Ok(Ok(Some(history))) => {
                return self.published.update(self.index, "", |observations| {
                    observations.learned(history);
                });
            }
            Ok(Ok(None)) => "there is no readable history".to_owned(),
            Ok(Err(error)) => error
                .as_db_error()
                .map_or_else(|| error.to_string(), |error| error.message().to_owned()),
            Err(_elapsed) => "it does not answer in time".to_owned(),
        };
        tracing::warn!(
            %timeline,
            why,
            "which writes survived earlier failovers is unknown; their tokens go to the primary"
        );
    }

    fn publish(&self, sample: Sample) {
        let (index, published) = (self.index, &self.published);
        published.update(index, "", |observations| {
            observations.sampled(index, sample)
        });
        published.note_attempt(index);
    }

    /// Gives the reason back.
    fn miss(&self, reason: Reason) -> Reason {
        let (index, published) = (self.index, &self.published);
        published.update(index, &reason, |observations| observations.missed(index));
        published.note_attempt(index);
        reason
    }

    fn lose(&self, reason: &str) {
        let (index, published) = (self.index, &self.published);
        published.update(index, reason, |observations| {
            observations.disconnected(index)
        });
    }
}
