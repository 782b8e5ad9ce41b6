//! Drives the core of the fleet: one task that takes in events and time, and carries out what comes of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use bytes::Bytes;
use tidegate_fleet::{Fleet, Output, Own, WatcherId};
use tidegate_telemetry::{PANIC_PAUSE, survive};
use tidegate_traffic::plan::Plan;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::connections::Connections;
use super::credentials::Credentials;
use super::dial::Dial;
use super::event::{Ending, Event};
use super::judging::Judging;
use super::order::{DrainError, DrainOrder, DrainWay};
use super::shown::show;
use super::view::FleetView;
use crate::endpoint::LiveRoutes;
use crate::tunnels::{Handed, HandedEnd, Tunnels};

const TICK: Duration = Duration::from_millis(50);

/// Metrics are read less often.
const SHOWN_EVERY: Duration = Duration::from_secs(1);

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

/// The task.
pub(super) struct Driver {
    fleet: Fleet,
    judging: Judging,
    parts: FleetParts,
    handed: mpsc::Receiver<Handed>,
    began: Instant,
    /// When the metrics were set.
    shown_at: Instant,
    connections: Connections,
    watchers: HashMap<WatcherId, mpsc::Sender<Bytes>>,
    next_watcher: u64,
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
        health: Router,
    ) -> Self {
        let tunnels = Arc::clone(&parts.tunnels);
        Self {
            judging: Judging::new(plan, &fleet),
            connections: Connections::new(tunnels, credentials, events, health),
            fleet,
            parts,
            handed,
            began: Instant::now(),
            shown_at: Instant::now(),
            watchers: HashMap::new(),
            next_watcher: 0,
            view,
            out: Vec::new(),
        }
    }

    /// Runs until the process ends.
    pub(super) async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                _ = ticks.tick() => None,
                Some(event) = events.recv() => Some(event),
            };
            let is_tick = event.is_none();
            // Peers limit how many events there are.
            if self.round(event).await.is_none() && is_tick {
                ticks.reset_after(PANIC_PAUSE);
            }
        }
    }

    /// Takes in an event or time, and carries out what comes of it. What a panic leaves undone is as what is lost
    /// on the way: peers say everything again, and what was to be dialled, pinged or probed is given up in time.
    async fn round(&mut self, event: Option<Event>) -> Option<()> {
        let round = async {
            match event {
                Some(event) => self.take(event),
                None => self.tick(),
            }
            self.carry_out();
        };
        survive("fleet", round).await
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn tick(&mut self) {
        let now = self.now();
        self.connections.heard(|id| self.fleet.heard(id, now));
        for (region, all) in self.parts.tunnels.crowded() {
            self.fleet.crowded(&region, all, now);
        }
        while let Ok(handed) = self.handed.try_recv() {
            self.take_handed(handed, now);
        }
        let own = (self.parts.own)();
        let opinion = *self.judging.judge.opinion();
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
                if let Some(path) = handed.path {
                    self.fleet.remember(handed.connection, &path, time);
                }
            }
            HandedEnd::Lost => self.fleet.lost(handed.connection, 1, now),
        }
    }

    fn step(&mut self) {
        for region in self.fleet.regions() {
            let reaches = region.reaches_primary();
            self.parts.tunnels.set_reaches_primary(region.id(), reaches);
        }
        self.judging.step(&self.fleet, &self.parts.routes);
        let view = FleetView::of(&self.fleet, &self.judging.judge, &self.judging.plan);
        self.parts.suspects.store(view.suspect, Ordering::Relaxed);
        self.view.store(Arc::new(view));
    }

    fn take(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Opened(id, sender) => match self.connections.opened(id, sender) {
                true => {
                    self.fleet.opened(id, now);
                    self.step();
                }
                false => tracing::trace!("a connection opened that was given up"),
            },
            Event::Closed(id, why) => {
                if self.connections.forget(id, why) {
                    let (fleet, out) = (&mut self.fleet, &mut self.out);
                    match why {
                        Ending::Lost | Ending::Unanswered => fleet.closed(id, now, out),
                        Ending::InOrder => fleet.ended(id, now, out),
                    }
                    self.step();
                }
            }
            Event::Unverified(id) => self.fleet.unverified(id, now),
            Event::Renewed => self.fleet.renewed(now),
            Event::Received(id, update) => self.fleet.received(id, &update, now, &mut self.out),
            Event::Pong(id) => self.fleet.pong(id, now),
            Event::Probed(id, path, ended) => {
                self.fleet.probed(id, path.as_deref(), ended, now);
            }
            Event::ProbedOwn(outcome, time) => self.fleet.probed_own(outcome, time, now),
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
        if !time.is_zero() && !force && !self.judging.judge.another_is_well(own) {
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
        if !order.time.is_zero() && !order.force && !self.judging.judge.another_is_well(region) {
            return Err(DrainError::Last);
        }
        let version = self.fleet.drain_version(region);
        let connection = known
            .control()
            .and_then(|control| self.connections.sender(control));
        let connection = connection.ok_or_else(|| DrainError::Unreachable(region.clone()))?;
        Ok(DrainWay::Ask {
            connection,
            version,
        })
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
            } => self.connections.dial(Dial {
                connection,
                region,
                address,
                purpose,
            }),
            Output::Close { connection } => self.connections.close(connection),
            Output::Retire { connection } => {
                if self.connections.retire(connection) {
                    self.take(Event::Closed(connection, Ending::InOrder));
                }
            }
            Output::Ping { connection } => self.connections.ping(connection),
            Output::Update { watcher, update } => self.send_update(watcher, update.into()),
            Output::Probe { connection, path } => self.connections.probe(connection, path),
            Output::ProbeOwn => self.connections.probe_own(),
        }
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
}
