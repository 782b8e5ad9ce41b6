//! The task that samples one node for as long as the process runs.
//!
//! It has its own connection, never one of a pool, so that load on the node's pool cannot prevent
//! it from sampling the node.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::postgres::monitor::MonitorSettings;
use crate::postgres::monitor::backoff::Backoff;
use crate::postgres::monitor::fresh_look::{CONNECT_DEADLINE, FreshLook, LOOK_INTERVAL_MIN, Pace};
use crate::postgres::monitor::lineage::read_lineage;
use crate::postgres::monitor::published::Published;
use crate::postgres::monitor::sample::{Question, Sample};
use crate::postgres::{Connection, Server, Session, connect};
use tidegate_model::NodeCondition;
use tidegate_model::{Timeline, TimelineHistory};

/// Time between two samples while requests wait for the node or doubt it: a tenth of the default
/// `session_wait`, and at most 200 small statements a second for any number of requests.
const HURRY_INTERVAL: Duration = Duration::from_millis(5);

/// Samples one node.
pub(super) struct NodeTask {
    pub(super) index: usize,
    pub(super) server: Arc<Server>,
    pub(super) published: Arc<Published>,
    pub(super) settings: Arc<MonitorSettings>,
}

/// How sampling over one connection ended.
enum Ended {
    Lost(Reason),
    /// The node's name leads to another server; this is a connection to it.
    Moved(Connection),
}

/// Why a sample failed.
type Reason = String;

impl NodeTask {
    /// Connects and samples in a loop; ends only when aborted.
    pub(super) async fn run(self) -> Infallible {
        let session = Session {
            application_name: self.settings.application_name.clone(),
            statement_timeout: self.settings.sample_timeout,
        };
        let mut backoff = Backoff::new(self.settings.sample_interval, self.settings.fail_after);
        loop {
            self.published.beat(self.index);
            match connect(&self.server, &session, CONNECT_DEADLINE).await {
                Ok(connection) => self.watch(connection, &session, &mut backoff).await,
                Err(error) => {
                    if let Some(reason) = error.limit_reached() {
                        *self.published.refusal(self.index) = Some(reason.to_owned());
                    }
                    drop(self.miss(error.to_string()));
                }
            }
            self.published.beat(self.index);
            self.pause(&mut backoff).await;
        }
    }

    /// Samples until there is no connection.
    async fn watch(&self, connection: Connection, session: &Session, backoff: &mut Backoff) {
        let mut next = Some(connection);
        while let Some(mut connection) = next {
            let interval = self.settings.sample_interval;
            let mut look = FreshLook::new(&self.server, session, interval);
            self.published
                .lend(self.index, Some(Arc::clone(&connection.client)));
            let ended = self.sample(&mut connection, &mut look, backoff).await;
            self.published.lend(self.index, None);
            drop(connection);
            next = match ended {
                Ended::Lost(reason) => {
                    self.lose(&reason);
                    None
                }
                Ended::Moved(connection) => {
                    let server = tracing::field::display(connection.identity);
                    tracing::info!(server, "the name now leads to another server");
                    self.lose("the name now leads to another server");
                    Some(connection)
                }
            };
        }
    }

    async fn sample(
        &self,
        connection: &mut Connection,
        look: &mut FreshLook,
        backoff: &mut Backoff,
    ) -> Ended {
        let asked = Question::for_role_of(&connection.client);
        let question = match timeout(self.settings.sample_timeout, asked).await {
            Ok(Ok(question)) => question,
            Ok(Err(error)) => return Ended::Lost(self.miss(error.to_string())),
            Err(_elapsed) => {
                return Ended::Lost(self.miss("it does not answer in time".to_owned()));
            }
        };
        let mut ticks = interval(self.settings.sample_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut missed = 0;
        let mut asked_lineage = None;
        let life = connection.identity;
        loop {
            tokio::select! {
                // Noticed at once, because what is known about a lost life proves nothing.
                () = connection.closed() => {
                    return Ended::Lost("the connection was closed".to_owned());
                }
                moved = look.moved(life, self.pace()) => return Ended::Moved(moved),
                () = self.doubted() => look.want(),
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
                    look.want();
                    let reason = self.miss(reason);
                    if missed >= self.settings.fail_after || connection.client.is_closed() {
                        return Ended::Lost(reason);
                    }
                }
            }
        }
    }

    /// Pauses between two attempts to connect, or less if there is news.
    async fn pause(&self, backoff: &mut Backoff) {
        let pause = backoff.pause(fastrand::f64());
        let news = async {
            sleep(LOOK_INTERVAL_MIN).await;
            self.published.doubted(self.index).await;
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = news => {}
        }
    }

    /// The name of the primary may move by itself. So may that of a replica whose server has
    /// changed its role, for instance to primary.
    fn pace(&self) -> Pace {
        let knowledge = self.published.knowledge();
        let primary = knowledge.primary();
        let status = &knowledge.nodes[self.index];
        match (status.node.is_configured_primary(), status.condition) {
            (false, NodeCondition::Promoted | NodeCondition::Diverged) => Pace::Steady,
            (false, _) if status.acts_as_primary => Pace::Steady,
            (false, _) => Pace::OnDoubt,
            _ if primary.is_some_and(|node| node.condition == NodeCondition::Fresh) => Pace::Steady,
            (true, _) => Pace::Eager,
        }
    }

    /// Returns a moment after the node's identity or role is doubted.
    async fn doubted(&self) {
        sleep(HURRY_INTERVAL).await;
        self.published.doubted(self.index).await;
    }

    /// Returns a moment after a request began to wait for the node.
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

    /// Reads the history of the primary's timeline, once per connection and timeline.
    async fn learn_lineage(
        &self,
        sample: &Sample,
        asked: &mut Option<Timeline>,
        connection: &Connection,
    ) {
        let Some(lineage) = self.unread_lineage() else {
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
            "it is unknown which writes survived earlier failovers; requests with their tokens go \
             to the primary"
        );
    }

    fn unread_lineage(&self) -> Option<Arc<TimelineHistory>> {
        let lineage = self.published.knowledge().lineage.clone();
        lineage.filter(|known| !known.is_read())
    }

    fn publish(&self, sample: Sample) {
        let (index, published) = (self.index, &self.published);
        published.update(index, "", |observations| {
            observations.sampled(index, sample)
        });
        published.note_attempt(index);
    }

    /// Returns the reason.
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
