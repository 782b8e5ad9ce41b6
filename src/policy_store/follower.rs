//! A gateway's task: polls the store, swaps the plans, judges the arms, reports.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::bodies::Bodies;
use super::nodes::StoreNodes;
use super::plan_switch::PlanSwitch;
use super::reporter::{self, Reported};
use super::state_dir::StateDir;
use super::status::show_metrics;
use super::{StoreError, StoreSettings, StoreStatus, statement};
use crate::endpoint::LiveRoutes;
use crate::peers::Membership;
use crate::regions::Entrance;
use crate::sql::Database;
use tidegate_model::{NodeStatus, RegionId};
use tidegate_rollout::{
    Following, GatewayReport, GatewayState, Posture, RolloutPosition, SavedPolicy, StoreView,
    TrustedKeys, WindowJudge,
};
use tidegate_telemetry::names;
use tidegate_traffic::syntax::LANGUAGE;

/// How often the store is read.
const POLL: Duration = Duration::from_secs(1);

/// How often while a rollout is open.
const POLL_OPEN: Duration = Duration::from_millis(250);

/// How often the tables are looked for.
const LOOK: Duration = Duration::from_secs(30);

/// How often it is logged that the store was never read.
const TELL: Duration = Duration::from_mins(1);

/// How often the arms are judged.
const WINDOW: Duration = Duration::from_secs(2);

/// Follows the store on one gateway.
pub struct StoreFollower {
    region: RegionId,
    /// Names this process in reports, outside a fleet.
    gateway: String,
    fleet: Option<Arc<Membership>>,
    nodes: StoreNodes,
    plans: PlanSwitch,
    state_dir: Option<StateDir>,
    status: Arc<StoreStatus>,
    following: Following,
    bodies: Bodies,
    trust: Arc<TrustedKeys>,
    /// The system identifier of the database that what is in force is from.
    system: Option<u64>,
    /// Of which rollout the arms are judged, and when they were last.
    judge: (u64, WindowJudge),
    judged_at: Duration,
    started: Instant,
    /// When the tables were looked for, and whether they were there.
    looked: Option<(Instant, bool)>,
    /// Whether the database has answered that there are none.
    absent: bool,
    complained: bool,
    /// When it was last logged that nothing is known to be in force.
    told_unread: Option<Instant>,
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
            nodes: StoreNodes::new(region.clone(), Arc::clone(&database)),
            plans: PlanSwitch {
                routes,
                database,
                entrance,
            },
            state_dir: settings.state_dir.as_deref().map(StateDir::new),
            following: Following::new(region.as_str(), None),
            bodies: Bodies::default(),
            trust: status.trusted(),
            system: None,
            judge: (0, WindowJudge::default()),
            judged_at: Duration::ZERO,
            started: Instant::now(),
            looked: None,
            absent: false,
            complained: false,
            told_unread: None,
            region,
            status,
        }
    }

    /// Follows the store until it is aborted.
    pub async fn run(mut self) {
        show_metrics();
        self.read_state().await;
        let (reports, latest) = watch::channel(None);
        let mut tasks = JoinSet::new();
        tasks.spawn(reporter::report(Arc::clone(self.nodes.monitor()), latest));
        loop {
            let is_pinned = self.plans.is_pinned();
            let is_there = self.look_for_tables().await;
            if is_there && !is_pinned {
                self.poll().await;
            }
            let now = self.started.elapsed();
            let mut posture = self.following.posture(now);
            if !is_pinned {
                self.apply(&posture);
                if self.judge(&posture, now) {
                    posture = self.following.posture(now);
                    self.apply(&posture);
                }
                self.status.show(&posture);
            }
            // A gateway that suspects itself does not confirm a stage.
            if is_there && !self.suspects_itself() {
                reports.send_replace(Some(self.reported(&posture, is_pinned)));
            }
            let is_unread = self.is_unread(&posture) && !is_pinned;
            if is_unread {
                self.tell_unread();
            }
            let pause = match self.following.is_open() || is_unread {
                true => POLL_OPEN,
                false => POLL.mul_f64(0.8 + 0.4 * fastrand::f64()),
            };
            sleep(pause).await;
        }
    }

    /// Makes requests be decided as the posture says; served here while nothing is known.
    fn apply(&self, posture: &Posture) {
        match self.is_unread(posture) {
            true => self.plans.serve_here(),
            false => self.plans.apply(posture, &self.bodies),
        }
    }

    /// Whether a revision may be in force that this gateway does not know.
    fn is_unread(&self, posture: &Posture) -> bool {
        posture.in_force.is_none() && !self.absent
    }

    /// Logs every minute that the store was never read.
    fn tell_unread(&mut self) {
        let is_due = self.told_unread.is_none_or(|at| at.elapsed() >= TELL);
        if is_due && self.plans.has_peers() {
            self.told_unread = Some(Instant::now());
            tracing::warn!(
                "the policy store was not read yet: requests are served here and not handed on"
            );
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
        let saved = match state.read(&self.trust.fleet).await {
            Ok(Some(saved)) => saved,
            Ok(None) => return,
            Err(error) => return ignored(&error),
        };
        if let Err(reason) = self.bodies.accept_saved(&saved, &self.trust).await {
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
        if !self.plans.is_pinned() {
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
        for (status, _) in self.nodes.by_preference() {
            let Some(client) = self.nodes.client(&status) else {
                continue;
            };
            match statement::exists(&client).await {
                Ok(there) => {
                    self.looked = Some((Instant::now(), there));
                    self.absent = !there;
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
        for (status, is_current) in self.nodes.by_preference() {
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
        let Some(client) = self.nodes.client(status) else {
            return Ok(false);
        };
        let in_force = self.following.in_force();
        let polled = statement::poll(&client, in_force.unwrap_or_default()).await?;
        let position = status.position.as_ref();
        // Rows whose timeline is not known never count as those of a newer one.
        let known = self.following.position().map_or(0, |it| it.timeline);
        let timeline = self.nodes.timeline(status).map_or(known, |it| it.0);
        let system = position.map(|it| it.system.0);
        if let (Some(before), Some(system)) = (self.system, system)
            && before != system
        {
            tracing::warn!("the database is another one: what the state file says does not count");
            self.following.forget();
            self.bodies = Bodies::default();
        }
        self.system = system.or(self.system);
        for head in &polled.revisions {
            let look = self.bodies.look(&client, (head, timeline), &self.trust);
            look.await?;
        }
        let open = polled.open.as_ref().map_or(0, |it| it.revision);
        let finished = polled.finished.map_or(0, |it| it.revision);
        let rolled_out = [open, finished];
        for &revision in rolled_out.iter().filter(|it| **it > 0) {
            if polled.revisions.iter().all(|it| it.revision != revision) {
                self.bodies.miss(revision, timeline);
            }
        }
        let view = StoreView {
            system,
            timeline,
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
            self.save(before, &view).await;
        }
        let in_force = self.following.in_force();
        self.bodies
            .keep_only(|it| rolled_out.contains(&it) || in_force == Some(it));
        Ok(true)
    }

    /// Records what is in force from now on.
    async fn save(&self, before: Option<RolloutPosition>, view: &StoreView) {
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
        let floor = self.bodies.floor();
        let kept = match self.bodies.stored(revision) {
            Some(stored) => Some(SavedPolicy::of(stored)),
            // The floor holds for what follows the built-in policy.
            None => (rollout > 0 || floor > 0).then(SavedPolicy::built_in),
        };
        let kept = kept.map(|kept| SavedPolicy {
            fleet: self.trust.fleet.clone(),
            system: view.system,
            timeline,
            rollout,
            floor_accepted: floor,
            ..kept
        });
        let written = match kept {
            Some(saved) => state.write(saved).await,
            None => state.remove().await,
        };
        let outcome = if written.is_ok() { "written" } else { "failed" };
        metrics::counter!(names::TRAFFIC_STATE_FILE, "outcome" => outcome).increment(1);
        if let Err(error) = written {
            let file = state.file();
            tracing::warn!(file = %file.display(), %error, "the state file cannot be written");
        }
    }

    /// Looks at the arms; vetoes the new plan if it is worse, and returns whether it has.
    fn judge(&mut self, posture: &Posture, now: Duration) -> bool {
        let Some(trial) = &posture.trial else {
            return false;
        };
        if self.judge.0 != trial.rollout {
            self.judge = (trial.rollout, WindowJudge::default());
        }
        if trial.share == 0 || self.suspects_itself() || now.saturating_sub(self.judged_at) < WINDOW
        {
            return false;
        }
        self.judged_at = now;
        let Some(counters) = self.plans.counters() else {
            return false;
        };
        let counted = counters.report().arms;
        let found = self
            .judge
            .1
            .step(&counted, (trial.share, trial.latency), now);
        if let Some(cause) = found {
            let (rollout, revision) = (trial.rollout, trial.revision);
            tracing::error!(rollout, revision, %cause, "the new revision of the traffic policy is worse: vetoed");
            metrics::counter!(names::TRAFFIC_VETOES, "cause" => cause.as_str()).increment(1);
            counters.keep();
            self.following.veto(cause);
        }
        found.is_some()
    }

    fn suspects_itself(&self) -> bool {
        self.fleet.as_ref().is_some_and(|it| it.view().suspect)
    }

    fn reported(&self, posture: &Posture, is_pinned: bool) -> Reported {
        let trial = self.following.open_rollout();
        let (rollout, revision) = trial.unwrap_or((posture.rollout, posture.in_force.unwrap_or(0)));
        let arms = self
            .plans
            .counters()
            .map(|it| it.report())
            .unwrap_or_default();
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
