//! A gateway's task: polls the store, swaps the plans, judges the arms, reports.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::arm_judge::ArmJudge;
use super::bodies::{Bodies, RowsOf};
use super::floors::Floors;
use super::nodes::{StoreNode, StoreNodes};
use super::plan_switch::PlanSwitch;
use super::reporter::{self, Reported};
use super::state_keeper::{SavedState, StateKeeper};
use super::status::{show_ended, show_metrics, show_moved};
use super::store_presence::StorePresence;
use super::{StoreError, StoreSettings, StoreStatus};
use crate::endpoint::LiveRoutes;
use crate::peers::Membership;
use crate::regions::Entrance;
use crate::sql::Database;
use tidegate_model::RegionId;
use tidegate_rollout::{
    FinishedRollout, Following, Observed, Posture, RevisionRefusal, RolloutOutcome,
    RolloutPosition, SavedPolicy, StoreView, TrustedKeys,
};
use tidegate_telemetry::{again_and_again, survive};

/// How often the store is read.
const POLL: Duration = Duration::from_secs(1);

/// How often while a rollout is open.
const POLL_OPEN: Duration = Duration::from_millis(250);

/// Follows the store on one gateway.
pub struct StoreFollower {
    region: RegionId,
    /// Names this process in reports, outside a fleet.
    gateway: String,
    fleet: Option<Arc<Membership>>,
    nodes: StoreNodes,
    plans: PlanSwitch,
    state: StateKeeper,
    status: Arc<StoreStatus>,
    following: Following,
    bodies: Bodies,
    /// What the state file has, until it is compiled.
    saved: Option<SavedPolicy>,
    floors: Floors,
    trust: Arc<TrustedKeys>,
    /// The system identifier of the database that what is in force is from.
    system: Option<u64>,
    /// Whether the state file is to be replaced once the database is known.
    is_unsaved: bool,
    judge: ArmJudge,
    started: Instant,
    presence: StorePresence,
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
            gateway: match &fleet {
                Some(fleet) => fleet.id().to_owned(),
                None => format!("{:016x}", fastrand::u64(..)),
            },
            fleet,
            nodes: StoreNodes::new(region.clone(), Arc::clone(&database)),
            plans: PlanSwitch {
                routes,
                database,
                entrance,
            },
            state: StateKeeper::new(settings),
            following: Following::new(region.as_str(), None),
            bodies: Bodies::default(),
            saved: None,
            floors: Floors::default(),
            trust: status.trusted(),
            system: None,
            is_unsaved: false,
            judge: ArmJudge::default(),
            started: Instant::now(),
            presence: StorePresence::default(),
            region,
            status,
        }
    }

    /// Follows the store until it is aborted.
    pub async fn run(mut self) {
        show_metrics();
        survive("state file", self.take_file()).await;
        let (reports, latest) = watch::channel(None);
        let mut tasks = JoinSet::new();
        let monitor = Arc::clone(self.nodes.monitor());
        tasks.spawn(again_and_again("reports", move || {
            reporter::report(Arc::clone(&monitor), latest.clone())
        }));
        tasks.spawn(self.state.writer());
        loop {
            // Without a follower of the store, a rollout's share would never lapse. What a poll has not come to
            // the next one reads again.
            let pause = survive("policy store", self.step(&reports)).await;
            sleep(pause.unwrap_or(POLL)).await;
        }
    }

    /// Takes over what the state file says.
    async fn take_file(&mut self) {
        self.saved = self.state.read(&self.trust.fleet).await;
        self.take_saved().await;
    }

    /// Reads the store once and does what follows from it; returns how long to wait then.
    async fn step(&mut self, reports: &watch::Sender<Option<Reported>>) -> Duration {
        let is_pinned = self.plans.is_pinned();
        let is_there = self.presence.is_there(&self.nodes).await;
        if is_there && !is_pinned {
            self.poll().await;
        }
        self.take_saved().await;
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
        let is_unplaced = self.presence.is_unplaced() && !is_pinned;
        self.status.show_unplaced(is_unplaced);
        if is_there {
            reports.send_replace(Some(self.reported(&posture, is_pinned)));
        }
        let is_unread = self.is_unread(&posture) && !is_pinned;
        if is_unread && self.plans.has_peers() {
            self.presence.tell_unread();
        }
        match self.following.is_open() || is_unread {
            true => POLL_OPEN,
            false => POLL.mul_f64(0.8 + 0.4 * fastrand::f64()),
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
        posture.in_force.is_none() && !self.presence.is_absent()
    }

    /// Takes over what was in force when this gateway last ran, unless the store has said what is.
    async fn take_saved(&mut self) {
        let Some(saved) = self.saved.take() else {
            return;
        };
        let position = RolloutPosition {
            timeline: saved.timeline,
            rollout: saved.rollout,
        };
        // While it was compiled, a node that is behind may have shown what was in force before.
        if self.following.position() >= Some(position) {
            return;
        }
        // Whatever comes of it: its floor counts, until the database is known to be another one.
        self.system = self.system.or(saved.system);
        self.floors.save(saved.floor_accepted);
        match self.bodies.accept_saved(&saved, &self.trust).await {
            Ok(()) => {}
            Err(RevisionRefusal::Slow) => return self.saved = Some(saved),
            Err(reason) => {
                let reason = format_args!("its revision is refused: {reason}");
                return self.state.refuse(&reason);
            }
        }
        let known = Some((position, saved.revision));
        self.following = Following::new(self.region.as_str(), known);
        let (revision, rollout) = (saved.revision, saved.rollout);
        tracing::info!(revision, rollout, "the state file's policy is in force");
        let posture = self.following.posture(self.started.elapsed());
        if !self.plans.is_pinned() {
            self.apply(&posture);
        }
    }

    /// Reads the store on the first node that answers: one whose timeline is not known only if no other does.
    async fn poll(&mut self) {
        let trust = self.status.trusted();
        if trust != self.trust {
            let in_force = self.following.in_force();
            self.bodies.keep_only(|it| in_force == Some(it));
            self.floors.ask_again();
            self.trust = trust;
        }
        for node in self.nodes.by_preference() {
            match self.poll_node(&node).await {
                Ok(true) => return self.presence.answered(node.timeline.is_some()),
                Ok(false) => {}
                Err(error) => self.presence.failed(&error),
            }
        }
    }

    async fn poll_node(&mut self, node: &StoreNode) -> Result<bool, StoreError> {
        let Some(client) = self.nodes.client(&node.status) else {
            return Ok(false);
        };
        // Rows whose timeline is not known never count as those of a newer one.
        let known = self.following.position().map_or(0, |it| it.timeline);
        let timeline = node.timeline.map_or(known, |it| it.0);
        let is_placed = node.timeline.is_some();
        let rows = RowsOf {
            timeline,
            is_placed,
        };
        let system = node.status.position.as_ref().map(|it| it.system.0);
        self.follow_database(system);
        let asked = (&*client, timeline);
        let polled = self
            .floors
            .poll(asked, &self.following, &mut self.bodies, &self.trust);
        let polled = polled.await?;
        let shown = polled.finished.into_iter().chain(polled.above_floor);
        let shown: Vec<_> = shown.collect();
        for head in &polled.revisions {
            let of = (head, rows, &*shown);
            self.bodies.look(&client, of, &self.trust).await?;
        }
        let open = polled.open.as_ref().map_or(0, |it| it.revision);
        let number = |it: Option<FinishedRollout>| it.map_or(0, |it| it.revision);
        let rolled_out = [open, number(polled.finished), number(polled.above_floor)];
        for &revision in rolled_out.iter().filter(|it| **it > 0) {
            if polled.revisions.iter().all(|it| it.revision != revision) {
                self.bodies.miss(revision, timeline);
            }
        }
        let view = StoreView {
            system,
            timeline,
            is_current: node.is_current,
            newest: polled.newest,
            open: polled.open,
            ended: polled.ended.as_deref().and_then(RolloutOutcome::of),
            finished: polled.finished,
            above_floor: polled.above_floor,
            revisions: polled.revisions,
        };
        self.take_in(&view);
        let in_force = self.following.in_force();
        self.bodies
            .keep_only(|it| rolled_out.contains(&it) || in_force == Some(it));
        Ok(true)
    }

    /// Forgets what another database has said.
    fn follow_database(&mut self, system: Option<u64>) {
        if let (Some(before), Some(system)) = (self.system, system)
            && before != system
        {
            tracing::warn!("the database is another one: what was in force before does not count");
            self.state.forget();
            self.following.forget();
            self.bodies = Bodies::default();
            (self.saved, self.floors) = (None, Floors::default());
            self.is_unsaved = false;
        }
        self.system = system.or(self.system);
    }

    /// Takes in what a node shows.
    fn take_in(&mut self, view: &StoreView) {
        let before = self.following.position();
        let bodies = &self.bodies;
        let admission = |revision| bodies.admission(revision);
        let now = self.started.elapsed();
        let Observed { is_moved, ended } = self.following.observe(view, &admission, now);
        if let Some((rollout, outcome)) = ended {
            show_ended(rollout, outcome);
        }
        if is_moved {
            let (position, revision) = (self.following.position(), self.following.in_force());
            show_moved(before, (position, revision));
            let rollout = position.map_or(0, |it| it.rollout);
            let mut shown = [view.finished, view.above_floor].into_iter().flatten();
            let by = shown.find(|it| (it.rollout, Some(it.revision)) == (rollout, revision));
            // Before the first there is none.
            self.bodies.put_in_force(by.unwrap_or_default());
        }
        let in_force = self.bodies.stored_in_force();
        let floor = in_force.map_or(0, |it| it.floor);
        self.bodies.raise_floor(floor);
        self.save(view.system, is_moved);
    }

    /// Has the state file replaced if it would say something else, and the rows are known to be of the same database.
    fn save(&mut self, system: Option<u64>, is_moved: bool) {
        let floor = self.bodies.floor();
        self.is_unsaved |= self.floors.save(floor) || is_moved;
        let is_due = self.is_unsaved && (system.is_some() || self.system.is_none());
        let (Some(position), true) = (self.following.position(), is_due) else {
            return;
        };
        let revision = self.following.in_force().unwrap_or_default();
        let stored = self.bodies.stored_in_force();
        if stored.is_some() || revision == 0 {
            let at = (system, position, self.bodies.in_force_by().started);
            let state = SavedState::of(at, (stored, floor), &self.trust.fleet);
            self.state.save(state);
            self.is_unsaved = false;
        }
    }

    /// Looks at the arms; vetoes the new plan if it is worse, and returns whether it has.
    fn judge(&mut self, posture: &Posture, now: Duration) -> bool {
        let Some(trial) = posture.trial.as_ref().filter(|_| !self.suspects_itself()) else {
            return false;
        };
        let Some(counters) = self.plans.counters() else {
            return false;
        };
        let found = self.judge.step(trial, &counters, now);
        if let Some(cause) = found {
            self.following.veto(cause);
        }
        found.is_some()
    }

    fn suspects_itself(&self) -> bool {
        self.fleet.as_ref().is_some_and(|it| it.view().suspect)
    }

    fn reported(&self, posture: &Posture, is_pinned: bool) -> Reported {
        let counters = self.plans.counters();
        let arms = counters.map(|it| it.report()).unwrap_or_default();
        let by = (self.gateway.as_str(), self.region.as_str());
        if is_pinned {
            return Reported::pinned(by, posture);
        }
        let open = self.following.open_rollout();
        let started = self.bodies.in_force_by().started;
        let said = Reported::of(by, posture, (open, started), arms);
        let said = match self.presence.is_unplaced() {
            true => said.unplaced(),
            false => said,
        };
        match self.suspects_itself() {
            true => said.in_doubt(),
            false => said,
        }
    }
}
