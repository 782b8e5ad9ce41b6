//! What a driver does: it carries out what the core asks for, and tells it what came of that.

use std::net::SocketAddr;
use std::time::Duration;

use tidegate_fleet::{ConnectionId, Output, Purpose, WatcherId};
use tidegate_traffic::health::Outcome;

use crate::network::{Connection, Message, SENT_AGAIN, SENT_AGAIN_MAX};
use crate::world::{Event, World};

/// The accepting side closes a connection on which nothing came for so long.
const UNHEARD_MAX: Duration = Duration::from_secs(10);

/// A DATA frame's head and a gRPC message's.
const HEADS: usize = 14;

impl World {
    pub(crate) fn tick(&mut self, gateway: usize) {
        let mut out = Vec::new();
        self.gateways[gateway].tick(self.now, &mut out);
        self.carry_out(gateway, out);
        let accepted: Vec<_> = self.gateways[gateway].accepted.values().copied().collect();
        for connection in accepted {
            if self.now - self.connections[connection].heard > UNHEARD_MAX {
                self.end(connection, 1);
            }
        }
    }

    fn carry_out(&mut self, gateway: usize, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Dial {
                    connection,
                    address,
                    purpose,
                    ..
                } => self.dial(gateway, connection, address, purpose),
                Output::Close { connection } => {
                    if let Some(at) = self.gateways[gateway].dialled.remove(&connection) {
                        self.end(at, 0);
                    }
                }
                Output::Retire { connection } => {
                    let dialled = &mut self.gateways[gateway].dialled;
                    let at = dialled.remove(&connection).unwrap();
                    self.end(at, 0);
                    self.closed(gateway, connection);
                }
                Output::Ping { connection } => self.send_from(gateway, connection, Message::Ping),
                Output::Probe { connection, .. } => {
                    self.gateways[gateway].probes += 1;
                    self.send_from(gateway, connection, Message::Probe);
                }
                Output::ProbeOwn => {
                    // `/health/edge` is well whatever the application is.
                    let state = &mut self.gateways[gateway];
                    let time = state.time(self.now);
                    let (served, took) = (Outcome::Served, Duration::ZERO);
                    state.fleet.probed_own(served, took, time);
                }
                Output::Update { watcher, update } => {
                    let at = self.gateways[gateway].accepted[&watcher];
                    let connection = &mut self.connections[at];
                    connection.updates += 1;
                    connection.bytes += (update.len() + HEADS) as u64;
                    connection.longest = connection.longest.max(update.len());
                    if !self.ways.mute.contains(&self.gateways[gateway].region) {
                        self.send(at, 1, Message::Update(update));
                    }
                }
            }
        }
    }

    fn dial(&mut self, from: usize, id: ConnectionId, address: SocketAddr, purpose: Purpose) {
        let to = self.by_address[&address];
        let at = self.connections.len();
        self.connections
            .push(Connection::new((from, to), id, purpose));
        self.gateways[from].dialled.insert(id, at);
        let mut takes = (self.way(from, to) + self.way(to, from)) * 2;
        if self.rng.f64() < self.ways.loss * 4.0 {
            takes += Duration::from_secs(1);
        }
        self.schedule(self.now + takes, Event::Dialled(at));
    }

    pub(crate) fn dialled(&mut self, at: usize) {
        let connection = &self.connections[at];
        let (id, purpose) = (connection.id, connection.purpose);
        let [from, to] = connection.sides.map(|side| side.gateway);
        let cut = |from, to| self.ways.cut.contains(&(from, to));
        let given_up = self.gateways[from].dialled.get(&id) != Some(&at);
        if given_up || cut(from, to) || cut(to, from) {
            return;
        }
        let still = self.gateways[to].still;
        if still > self.now {
            // The handshake needs its process.
            return self.schedule(still, Event::Dialled(at));
        }
        if !self.gateways[to].up || self.ways.refused.contains(&(from, to)) {
            self.gateways[from].dialled.remove(&id);
            return self.closed(from, id);
        }
        for side in &mut self.connections[at].sides {
            side.open = true;
        }
        self.connections[at].heard = self.now;
        let time = self.gateways[from].time(self.now);
        self.gateways[from].fleet.opened(id, time);
        if purpose == Purpose::Control {
            self.send(at, 0, Message::Watch);
        }
    }

    fn closed(&mut self, gateway: usize, connection: ConnectionId) {
        let mut out = Vec::new();
        let state = &mut self.gateways[gateway];
        let time = state.time(self.now);
        state.fleet.closed(connection, time, &mut out);
        state.step(self.now);
        self.carry_out(gateway, out);
    }

    /// Closes one side of a connection; the other one hears of it if it can.
    pub(crate) fn end(&mut self, at: usize, side: usize) {
        let end = &mut self.connections[at].sides[side];
        if !std::mem::take(&mut end.open) {
            return;
        }
        let gateway = end.gateway;
        if let (1, Some(watcher)) = (side, self.connections[at].watcher.take()) {
            self.gateways[gateway].accepted.remove(&watcher);
            self.gateways[gateway].fleet.unwatch(watcher);
        }
        self.send(at, side, Message::End);
    }

    fn send_from(&mut self, gateway: usize, connection: ConnectionId, message: Message) {
        let at = self.gateways[gateway].dialled[&connection];
        self.send(at, 0, message);
    }

    fn send(&mut self, at: usize, side: usize, message: Message) {
        let pipe = &mut self.connections[at].pipes[side];
        pipe.queue.push_back(message);
        if !pipe.waits {
            pipe.again = SENT_AGAIN;
            self.transmit(at, side);
        }
    }

    pub(crate) fn transmit(&mut self, at: usize, side: usize) {
        let [from, to] = [side, 1 - side].map(|side| self.connections[at].sides[side].gateway);
        let delay = self.way(from, to);
        let cut = self.ways.cut.contains(&(from, to));
        while !self.connections[at].pipes[side].queue.is_empty() {
            let lost = cut || self.rng.f64() < self.ways.loss;
            let jitter = self.ways.jitter.mul_f64(self.rng.f64());
            let pipe = &mut self.connections[at].pipes[side];
            if lost {
                pipe.waits = true;
                let again = self.now + pipe.again;
                pipe.again = (pipe.again * 2).min(SENT_AGAIN_MAX);
                return self.schedule(again, Event::SendAgain(at, side));
            }
            pipe.again = SENT_AGAIN;
            pipe.arrives = pipe.arrives.max(self.now + delay + jitter);
            let (arrives, message) = (pipe.arrives, pipe.queue.pop_front().unwrap());
            self.schedule(arrives, Event::Deliver(at, side, message));
        }
    }

    pub(crate) fn deliver(&mut self, at: usize, side: usize, message: Message) {
        let receiver = self.connections[at].sides[1 - side];
        if !receiver.open || !self.gateways[receiver.gateway].up {
            return;
        }
        if side == 0 {
            self.accept(at, receiver.gateway, &message);
        } else {
            self.answer(at, receiver.gateway, message);
        }
    }

    /// The accepting side reads a message.
    fn accept(&mut self, at: usize, gateway: usize, message: &Message) {
        self.connections[at].heard = self.now;
        let time = self.gateways[gateway].time(self.now);
        match message {
            Message::Ping => self.send(at, 1, Message::Pong),
            Message::Watch => {
                let watcher = WatcherId(at as u64);
                let dialler = self.connections[at].sides[0].gateway;
                let region = self.regions[self.gateways[dialler].region].clone();
                let mut out = Vec::new();
                self.connections[at].watcher = Some(watcher);
                self.gateways[gateway].accepted.insert(watcher, at);
                let fleet = &mut self.gateways[gateway].fleet;
                assert!(fleet.watch(watcher, &region, time, &mut out));
                self.carry_out(gateway, out);
            }
            Message::Probe => {
                let served = self.gateways[gateway].own.served;
                let failed = self.rng.u64(0..served.requests.max(1)) < served.failed;
                let outcome = if failed {
                    Outcome::Failed
                } else {
                    Outcome::Served
                };
                let dialler = self.connections[at].sides[0].gateway;
                let round = self.way(dialler, gateway) * 2;
                let time = round + served.points[0];
                self.send(at, 1, Message::Answer(outcome, time));
            }
            Message::End => {
                self.end(at, 1);
            }
            other => unreachable!("{other:?}"),
        }
    }

    /// The dialling side reads a message.
    fn answer(&mut self, at: usize, gateway: usize, message: Message) {
        let id = self.connections[at].id;
        let time = self.gateways[gateway].time(self.now);
        let mut out = Vec::new();
        let state = &mut self.gateways[gateway];
        match message {
            Message::Pong => state.call(|it| it.fleet.pong(id, time)),
            Message::Update(update) => {
                state.call(|it| it.fleet.received(id, &update, time, &mut out));
                self.note_arrival(gateway);
            }
            Message::Answer(outcome, took) => state.fleet.handed(id, outcome, took, time),
            Message::End => {
                state.dialled.remove(&id);
                self.connections[at].sides[0].open = false;
                self.closed(gateway, id);
            }
            other => unreachable!("{other:?}"),
        }
        self.carry_out(gateway, out);
    }

    fn note_arrival(&mut self, gateway: usize) {
        let Some(awaited) = &mut self.awaited else {
            return;
        };
        let known = self.gateways[gateway].knows(awaited.gateway);
        if known.is_some_and(|record| (awaited.is_it)(&record)) {
            awaited.arrived.entry(gateway).or_insert(self.now);
        }
    }
}
