use std::net::SocketAddr;

use prost::Message;
use tidegate_traffic::compile;
use tidegate_traffic::health::{Outcome, Summary};
use tidegate_traffic::syntax::Source;

use super::*;
use crate::digest::Digest;
use crate::gateway_id::{GatewayId, Prefix};
use crate::link::{ConnectionId, Purpose};
use crate::output::Output;
use crate::own::Own;
use crate::wire;

const TICK: Duration = Duration::from_millis(50);
const NO_WINDOW: OpenWindows = OpenWindows(0);
const B: RegionIndex = RegionIndex(1);

/// A gateway of region `a` that has reached `b` and `c`, and what those say: requests a second and p99.
struct Judged {
    fleet: Fleet,
    judge: Judge,
    controls: Vec<(String, ConnectionId)>,
    tunnels: Vec<ConnectionId>,
    sequence: u32,
    now: Duration,
}

impl Judged {
    fn new(capacities: [&str; 3]) -> Self {
        let [a, b, c] = capacities;
        let text = format!(
            "region a {a}
region b {b}
region c {c}
defaults {{ leave when p99 > 400ms or errors > 2% for 2s }}
policy everything {{ prefer spread(a, b, c) }}"
        );
        let compiled = compile(&Source::new("judge.policy", text.as_bytes()));
        let mut fleet = Fleet::new(crate::fleet::Identity {
            region: "a".parse().unwrap(),
            random: 5,
        });
        let mut out = Vec::new();
        for (port, region) in [(1, "b"), (2, "c")] {
            let address = SocketAddr::from(([10, 0, 0, 1], port));
            fleet.set_addresses(&region.parse().unwrap(), &[address], &mut out);
        }
        let mut judged = Self {
            judge: Judge::new(compiled.plan.unwrap().into(), &fleet),
            fleet,
            controls: Vec::new(),
            tunnels: Vec::new(),
            sequence: 0,
            now: Duration::ZERO,
        };
        judged.tick();
        judged
    }

    fn tick(&mut self) {
        self.now += TICK;
        let mut out = Vec::new();
        let opinion = *self.judge.opinion();
        self.fleet
            .tick(&Own::default(), &opinion, self.now, &mut out);
        for output in out {
            match output {
                Output::Dial {
                    connection,
                    region,
                    purpose,
                    ..
                } => {
                    self.fleet.opened(connection, self.now);
                    match purpose {
                        Purpose::Control => self.controls.push((region.to_string(), connection)),
                        Purpose::Tunnel => self.tunnels.push(connection),
                    }
                }
                Output::Ping { connection } => self.fleet.pong(connection, self.now),
                _ => {}
            }
        }
        self.judge.step(&self.fleet, NO_WINDOW);
    }

    /// Lets `b` and `c` say how they are for some seconds.
    fn say(&mut self, seconds: u32, b: (u64, u64), c: (u64, u64)) {
        for _ in 0..seconds * 20 {
            self.sequence += 1;
            for (region, connection) in self.controls.clone() {
                let (rate, p99) = if region == "b" { b } else { c };
                let served = Summary {
                    window: Duration::from_secs(2),
                    requests: 2 * rate,
                    points: [Duration::from_millis(p99); 6],
                    ..Summary::default()
                };
                let prefix = Prefix::of(&region.parse().unwrap());
                let digest = Digest::new(&served, 0, Some(Duration::ZERO));
                let record = wire::Record {
                    gateway: GatewayId::new(prefix, 1).0,
                    sequence: self.sequence,
                    quantities: digest.as_bytes().to_vec(),
                    ..wire::Record::default()
                };
                let update = wire::Update {
                    records: vec![record],
                    gone: Vec::new(),
                };
                let update = update.encode_to_vec();
                let mut out = Vec::new();
                self.fleet.received(connection, &update, self.now, &mut out);
            }
            self.tick();
        }
    }

    fn has_left(&self) -> bool {
        self.judge.state(B, 0) == State::Left
    }
}

const CAPACITY: &str = "capacity 1000 rps";

#[test]
fn a_slow_region_leaves_while_the_others_have_room_for_what_it_serves() {
    for (rate_of_c, leaves) in [(100, true), (900, true), (1_600, false)] {
        let mut judged = Judged::new([CAPACITY; 3]);
        judged.say(4, (600, 900), (rate_of_c, 20));
        assert_eq!(judged.has_left(), leaves, "{rate_of_c}");
    }
}

#[test]
fn a_region_that_declares_no_capacity_has_room() {
    let mut judged = Judged::new([CAPACITY, CAPACITY, ""]);
    judged.say(4, (5_000, 900), (5_000, 20));
    assert!(judged.has_left());
}

#[test]
fn the_worse_of_what_is_said_and_seen_counts() {
    let mut judged = Judged::new([""; 3]);
    let tunnel = judged.tunnels[0];
    for _ in 0..4 {
        for _ in 0..10 {
            let time = Duration::from_millis(700);
            let now = judged.now;
            judged.fleet.handed(tunnel, Outcome::Served, time, now);
        }
        judged.say(1, (100, 20), (100, 20));
    }
    assert!(judged.has_left());
}

#[test]
fn requests_lost_with_a_tunnel_count_unless_the_region_could_not_be_reached() {
    for (lost, leaves) in [(1, true), (2, false)] {
        let mut judged = Judged::new([""; 3]);
        judged.say(3, (100, 20), (100, 20));
        let tunnels: Vec<_> = judged.tunnels[..lost].to_vec();
        let mut out = Vec::new();
        for tunnel in tunnels {
            judged.fleet.closed(tunnel, judged.now, &mut out);
            judged.fleet.lost(tunnel, 20, judged.now);
        }
        judged.judge.step(&judged.fleet, NO_WINDOW);
        let unreachable = judged.judge.unreachable().has(B);
        assert_eq!(unreachable, lost == 2);
        judged.say(6, (100, 20), (100, 20));
        assert_eq!(judged.has_left(), leaves);
    }
}

#[test]
fn a_region_that_is_no_peer_is_unreachable_and_a_drained_one_leaves_another() {
    let mut judged = Judged::new([""; 3]);
    judged.say(1, (100, 20), (100, 20));
    let [a, b] = ["a", "b"].map(|name| name.parse().unwrap());
    assert!(judged.judge.another_is_well(&a));
    let mut out = Vec::new();
    for region in ["b", "c"] {
        let region = region.parse().unwrap();
        judged.fleet.set_addresses(&region, &[], &mut out);
    }
    judged.tick();
    assert_eq!(judged.judge.unreachable(), RegionMask(0b110));
    assert!(!judged.judge.another_is_well(&a));
    assert!(judged.judge.another_is_well(&b));
}
