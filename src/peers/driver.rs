//! Drives the core of the fleet: one task that takes in events and time, and carries out what comes of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::body::Body;
use bytes::Bytes;
use http::Request;
use hyper::client::conn::http2::SendRequest;
use tidegate_fleet::{ConnectionId, Fleet, Judge, Output, Own, Purpose, WatcherId};
use tidegate_telemetry::names;
use tidegate_traffic::health::Outcome;
use tidegate_traffic::plan::{OpenWindows, Plan};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::credentials::Credentials;
use super::dial::Dial;
use super::event::Event;
use super::grpc::{BytesCodec, CHECK, ORIGIN, client};
use super::heard::HeardFlag;
use super::view::FleetView;
use crate::http::PROBE_PATHS;

const TICK: Duration = Duration::from_millis(50);

/// A probe has failed after this time.
const PROBE_MAX: Duration = Duration::from_secs(3);

/// Returns how this gateway is.
pub type OwnHealth = Box<dyn Fn() -> Own + Send + Sync>;

/// One connection that was dialled.
struct Connection {
    task: JoinHandle<()>,
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
    own: OwnHealth,
    began: Instant,
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
        own: OwnHealth,
        credentials: Arc<ArcSwap<Credentials>>,
        events: mpsc::Sender<Event>,
        view: Arc<ArcSwap<FleetView>>,
    ) -> Self {
        Self {
            judge: Judge::new(Arc::clone(&plan), &fleet),
            fleet,
            plan,
            own,
            began: Instant::now(),
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
        let own = (self.own)();
        let opinion = *self.judge.opinion();
        self.fleet.tick(&own, &opinion, now, &mut self.out);
        self.step();
    }

    fn step(&mut self) {
        self.judge.step(&self.fleet, OpenWindows(0));
        let view = FleetView::of(&self.fleet, &self.judge, &self.plan);
        self.view.store(Arc::new(view));
    }

    fn take(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Opened(id, sender) => match self.connections.get_mut(&id) {
                Some(connection) => {
                    connection.sender = Some(sender);
                    self.fleet.opened(id, now);
                }
                None => tracing::trace!("a connection opened that was given up"),
            },
            Event::Closed(id) => {
                if self.connections.remove(&id).is_some() {
                    self.fleet.closed(id, now, &mut self.out);
                    self.step();
                }
            }
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
            Event::Drain { by, time, done } => {
                let may = self.fleet.region(&by).is_some();
                if may {
                    tracing::info!(%by, ?time, "a peer drains this region");
                    self.fleet.drain(time, now);
                }
                let _peer_gone = done.send(may);
            }
            Event::Resolved(region, addresses) => {
                let room = self.fleet.set_addresses(&region, &addresses, &mut self.out);
                if !room {
                    tracing::warn!(%region, "too many regions: this one is not dialled");
                }
            }
        }
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
                if let Some(connection) = self.connections.remove(&connection) {
                    connection.task.abort();
                }
            }
            Output::Retire { connection } => self.retire(connection),
            Output::Ping { connection } => self.ping(connection),
            Output::Update { watcher, update } => self.send_update(watcher, update.into()),
            Output::Probe { connection, path } => self.probe(connection, path),
        }
    }

    fn retire(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        // A tunnel ends with its last request, since nothing else can send over it.
        connection.sender = None;
        if connection.purpose == Purpose::Control {
            connection.task.abort();
            self.take(Event::Closed(id));
        }
    }

    fn dial(&mut self, dial: Dial) {
        let purpose = dial.purpose;
        let (id, heard) = (dial.connection, HeardFlag::default());
        let credentials = Arc::clone(&self.credentials);
        let task = dial.run(credentials, heard.clone(), self.events.clone());
        let connection = Connection {
            task: tokio::spawn(task),
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
            let ready = client.ready().await;
            if ready.is_ok() && client.unary(request, CHECK, BytesCodec).await.is_ok() {
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
            let path = path.as_deref().unwrap_or(PROBE_PATHS[0]);
            let Ok(request) = Request::get(format!("{ORIGIN}{path}")).body(Body::empty()) else {
                return;
            };
            let began = Instant::now();
            let asked = async {
                sender.ready().await?;
                sender.send_request(request).await
            };
            let outcome = match tokio::time::timeout(PROBE_MAX, asked).await {
                Ok(Ok(answer)) if answer.status().is_success() => Outcome::Served,
                _ => Outcome::Failed,
            };
            let probed = Event::Probed(id, outcome, began.elapsed());
            let _driver_gone = events.send(probed).await;
        });
    }
}
