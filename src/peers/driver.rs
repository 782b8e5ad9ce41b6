//! Drives the core of the fleet: one task that takes in events and time, and carries out what comes of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Uri};
use hyper::client::conn::http2::SendRequest;
use tidegate_fleet::{ConnectionId, Fleet, Judge, Output, Own, Purpose, WatcherId};
use tidegate_model::RegionId;
use tidegate_telemetry::names;
use tidegate_traffic::facts::Conditions;
use tidegate_traffic::health::Outcome;
use tidegate_traffic::plan::{OpenWindows, Plan};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::credentials::Credentials;
use super::dial::Dial;
use super::event::{Ending, Event};
use super::grpc::{BytesCodec, CHECK, ORIGIN, client};
use super::heard::HeardFlag;
use super::order::{DrainError, DrainOrder, DrainWay};
use super::shown::show;
use super::view::FleetView;
use crate::endpoint::LiveRoutes;
use crate::http::PROBE_PATHS;
use crate::regions::TrafficPolicy;
use crate::tunnels::{Handed, HandedEnd, Tunnels, outcome_of};

const TICK: Duration = Duration::from_millis(50);

/// Metrics are read less often.
const SHOWN_EVERY: Duration = Duration::from_secs(1);

/// A ping without an answer is given up a little before the fleet sends another.
const PING_MAX: Duration = Duration::from_millis(2_900);

/// A probe has failed after this time.
const PROBE_MAX: Duration = Duration::from_secs(3);

/// Returns how this gateway is.
pub type OwnHealth = Box<dyn Fn() -> Own + Send + Sync>;

/// What the fleet works with of the process.
pub struct FleetParts {
    /// How this gateway is.
    pub own: OwnHealth,
    /// The traffic policy in force, which the fleet judges the regions for.
    pub routes: Arc<LiveRoutes>,
    /// Where open connections for requests are kept.
    pub tunnels: Arc<Tunnels>,
    /// Whether this gateway suspects itself.
    pub suspects: Arc<AtomicBool>,
    /// How long a peer may take no byte of an answer.
    pub idle_timeout: Duration,
}

/// One connection that was dialled.
struct Connection {
    task: JoinHandle<()>,
    region: RegionId,
    purpose: Purpose,
    heard: HeardFlag,
    /// Once it is open, and until it is retired.
    sender: Option<SendRequest<Body>>,
}

/// The task.
pub(super) struct Driver {
    fleet: Fleet,
    judge: Judge,
    plan: Arc<Plan>,
    /// The policy that the plan is of, and what it was last told.
    told: Option<(Arc<TrafficPolicy>, Option<Conditions>)>,
    /// The policy of an open rollout, its judge, and what it was last told.
    trial: Option<(Arc<TrafficPolicy>, Judge, Option<Conditions>)>,
    parts: FleetParts,
    handed: mpsc::Receiver<Handed>,
    began: Instant,
    /// When the metrics were set.
    shown_at: Instant,
    connections: HashMap<ConnectionId, Connection>,
    watchers: HashMap<WatcherId, mpsc::Sender<Bytes>>,
    next_watcher: u64,
    credentials: Arc<ArcSwap<Credentials>>,
    events: mpsc::Sender<Event>,
    view: Arc<ArcSwap<FleetView>>,
    out: Vec<Output>,
}

impl Driver {
    pub(super) fn new(
        fleet: Fleet,
        plan: Arc<Plan>,
        (parts, handed): (FleetParts, mpsc::Receiver<Handed>),
        credentials: Arc<ArcSwap<Credentials>>,
        events: mpsc::Sender<Event>,
        view: Arc<ArcSwap<FleetView>>,
    ) -> Self {
        Self {
            judge: Judge::new(Arc::clone(&plan), &fleet),
            fleet,
            plan,
            told: None,
            trial: None,
            parts,
            handed,
            began: Instant::now(),
            shown_at: Instant::now(),
            connections: HashMap::new(),
            watchers: HashMap::new(),
            next_watcher: 0,
            credentials,
            events,
            view,
            out: Vec::new(),
        }
    }

    /// Runs until the process ends.
    pub(super) async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.tick(),
                Some(event) = events.recv() => self.take(event),
            }
            self.carry_out();
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn tick(&mut self) {
        let now = self.now();
        for (id, connection) in &self.connections {
            if connection.heard.take() {
                self.fleet.heard(*id, now);
            }
        }
        for (region, all) in self.parts.tunnels.crowded() {
            self.fleet.crowded(&region, all, now);
        }
        while let Ok(handed) = self.handed.try_recv() {
            self.take_handed(handed, now);
        }
        let own = (self.parts.own)();
        let opinion = *self.judge.opinion();
        self.fleet.tick(&own, &opinion, now, &mut self.out);
        if self.shown_at.elapsed() >= SHOWN_EVERY {
            self.shown_at = Instant::now();
            show(&self.fleet);
        }
        self.step();
    }

    fn take_handed(&mut self, handed: Handed, now: Duration) {
        match handed.end {
            HandedEnd::Ended(outcome, time) => {
                self.fleet.handed(handed.connection, outcome, time, now);
            }
            HandedEnd::Lost => self.fleet.lost(handed.connection, 1, now),
        }
        if let Some((region, path)) = handed.path {
            self.fleet.remember(&region, &path);
        }
    }

    /// Judges by the policy in force from now on.
    fn take_policy(&mut self) {
        let routes = self.parts.routes.load();
        let plans = routes.plans();
        let Some(policy) = &plans.in_force else {
            return;
        };
        let known = self.told.as_ref().map(|(known, _)| known);
        if known.is_none_or(|known| !Arc::ptr_eq(known, policy)) {
            self.plan = Arc::clone(&policy.file().plan);
            let of_trial = self.trial.take();
            let of_trial = of_trial.filter(|(known, ..)| Arc::ptr_eq(known, policy));
            self.judge = match of_trial {
                Some((_, judge, _)) => judge,
                None => self.judge.adopt(Arc::clone(&self.plan)),
            };
            self.told = Some((Arc::clone(policy), None));
        }
        let trial = plans.trial.as_ref().map(|trial| &trial.policy);
        let known = self.trial.as_ref().map(|(known, ..)| known);
        if known.map(Arc::as_ptr) != trial.map(Arc::as_ptr) {
            let judge = |policy: &TrafficPolicy| self.judge.adopt(Arc::clone(&policy.file().plan));
            self.trial = trial.map(|policy| (Arc::clone(policy), judge(policy), None));
        }
    }

    /// Tells the policy in force how the regions are, if that has changed.
    fn tell(&mut self) {
        for region in self.fleet.regions() {
            let reaches = region.reaches_primary();
            self.parts.tunnels.set_reaches_primary(region.id(), reaches);
        }
        let Some((policy, told)) = &mut self.told else {
            return;
        };
        let conditions = self.judge.conditions(&self.fleet, policy.open_windows());
        if told.as_ref() != Some(&conditions) {
            policy.judged_by_fleet(conditions.clone());
            *told = Some(conditions);
        }
        if let Some((policy, judge, told)) = &mut self.trial {
            let open = policy.open_windows();
            judge.step(&self.fleet, open);
            let conditions = judge.conditions(&self.fleet, open);
            if told.as_ref() != Some(&conditions) {
                policy.judged_by_fleet(conditions.clone());
                *told = Some(conditions);
            }
        }
    }

    fn step(&mut self) {
        self.take_policy();
        let policy = self.told.as_ref().map(|(policy, _)| policy);
        let open = policy.map_or(OpenWindows(0), |policy| policy.open_windows());
        self.judge.step(&self.fleet, open);
        self.tell();
        let view = FleetView::of(&self.fleet, &self.judge, &self.plan);
        self.parts.suspects.store(view.suspect, Ordering::Relaxed);
        self.view.store(Arc::new(view));
    }

    fn take(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Opened(id, sender) => match self.connections.get_mut(&id) {
                Some(connection) => {
                    if connection.purpose == Purpose::Tunnel {
                        let tunnels = &self.parts.tunnels;
                        let windows = connection.heard.windows();
                        tunnels.open(&connection.region, id, sender.clone(), windows);
                    }
                    connection.sender = Some(sender);
                    self.fleet.opened(id, now);
                    self.step();
                }
                None => tracing::trace!("a connection opened that was given up"),
            },
            Event::Closed(id, why) => {
                if self.forget(id).is_some() {
                    match why {
                        Ending::Lost => self.fleet.closed(id, now, &mut self.out),
                        Ending::InOrder => self.fleet.ended(id, now, &mut self.out),
                    }
                    self.step();
                }
            }
            Event::Unverified(id) => self.fleet.unverified(id, now),
            Event::Renewed => self.fleet.renewed(now),
            Event::Received(id, update) => self.fleet.received(id, &update, now, &mut self.out),
            Event::Pong(id) => self.fleet.pong(id, now),
            Event::Probed(id, outcome, time) => self.fleet.handed(id, outcome, time, now),
            Event::Watch {
                region,
                updates,
                admitted,
            } => {
                self.next_watcher += 1;
                let watcher = WatcherId(self.next_watcher);
                self.watchers.insert(watcher, updates);
                let may = self.fleet.watch(watcher, &region, now, &mut self.out);
                if !may {
                    self.watchers.remove(&watcher);
                }
                let _peer_gone = admitted.send(may.then_some(watcher));
            }
            Event::Unwatch(watcher) => self.unwatch(watcher),
            Event::Drain {
                by,
                time,
                force,
                done,
            } => {
                let known = self.fleet.region(&by).is_some();
                let drained = match known {
                    true => self.drain_own(time, force, now),
                    false => Err(DrainError::Unknown(by.clone())),
                };
                tracing::info!(%by, ?time, ?drained, "a peer drains or undrains this region");
                let _peer_gone = done.send(drained);
            }
            Event::Operate { order, done } => {
                let _operator_gone = done.send(self.operate(&order, now));
            }
            Event::Resolved(region, addresses) => {
                let room = self.fleet.set_addresses(&region, &addresses, &mut self.out);
                if !room {
                    tracing::warn!(%region, "too many regions: this one is not dialled");
                }
            }
        }
    }

    fn drain_own(&mut self, time: Duration, force: bool, now: Duration) -> Result<(), DrainError> {
        let own = self.fleet.regions()[0].id();
        if !time.is_zero() && !force && !self.judge.another_is_well(own) {
            return Err(DrainError::Last);
        }
        self.fleet.drain(time, now);
        self.tick();
        Ok(())
    }

    fn operate(&mut self, order: &DrainOrder, now: Duration) -> Result<DrainWay, DrainError> {
        let region = &order.region;
        let Some(known) = self.fleet.region(region) else {
            return Err(DrainError::Unknown(region.clone()));
        };
        if known.id() == self.fleet.regions()[0].id() {
            let done = self.drain_own(order.time, order.force, now);
            return done.map(|()| DrainWay::Done);
        }
        if !order.time.is_zero() && !order.force && !self.judge.another_is_well(region) {
            return Err(DrainError::Last);
        }
        let sender = known.control().and_then(|control| self.sender(control));
        let sender = sender.ok_or_else(|| DrainError::Unreachable(region.clone()))?;
        Ok(DrainWay::Ask(sender))
    }

    fn unwatch(&mut self, watcher: WatcherId) {
        self.watchers.remove(&watcher);
        self.fleet.unwatch(watcher);
    }

    fn carry_out(&mut self) {
        while !self.out.is_empty() {
            for output in std::mem::take(&mut self.out) {
                self.carry_out_one(output);
            }
        }
    }

    fn carry_out_one(&mut self, output: Output) {
        match output {
            Output::Dial {
                connection,
                region,
                address,
                purpose,
            } => self.dial(Dial {
                connection,
                region,
                address,
                purpose,
            }),
            Output::Close { connection } => {
                if let Some(connection) = self.forget(connection) {
                    connection.heard.close();
                    connection.task.abort();
                }
            }
            Output::Retire { connection } => self.retire(connection),
            Output::Ping { connection } => self.ping(connection),
            Output::Update { watcher, update } => self.send_update(watcher, update.into()),
            Output::Probe { connection, path } => self.probe(connection, path),
        }
    }

    /// Forgets a connection that was lost or is to be closed: nothing new is sent over it.
    fn forget(&mut self, id: ConnectionId) -> Option<Connection> {
        let connection = self.connections.remove(&id)?;
        self.parts.tunnels.close(&connection.region, id);
        Some(connection)
    }

    fn retire(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        self.parts.tunnels.close(&connection.region, id);
        // A tunnel ends with its last request, since nothing else can send over it.
        connection.sender = None;
        if connection.purpose == Purpose::Control {
            connection.task.abort();
            self.take(Event::Closed(id, Ending::InOrder));
        }
    }

    fn dial(&mut self, dial: Dial) {
        let purpose = dial.purpose;
        let (id, heard) = (dial.connection, HeardFlag::default());
        let region = dial.region.clone();
        let credentials = Arc::clone(&self.credentials);
        let task = dial.run(credentials, heard.clone(), self.events.clone());
        let connection = Connection {
            task: tokio::spawn(task),
            region,
            purpose,
            heard,
            sender: None,
        };
        self.connections.insert(id, connection);
    }

    fn send_update(&mut self, watcher: WatcherId, update: Bytes) {
        let Some(updates) = self.watchers.get(&watcher) else {
            return;
        };
        // One that does not read would miss a change.
        if updates.try_send(update).is_err() {
            self.unwatch(watcher);
        }
    }

    fn sender(&self, id: ConnectionId) -> Option<SendRequest<Body>> {
        self.connections.get(&id)?.sender.clone()
    }

    fn ping(&self, id: ConnectionId) {
        let Some(sender) = self.sender(id) else {
            return;
        };
        let events = self.events.clone();
        tokio::spawn(async move {
            let mut client = client(sender);
            let request = tonic::Request::new(Bytes::new());
            let asked = async {
                client.ready().await.is_ok()
                    && client.unary(request, CHECK, BytesCodec).await.is_ok()
            };
            if tokio::time::timeout(PING_MAX, asked).await == Ok(true) {
                let _driver_gone = events.send(Event::Pong(id)).await;
            }
        });
    }

    fn probe(&self, id: ConnectionId, path: Option<Arc<str>>) {
        let Some(mut sender) = self.sender(id) else {
            return;
        };
        metrics::counter!(names::FLEET_PROBES).increment(1);
        let events = self.events.clone();
        tokio::spawn(async move {
            let request = probe_request(path.as_deref());
            let began = Instant::now();
            let asked = async {
                sender.ready().await?;
                sender.send_request(request).await
            };
            let outcome = match tokio::time::timeout(PROBE_MAX, asked).await {
                Ok(Ok(answer)) => outcome_of(answer.status(), answer.headers()),
                _ => Outcome::Failed,
            };
            let probed = Event::Probed(id, outcome, began.elapsed());
            let _driver_gone = events.send(probed).await;
        });
    }
}

/// Asks for a path as it was handed on; for one that cannot be sent, as without one.
fn probe_request(path: Option<&str>) -> Request<Body> {
    let uri = |path: &str| Uri::try_from(format!("{ORIGIN}{path}")).ok();
    let uri = path.and_then(uri).or_else(|| uri(PROBE_PATHS[0]));
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = uri.unwrap_or_default();
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_of_a_path_that_cannot_be_sent_asks_for_the_health() {
        let asked = |path| probe_request(path).uri().to_string();
        let health = format!("{ORIGIN}{}", PROBE_PATHS[0]);
        assert_eq!(asked(Some("/a%20b%3F")), format!("{ORIGIN}/a%20b%3F"));
        assert_eq!(asked(None), health);
        assert_eq!(asked(Some("/a b")), health);
    }
}
