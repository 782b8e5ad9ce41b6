//! A gateway's task: polls the store, swaps the plans, judges the arms, reports.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::bodies::Bodies;
use super::reporter::{self, Reported};
use super::state_dir::StateDir;
use super::{StoreError, StoreSettings, StoreStatus, statement};
use crate::endpoint::LiveRoutes;
use crate::peers::Membership;
use crate::postgres::monitor::Monitor;
use crate::regions::{Entrance, PolicyFile, PolicyTrial, TrafficPlans, TrialCounters};
use crate::sql::Database;
use tidegate_model::{NodeCondition, NodeId, NodeStatus, RegionId};
use tidegate_rollout::{
    Following, GatewayReport, GatewayState, OnTrial, Posture, RolloutPosition, SavedPolicy,
    StoreView, TrustedKeys, WindowJudge,
};
use tidegate_telemetry::names;
use tidegate_traffic::syntax::LANGUAGE;

/// How often the store is read.
const POLL: Duration = Duration::from_secs(1);

/// How often while a rollout is open.
const POLL_OPEN: Duration = Duration::from_millis(250);

/// How often the tables are looked for.
const LOOK: Duration = Duration::from_secs(30);

/// How old a node's rows may be to count as the leader's word.
const CURRENT: Duration = Duration::from_secs(10);

/// How often the arms are judged.
const WINDOW: Duration = Duration::from_secs(2);

/// Follows the store on one gateway.
pub struct StoreFollower {
    region: RegionId,
    /// Names this process in reports, outside a fleet.
    gateway: String,
    fleet: Option<Arc<Membership>>,
    monitor: Arc<Monitor>,
    database: Arc<Database>,
    routes: Arc<LiveRoutes>,
    entrance: Entrance,
    state_dir: Option<StateDir>,
    status: Arc<StoreStatus>,
    following: Following,
    bodies: Bodies,
    trust: Arc<TrustedKeys>,
    /// The system identifier of the database that what is in force is from.
    system: Option<u64>,
    judge: WindowJudge,
    judged_at: Duration,
    started: Instant,
    /// When the tables were looked for, and whether they were there.
    looked: Option<(Instant, bool)>,
    complained: bool,
}

impl StoreFollower {
    /// Begins with what the configuration says; nothing is read yet.
    #[must_use]
    pub fn new(
        settings: &StoreSettings,
        entrance: Entrance,
        (routes, database): (Arc<LiveRoutes>, Arc<Database>),
        status: Arc<StoreStatus>,
        fleet: Option<Arc<Membership>>,
    ) -> Self {
        let region = entrance.region.clone();
        Self {
            gateway: format!("{:016x}", fastrand::u64(..)),
            fleet,
            monitor: Arc::clone(&database.monitor),
            state_dir: settings.state_dir.as_deref().map(StateDir::new),
            following: Following::new(region.as_str(), None),
            bodies: Bodies::default(),
            trust: status.trusted(),
            system: None,
            judge: WindowJudge::default(),
            judged_at: Duration::ZERO,
            started: Instant::now(),
            looked: None,
            complained: false,
            region,
            database,
            routes,
            entrance,
            status,
        }
    }

    /// Follows the store until it is aborted.
    pub async fn run(mut self) {
        show_metrics();
        self.read_state().await;
        let (reports, latest) = watch::channel(None);
        let mut tasks = JoinSet::new();
        tasks.spawn(reporter::report(Arc::clone(&self.monitor), latest));
        loop {
            let is_pinned = self.routes.load().plans().pinned;
            let is_there = self.look_for_tables().await;
            if is_there && !is_pinned {
                self.poll().await;
            }
            let now = self.started.elapsed();
            let posture = self.following.posture(now);
            if !is_pinned {
                self.apply(&posture);
                self.judge(&posture, now);
                self.status.show(&posture);
            }
            // A gateway that suspects itself does not confirm a stage.
            if is_there && !self.suspects_itself() {
                reports.send_replace(Some(self.reported(&posture, is_pinned)));
            }
            let pause = match self.following.is_open() {
                true => POLL_OPEN,
                false => POLL.mul_f64(0.8 + 0.4 * fastrand::f64()),
            };
            sleep(pause).await;
        }
    }

    /// Takes over what was in force when this gateway last ran.
    async fn read_state(&mut self) {
        let Some(state) = &self.state_dir else { return };
        let file = state.file();
        let ignored = |reason: &dyn std::fmt::Display| {
            tracing::warn!(file = %file.display(), %reason, "the state file is ignored");
            metrics::counter!(names::TRAFFIC_STATE_FILE, "outcome" => "ignored").increment(1);
        };
        let saved = match state.read(&self.trust.fleet) {
            Ok(Some(saved)) => saved,
            Ok(None) => return,
            Err(error) => return ignored(&error),
        };
        let (stored, floor) = (saved.stored(), saved.floor_accepted);
        let accepted = self.bodies.accept_saved(stored, floor, &self.trust);
        if let Err(reason) = accepted.await {
            return ignored(&format_args!("its revision is refused: {reason}"));
        }
        let position = RolloutPosition {
            timeline: saved.timeline,
            rollout: saved.rollout,
        };
        let known = Some((position, saved.revision));
        self.following = Following::new(self.region.as_str(), known);
        self.system = saved.system;
        let (revision, rollout) = (saved.revision, saved.rollout);
        tracing::info!(revision, rollout, "the state file's policy is in force");
        let posture = self.following.posture(self.started.elapsed());
        if !self.routes.load().plans().pinned {
            self.apply(&posture);
        }
    }

    /// Whether the tables are there; looked for regularly until they are.
    async fn look_for_tables(&mut self) -> bool {
        if let Some((at, there)) = self.looked
            && (there || at.elapsed() < LOOK)
        {
            return there;
        }
        for (status, _) in self.nodes() {
            let Some(client) = self.monitor.client(&status.node) else {
                continue;
            };
            match statement::exists(&client).await {
                Ok(there) => {
                    self.looked = Some((Instant::now(), there));
                    return there;
                }
                Err(error) => {
                    self.wait_if_refused(&error);
                    self.complain(&error);
                }
            }
        }
        false
    }

    /// Reads the store on the first node that answers.
    async fn poll(&mut self) {
        let trust = self.status.trusted();
        if trust != self.trust {
            let in_force = self.following.in_force();
            self.bodies.keep_only(|it| in_force == Some(it));
            self.trust = trust;
        }
        for (status, is_current) in self.nodes() {
            match self.poll_node(&status, is_current).await {
                Ok(true) => {
                    self.complained = false;
                    return;
                }
                Ok(false) => {}
                Err(error) => {
                    self.wait_if_refused(&error);
                    self.complain(&error);
                }
            }
        }
    }

    async fn poll_node(
        &mut self,
        status: &NodeStatus,
        is_current: bool,
    ) -> Result<bool, StoreError> {
        let Some(client) = self.monitor.client(&status.node) else {
            return Ok(false);
        };
        let in_force = self.following.in_force();
        let polled = statement::poll(&client, in_force.unwrap_or_default()).await?;
        let position = status.position.as_ref();
        let known = self.monitor.knowledge().timeline;
        let timeline = position.map(|it| it.timeline).or(known);
        let system = position.map(|it| it.system.0);
        if let (Some(before), Some(system)) = (self.system, system)
            && before != system
        {
            tracing::warn!("the database is another one: what the state file says does not count");
            self.following.forget();
            self.bodies.keep_only(|_| false);
        }
        self.system = system.or(self.system);
        for head in &polled.revisions {
            self.bodies.look(&client, head, &self.trust).await?;
        }
        let view = StoreView {
            system,
            timeline: timeline.map_or(0, |it| it.0),
            is_current,
            newest: polled.newest,
            open: polled.open,
            finished: polled.finished,
            revisions: polled.revisions,
        };
        let before = self.following.position();
        let bodies = &self.bodies;
        let admission = |revision| bodies.admission(revision);
        let now = self.started.elapsed();
        if self.following.observe(&view, &admission, now) {
            self.save(before, &view);
        }
        let used: Vec<_> = view.revisions.iter().map(|it| it.revision).collect();
        let in_force = self.following.in_force();
        self.bodies
            .keep_only(|it| used.contains(&it) || in_force == Some(it));
        Ok(true)
    }

    /// The nodes to ask, best first, and whether what they say is current.
    fn nodes(&self) -> Vec<(Arc<NodeStatus>, bool)> {
        let knowledge = self.monitor.knowledge();
        let now = Instant::now();
        let local = NodeId::Replica(self.region.clone());
        let mut members = self.database.members.iter().map(|it| &it.node.id);
        let local = members.find(|id| **id == local);
        let local = local.map(|id| Arc::clone(knowledge.status(id)));
        let local = local.filter(|it| it.condition != NodeCondition::Diverged);
        let primary = knowledge.primary().cloned();
        let current = |status: &NodeStatus| status.staleness(now).is_some_and(|it| it <= CURRENT);
        let mut nodes: Vec<_> = local.into_iter().chain(primary).collect();
        // A replica that is far behind is asked last.
        nodes.sort_by_key(|status| !current(status));
        nodes.dedup_by_key(|status| status.node.clone());
        let nodes = nodes.into_iter();
        nodes
            .map(|status| (Arc::clone(&status), current(&status)))
            .collect()
    }

    /// Records what is in force from now on.
    fn save(&self, before: Option<RolloutPosition>, view: &StoreView) {
        let revision = view.finished.map_or(0, |it| it.revision);
        let (rollout, timeline) = (view.finished.map_or(0, |it| it.rollout), view.timeline);
        if before.is_some() || rollout > 0 {
            tracing::info!(
                revision,
                rollout,
                timeline,
                "a revision of the traffic policy is in force"
            );
        }
        if before.is_some_and(|before| before.timeline < timeline && before.rollout > rollout) {
            tracing::warn!(
                rollout,
                lost = before.map(|it| it.rollout),
                "a promotion has lost rollouts: what has survived is in force"
            );
        }
        let Some(state) = &self.state_dir else { return };
        let written = match self.bodies.stored(revision) {
            Some((stored, floor)) => state.write(&SavedPolicy {
                fleet: self.trust.fleet.clone(),
                system: view.system,
                timeline,
                rollout,
                floor_accepted: floor,
                ..SavedPolicy::of(stored)
            }),
            None => state.remove(),
        };
        let outcome = if written.is_ok() { "written" } else { "failed" };
        metrics::counter!(names::TRAFFIC_STATE_FILE, "outcome" => outcome).increment(1);
        if let Err(error) = written {
            let file = state.file();
            tracing::warn!(file = %file.display(), %error, "the state file cannot be written");
        }
    }

    /// Makes requests be decided as the posture says.
    fn apply(&self, posture: &Posture) {
        let routes = self.routes.load_full();
        let before = routes.plans().clone();
        let mut plans = TrafficPlans::clone(&before);
        let revision = posture.in_force.unwrap_or_default();
        let in_use =
            |plans: &TrafficPlans| plans.in_force.as_ref().map_or(0, |it| it.file().revision);
        if in_use(&plans) != revision {
            plans.in_force = match (&before.trial, self.bodies.policy(revision)) {
                (Some(trial), _) if trial.policy.file().revision == revision => {
                    trial.policy.take_over(before.in_force.as_deref());
                    Some(Arc::clone(&trial.policy))
                }
                (_, Some(file)) => Some(routes.start_policy(
                    Arc::clone(file),
                    &self.entrance,
                    &self.database,
                    before.in_force.as_deref(),
                )),
                (_, None) => routes.built_in().map(|file| {
                    routes.start_policy(
                        Arc::clone(file),
                        &self.entrance,
                        &self.database,
                        before.in_force.as_deref(),
                    )
                }),
            };
        }
        let trial = posture.trial.as_ref().filter(|it| it.revision != revision);
        if trial.is_some() && plans.in_force.is_none() {
            // Requests are compared with those that are served here.
            plans.in_force = here(&self.region).map(|file| {
                routes.start_policy(Arc::new(file), &self.entrance, &self.database, None)
            });
        }
        plans.trial = trial.and_then(|trial| self.trial(trial, &plans));
        let is_same = in_use(&plans) == in_use(&before)
            && plans.in_force.is_some() == before.in_force.is_some()
            && shape(plans.trial.as_ref()) == shape(before.trial.as_ref());
        if !is_same {
            routes.put_plans(plans);
        }
    }

    fn trial(&self, trial: &OnTrial, plans: &TrafficPlans) -> Option<PolicyTrial> {
        let same = plans.trial.as_ref();
        let same = same.filter(|it| it.rollout == trial.rollout);
        let begun = match same {
            Some(known) => PolicyTrial {
                share: trial.share,
                ..known.clone()
            },
            None => {
                let file = Arc::clone(self.bodies.policy(trial.revision)?);
                let routes = self.routes.load();
                let before = plans.in_force.as_deref();
                PolicyTrial {
                    policy: routes.start_beside(file, &self.entrance, &self.database, before),
                    rollout: trial.rollout,
                    share: trial.share,
                    counters: Arc::new(TrialCounters::default()),
                }
            }
        };
        begun.counters.begin(begun.share);
        Some(begun)
    }

    /// Looks at the arms; vetoes the new plan if it is worse.
    fn judge(&mut self, posture: &Posture, now: Duration) {
        let Some(trial) = &posture.trial else {
            self.judge = WindowJudge::default();
            return;
        };
        if trial.share == 0 || self.suspects_itself() || now.saturating_sub(self.judged_at) < WINDOW
        {
            return;
        }
        self.judged_at = now;
        let Some(counters) = self.counters() else {
            return;
        };
        let counted = counters.report().arms;
        let found = self.judge.step(&counted, (trial.share, trial.latency), now);
        if let Some(cause) = found {
            let (rollout, revision) = (trial.rollout, trial.revision);
            tracing::error!(rollout, revision, %cause, "the new revision of the traffic policy is worse: vetoed");
            metrics::counter!(names::TRAFFIC_VETOES, "cause" => cause.as_str()).increment(1);
            self.following.veto(cause);
            let posture = self.following.posture(now);
            self.apply(&posture);
        }
    }

    fn suspects_itself(&self) -> bool {
        self.fleet.as_ref().is_some_and(|it| it.view().suspect)
    }

    fn counters(&self) -> Option<Arc<TrialCounters>> {
        let routes = self.routes.load();
        let plans = routes.plans();
        plans.trial.as_ref().map(|it| Arc::clone(&it.counters))
    }

    fn reported(&self, posture: &Posture, is_pinned: bool) -> Reported {
        let trial = self.following.open_rollout();
        let (rollout, revision) = trial.unwrap_or((posture.rollout, posture.in_force.unwrap_or(0)));
        let arms = self.counters().map(|it| it.report()).unwrap_or_default();
        let row = GatewayReport {
            gateway: match &self.fleet {
                Some(fleet) => fleet.id().to_owned(),
                None => self.gateway.clone(),
            },
            region: self.region.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            language: LANGUAGE,
            rollout: if is_pinned { 0 } else { rollout },
            revision: if is_pinned { 0 } else { revision },
            share: posture.trial.as_ref().map_or(0, |it| it.share),
            state: if is_pinned {
                GatewayState::Pinned
            } else {
                posture.state
            },
            refused: posture.refused.map(str::to_owned),
            age: Duration::ZERO,
            arms,
        };
        Reported {
            row,
            is_open: trial.is_some(),
        }
    }

    /// What the role may not do, or what is not there, is asked for again only after a while.
    fn wait_if_refused(&mut self, error: &StoreError) {
        if matches!(error, StoreError::Rights(_) | StoreError::Missing) {
            self.looked = Some((Instant::now(), false));
        }
    }

    /// Logs why the store cannot be read, once until it can.
    fn complain(&mut self, error: &StoreError) {
        if !std::mem::replace(&mut self.complained, true) {
            tracing::warn!(%error, "the policy store cannot be read: what is in force stays");
        }
    }
}

/// What of a trial makes it another value.
fn shape(trial: Option<&PolicyTrial>) -> Option<(u64, u16)> {
    trial.map(|it| (it.rollout, it.share))
}

/// The policy of a gateway on its own: every request is served here.
fn here(region: &RegionId) -> Option<PolicyFile> {
    let text = format!("region {region}\npolicy everything {{ prefer local }}\n");
    PolicyFile::of("built-in", text.as_bytes()).ok()
}

/// Shows the metrics before anything has happened.
fn show_metrics() {
    use tidegate_rollout::{RevisionRefusal, WorseBy};
    for reason in RevisionRefusal::ALL {
        metrics::counter!(names::TRAFFIC_REVISION_REFUSED, "reason" => reason.as_str())
            .increment(0);
    }
    for cause in WorseBy::ALL {
        metrics::counter!(names::TRAFFIC_VETOES, "cause" => cause.as_str()).increment(0);
    }
    for outcome in ["written", "failed", "ignored"] {
        metrics::counter!(names::TRAFFIC_STATE_FILE, "outcome" => outcome).increment(0);
    }
    for (arm, outcome) in [
        ("new", "answered"),
        ("new", "failed"),
        ("old", "answered"),
        ("old", "failed"),
    ] {
        let labels = [("arm", arm), ("outcome", outcome)];
        metrics::counter!(names::TRAFFIC_ARM_REQUESTS, &labels).increment(0);
    }
    metrics::gauge!(names::TRAFFIC_REVISION, "stage" => "active").set(0);
    metrics::gauge!(names::TRAFFIC_SHARE).set(0);
}
