//! A gateway's task: polls the store, swaps the plans, judges the arms, reports.

mod polling;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::arm_judge::ArmJudge;
use super::bodies::Bodies;
use super::floors::Floors;
use super::nodes::StoreNodes;
use super::plan_switch::PlanSwitch;
use super::reporter::{self, Reported};
use super::state_keeper::{DatabaseId, StateKeeper};
use super::status::show_metrics;
use super::store_presence::StorePresence;
use super::{StoreSettings, StoreStatus};
use crate::endpoint::LiveRoutes;
use crate::peers::Membership;
use crate::regions::Entrance;
use crate::sql::Database;
use tidegate_model::RegionId;
use tidegate_rollout::{
    ArmReport, Following, Posture, RevisionRefusal, RolloutPosition, SavedPolicy, TrustedKeys,
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
    /// The database that what is in force is from.
    database: DatabaseId,
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
            database: (None, None),
            is_unsaved: false,
            judge: ArmJudge::default(),
            started: Instant::now(),
            presence: StorePresence::default(),
            region,
            status,
        }
    }

    /// Follows the store until the gateway ends, and then takes its report back, for which it waits a second at most.
    pub async fn run(mut self, ended: impl Future<Output = ()> + Send) {
        let mut tasks = JoinSet::new();
        tokio::select! {
            () = self.follow(&mut tasks) => {}
            () = ended => {}
        }
        // Else a report could come afterwards.
        tasks.shutdown().await;
        if self.presence.is_found() {
            reporter::leave(self.nodes.monitor(), &self.gateway).await;
        }
    }

    async fn follow(&mut self, tasks: &mut JoinSet<()>) {
        show_metrics();
        survive("state file", self.take_file()).await;
        let (reports, latest) = watch::channel(None);
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
        let (system, database) = self.database;
        self.database = (system.or(saved.system), database.or(saved.database));
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
        let arms = ArmReport {
            signed_only: !self.trust.keys.is_empty(),
            ..counters.map(|it| it.report()).unwrap_or_default()
        };
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
