//! What a fleet makes of what one peer sends.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use prost::Message;
use tidegate_model::RegionId;
use tidegate_traffic::health::{Outcome, Summary};

use super::*;
use crate::gateway_id::Prefix;
use crate::wire::Update;

const TICK: Duration = Duration::from_millis(50);

/// A fleet that has opened control connections to two gateways of region `b` and to a sibling.
struct Heard {
    fleet: Fleet,
    now: Duration,
    /// Two of region `b`, one of this gateway's own region `a`.
    connections: Vec<ConnectionId>,
}

fn id(region: &str, random: u64) -> GatewayId {
    GatewayId::new(Prefix::of(&region.parse().unwrap()), random)
}

fn record(gateway: GatewayId, sequence: u32) -> wire::Record {
    wire::Record {
        gateway: gateway.0,
        sequence,
        quantities: Digest::default().as_bytes().to_vec(),
        conditions: 1,
        ..wire::Record::default()
    }
}

impl Heard {
    fn new() -> Self {
        let identity = Identity {
            region: "a".parse().unwrap(),
            random: 1,
        };
        let mut heard = Self {
            fleet: Fleet::new(identity),
            now: Duration::from_secs(100),
            connections: Vec::new(),
        };
        let address = |last: u16| SocketAddr::from(([10, 0, 0, 1], last));
        let (b, a) = ("b".parse().unwrap(), "a".parse().unwrap());
        let mut out = Vec::new();
        heard
            .fleet
            .set_addresses(&b, &[address(1), address(2)], &mut out);
        heard.fleet.set_addresses(&a, &[address(3)], &mut out);
        let out = heard.tick();
        let mut dialled: Vec<_> = out.iter().filter_map(Self::control).collect();
        dialled.sort_by_key(|(region, _)| std::cmp::Reverse(region.clone()));
        for (_, connection) in dialled {
            heard.fleet.opened(connection, heard.now);
            heard.connections.push(connection);
        }
        heard
    }

    fn control(output: &Output) -> Option<(String, ConnectionId)> {
        match output {
            Output::Dial {
                connection,
                region,
                purpose: Purpose::Control,
                ..
            } => Some((region.to_string(), *connection)),
            _ => None,
        }
    }

    fn tick(&mut self) -> Vec<Output> {
        self.now += TICK;
        let mut out = Vec::new();
        let (own, opinion) = (Own::default(), Opinion::default());
        self.fleet.tick(&own, &opinion, self.now, &mut out);
        for output in &out {
            if let Output::Ping { connection } = output {
                self.fleet.pong(*connection, self.now);
            }
        }
        out
    }

    fn receive(&mut self, from: usize, update: &[u8]) -> Vec<Output> {
        let mut out = Vec::new();
        let connection = self.connections[from];
        self.fleet.received(connection, update, self.now, &mut out);
        out
    }

    fn say(&mut self, from: usize, records: &[wire::Record]) -> Vec<Output> {
        let update = Update {
            records: records.to_vec(),
            gone: Vec::new(),
        };
        self.receive(from, &update.encode_to_vec())
    }

    fn gone(&mut self, from: usize, id: GatewayId) {
        let update = Update {
            records: Vec::new(),
            gone: vec![id.0],
        };
        self.receive(from, &update.encode_to_vec());
    }

    /// Returns the gateways of all regions and their sequences.
    fn known(&self) -> Vec<(GatewayId, u32)> {
        let regions = self.fleet.regions().iter();
        let gateways = regions.flat_map(FleetRegion::gateways);
        gateways
            .map(|(id, gateway)| (id, gateway.record.sequence))
            .collect()
    }

    fn dropped(&self) -> Vec<(Dropped, u64)> {
        let counts = Dropped::ALL.map(|reason| (reason, self.fleet.dropped().get(reason)));
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

#[test]
fn a_region_does_not_speak_for_another() {
    let mut heard = Heard::new();
    heard.say(0, &[record(id("c", 7), 1), record(id("a", 7), 1)]);
    assert_eq!(heard.known(), []);
    assert_eq!(heard.dropped(), [(Dropped::FleetRegion, 2)]);
}

#[test]
fn a_sibling_speaks_for_itself_only_and_no_peer_for_this_gateway() {
    let mut heard = Heard::new();
    let own = heard.fleet.id();
    let (first, other) = (id("a", 7), id("a", 8));
    heard.say(2, &[record(first, 1), record(other, 1), record(own, 99)]);
    assert_eq!(heard.known(), [(first, 1)]);
    assert_eq!(heard.dropped(), [(Dropped::FleetRegion, 2)]);
}

#[test]
fn a_gateway_that_hears_itself_closes_the_connection_and_does_not_dial_again() {
    let mut heard = Heard::new();
    let own = heard.fleet.id();
    let connection = heard.connections[2];
    let out = heard.say(2, &[record(own, 1)]);
    assert_eq!(out, [Output::Close { connection }]);
    for _ in 0..200 {
        let dialled = heard.tick();
        let dialled: Vec<_> = dialled.iter().filter_map(Heard::control).collect();
        assert!(dialled.iter().all(|(region, _)| region != "a"));
    }
}

#[test]
fn a_sequence_too_far_ahead_leaves_no_trace() {
    let mut heard = Heard::new();
    let of = id("b", 7);
    heard.say(0, &[record(of, 5)]);
    heard.say(
        0,
        &[record(of, 10_006), record(of, u32::MAX), record(of, 0)],
    );
    assert_eq!(heard.known(), [(of, 5)]);
    assert_eq!(heard.dropped(), [(Dropped::Sequence, 3)]);
    heard.now += Duration::from_secs(2);
    heard.say(0, &[record(of, 10_005 + 2 * 20)]);
    assert_eq!(heard.known(), [(of, 10_045)]);
}

#[test]
fn what_is_outside_its_range_or_does_not_parse_is_dropped() {
    let mut heard = Heard::new();
    let mut saturated = record(id("b", 1), 1);
    saturated.quantities[10] = 101;
    let mut conditions = record(id("b", 2), 1);
    conditions.conditions = 256;
    let mut short = record(id("b", 3), 1);
    short.quantities.pop();
    heard.say(0, &[saturated, conditions, short]);
    heard.receive(0, b"\x0a\xff\xff");
    heard.receive(0, &vec![0; UPDATE_BYTES_MAX + 1]);
    assert_eq!(heard.known(), []);
    assert_eq!(
        heard.dropped(),
        [(Dropped::Range, 3), (Dropped::Malformed, 2)]
    );
}

#[test]
fn later_versions_are_understood() {
    let mut heard = Heard::new();
    let mut later = record(id("b", 1), 1);
    later.quantities.extend([9; 20]);
    later.conditions = 0b1111_1001;
    let mut bytes = later.encode_to_vec();
    bytes.extend([0xfa, 0x01, 0x03, 1, 2, 3]);
    let mut update = vec![0x0a, bytes.len() as u8];
    update.extend(bytes);
    update.extend([0x28, 0x01]);
    heard.receive(0, &update);
    assert_eq!(heard.known(), [(id("b", 1), 1)]);
    assert_eq!(heard.dropped(), []);
}

#[test]
fn a_region_has_a_node_of_the_database_once_a_gateway_says_so() {
    let mut heard = Heard::new();
    let (a, b): (RegionId, RegionId) = ("a".parse().unwrap(), "b".parse().unwrap());
    heard.say(0, &[record(id("b", 1), 1)]);
    assert!(!heard.fleet.has_database(&a) && !heard.fleet.has_database(&b));
    let mut has_one = record(id("b", 1), 2);
    has_one.conditions |= 8;
    heard.say(0, &[has_one]);
    assert!(!heard.fleet.has_database(&a) && heard.fleet.has_database(&b));
    let own = Own {
        has_database: true,
        ..Own::default()
    };
    let mut out = Vec::new();
    heard
        .fleet
        .tick(&own, &Opinion::default(), heard.now, &mut out);
    assert!(heard.fleet.has_database(&a));
}

#[test]
fn a_65th_gateway_of_a_region_is_one_too_many() {
    let mut heard = Heard::new();
    let all: Vec<_> = (0..70).map(|at| record(id("b", at), 1)).collect();
    heard.say(0, &all);
    assert_eq!(heard.known().len(), 64);
    assert_eq!(heard.dropped(), [(Dropped::Flood, 6)]);
    let many: Vec<_> = (0..1_000).map(|_| record(id("b", 0), 1)).collect();
    heard.say(0, &many);
    assert_eq!(heard.dropped(), [(Dropped::Flood, 6 + 1_000 - 128)]);
}

#[test]
fn a_flood_of_updates_is_not_read() {
    let mut heard = Heard::new();
    for sequence in 1..=1_000 {
        heard.say(0, &[record(id("b", 1), sequence)]);
    }
    let (_, sequence) = heard.known()[0];
    assert!(sequence <= 100, "{sequence}");
    assert_eq!(
        heard.dropped(),
        [(Dropped::Flood, 1_000 - u64::from(sequence))]
    );
}

#[test]
fn a_gateway_is_gone_when_no_stream_tells_of_it_any_more() {
    let mut heard = Heard::new();
    let (first, second, third) = (id("b", 1), id("b", 2), id("b", 3));
    heard.say(0, &[record(first, 1), record(third, 4)]);
    heard.say(1, &[record(second, 1), record(third, 3)]);
    heard.gone(0, third);
    heard.gone(1, first);
    assert_eq!(heard.known(), [(first, 1), (second, 1), (third, 4)]);
    heard.gone(1, third);
    assert_eq!(heard.known(), [(first, 1), (second, 1)]);
}

#[test]
fn a_gateway_that_leaves_is_not_counted_with_those_that_stay() {
    let mut heard = Heard::new();
    let mut leaves = record(id("b", 1), 2);
    leaves.conditions |= 2;
    heard.say(0, &[record(id("b", 1), 1), record(id("b", 2), 1)]);
    assert_eq!(heard.fleet.regions()[1].staying(), 2);
    heard.say(0, &[leaves]);
    assert_eq!(heard.known().len(), 2);
    assert_eq!(heard.fleet.regions()[1].staying(), 1);
}

#[test]
fn what_a_silent_stream_told_of_is_forgotten_after_three_seconds() {
    let mut heard = Heard::new();
    heard.say(0, &[record(id("b", 1), 1), record(id("b", 2), 1)]);
    heard.say(1, &[record(id("b", 3), 1)]);
    for second in 2..6 {
        for _ in 0..20 {
            heard.tick();
        }
        heard.say(1, &[record(id("b", 3), second)]);
    }
    assert_eq!(heard.known(), [(id("b", 3), 5)]);
}

#[test]
fn a_region_watches_no_more_often_than_twice_for_each_of_its_gateways() {
    let mut heard = Heard::new();
    let (b, unknown) = ("b".parse().unwrap(), "x".parse().unwrap());
    let mut out = Vec::new();
    let mut watch = |number, region| {
        let watcher = WatcherId(number);
        heard.fleet.watch(watcher, region, heard.now, &mut out)
    };
    assert!((0..128).all(|number| watch(number, &b)));
    assert!(!watch(128, &b));
    assert!(!watch(129, &unknown));
}

fn records() -> impl Strategy<Value = Record> {
    (1u32..8, 0u8..3, 0u32..3).prop_map(|(sequence, saturation, revision)| {
        let digest = Digest::new(&Summary::default(), saturation, None);
        let mut sent = record(id("b", 1), sequence);
        sent.quantities = digest.as_bytes().to_vec();
        sent.revision = revision;
        Record::parse(&sent).unwrap().1
    })
}

proptest! {
    #[test]
    fn the_merge_is_a_join(a in records(), b in records(), c in records()) {
        prop_assert_eq!(a.join(b), b.join(a));
        prop_assert_eq!(a.join(b).join(c), a.join(b.join(c)));
        prop_assert_eq!(a.join(a), a);
        prop_assert!(a.join(b) >= a && a.join(b) >= b);
    }

    #[test]
    fn order_and_repetition_do_not_matter(
        said in prop::collection::vec((0u64..4, 1u32..9_000, 0u32..4), 1..40),
        order in prop::collection::vec((0usize..40, 0usize..2), 60),
    ) {
        let sent = |(of, sequence, revision): &(u64, u32, u32)| {
            let mut sent = record(id("b", *of), *sequence);
            sent.revision = *revision;
            sent
        };
        let mut orderly = Heard::new();
        for said in &said {
            orderly.say(0, &[sent(said)]);
        }
        let mut disorderly = Heard::new();
        for (at, from) in order {
            disorderly.now += Duration::from_millis(20);
            disorderly.say(from, &[sent(&said[at % said.len()])]);
        }
        for said in said.iter().rev() {
            disorderly.say(1, &[sent(said)]);
        }
        let of = |heard: &Heard| -> Vec<_> {
            let gateways = heard.fleet.regions()[1].gateways();
            gateways.map(|(id, gateway)| (id, gateway.record)).collect()
        };
        prop_assert_eq!(of(&orderly), of(&disorderly));
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400), from in 0usize..3) {
        let mut heard = Heard::new();
        heard.receive(from, &bytes);
        prop_assert!(heard.known().len() <= 64);
    }

    #[test]
    fn damaged_updates_are_survived_and_speak_for_no_other_region(
        count in 1u64..8,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut heard = Heard::new();
        let records: Vec<_> = (0..count).map(|at| record(id("b", at), 3)).collect();
        let update = Update { records, gone: vec![id("b", 0).0] };
        let mut bytes = update.encode_to_vec();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        for length in [bytes.len(), cut.index(bytes.len())] {
            heard.receive(0, &bytes[..length]);
            heard.tick();
        }
        let prefix = Prefix::of(&"b".parse().unwrap());
        prop_assert!(heard.known().iter().all(|(id, _)| prefix.begins(*id)));
    }
}

/// The messages in Rust are those of the `.proto`: every field with its number and its wire type.
#[test]
fn records_are_written_as_the_proto_says() {
    let proto = include_str!("proto/tidegate/fleet/v1/health.proto");
    let fields = |message: &str| -> Vec<(u32, u8)> {
        let body = proto
            .split(&format!("message {message} {{"))
            .nth(1)
            .unwrap();
        let body = body.split('}').next().unwrap().lines();
        let fields = body.filter(|line| !line.trim_start().starts_with("//"));
        let fields = fields.flat_map(|line| line.split_inclusive(';'));
        let fields = fields.filter_map(|field| {
            let (declared, number) = field.trim().trim_end_matches(';').split_once(" = ")?;
            let wire_type = match declared.rsplit_once(' ')?.0 {
                "fixed64" => 1,
                "repeated Record" | "repeated fixed64" | "bytes" => 2,
                _ => 0,
            };
            Some((number.parse().unwrap(), wire_type))
        });
        fields.collect()
    };
    let full = wire::Record {
        revision: 1,
        drain_version: 1,
        drain_seconds: 1,
        ..record(id("b", 1), 1)
    };
    assert_eq!(keys(&full.encode_to_vec()), fields("Record"));
    let update = Update {
        records: vec![full],
        gone: vec![1],
    };
    assert_eq!(keys(&update.encode_to_vec()), fields("Update"));
    let drain = DrainRequest {
        seconds: 1,
        force: true,
    };
    assert_eq!(keys(&drain.encode_to_vec()), fields("DrainRequest"));
}

/// Returns the number and the wire type of each field of a message whose lengths take one byte.
fn keys(mut bytes: &[u8]) -> Vec<(u32, u8)> {
    let mut keys = Vec::new();
    while let [key, rest @ ..] = bytes {
        keys.push((u32::from(key >> 3), key & 7));
        let skipped = match key & 7 {
            1 => 8,
            2 => 1 + usize::from(rest[0]),
            _ => 1,
        };
        bytes = &rest[skipped..];
    }
    keys
}

/// Opens the tunnels that are dialled, and returns them.
fn open_tunnels(heard: &mut Heard, out: &[Output]) -> Vec<ConnectionId> {
    let tunnel = |it: &Output| match it {
        Output::Dial {
            connection,
            purpose: Purpose::Tunnel,
            ..
        } => Some(*connection),
        _ => None,
    };
    let tunnels: Vec<_> = out.iter().filter_map(tunnel).collect();
    for tunnel in &tunnels {
        heard.fleet.opened(*tunnel, heard.now);
    }
    tunnels
}

/// A gateway with two tunnels to a third region.
fn with_tunnels() -> (Heard, Vec<ConnectionId>) {
    let mut heard = Heard::new();
    let address = SocketAddr::from(([10, 0, 0, 2], 1));
    let mut out = Vec::new();
    let c = "c".parse().unwrap();
    heard.fleet.set_addresses(&c, &[address], &mut out);
    let out = heard.tick();
    let tunnels = open_tunnels(&mut heard, &out);
    assert_eq!(tunnels.len(), 2);
    (heard, tunnels)
}

/// Lets time pass in steps without an answer to any ping; returns what was closed and what was pinged.
fn unanswered(
    heard: &mut Heard,
    steps: u32,
    step: Duration,
    mut at_each: impl FnMut(&mut Heard),
) -> (Vec<ConnectionId>, Vec<ConnectionId>) {
    let (mut closed, mut pinged) = (Vec::new(), Vec::new());
    for _ in 0..steps {
        heard.now += step;
        at_each(heard);
        let mut out = Vec::new();
        let (own, opinion) = (Own::default(), Opinion::default());
        heard.fleet.tick(&own, &opinion, heard.now, &mut out);
        for output in out {
            match output {
                Output::Close { connection } => closed.push(connection),
                Output::Ping { connection } => pinged.push(connection),
                _ => {}
            }
        }
    }
    (closed, pinged)
}

#[test]
fn a_gateway_whose_own_steps_are_late_gives_its_peers_as_much_longer_to_answer() {
    let (mut heard, tunnels) = with_tunnels();
    let silent = |heard: &mut Heard, steps, step| {
        let (closed, _) = unanswered(heard, steps, step, |_| {});
        tunnels.iter().filter(|it| closed.contains(it)).count()
    };
    assert_eq!(silent(&mut heard, 9, Duration::from_millis(200)), 0);
    assert_eq!(silent(&mut heard, 4, Duration::from_millis(200)), 2);
}

#[test]
fn a_ping_without_an_answer_is_sent_again_while_other_bytes_arrive() {
    let (mut heard, tunnels) = with_tunnels();
    let (closed, pinged) = unanswered(&mut heard, 80, TICK, |heard| {
        for tunnel in &tunnels {
            heard.fleet.heard(*tunnel, heard.now);
        }
    });
    let count = |list: &[ConnectionId]| list.iter().filter(|it| tunnels.contains(it)).count();
    assert_eq!((count(&closed), count(&pinged)), (0, 4));
}

#[test]
fn a_retired_connection_is_not_closed_for_its_silence() {
    let (mut heard, tunnels) = with_tunnels();
    let mut out = Vec::new();
    let c = "c".parse().unwrap();
    heard.fleet.set_addresses(&c, &[], &mut out);
    let retired = |it: &&ConnectionId| out.contains(&Output::Retire { connection: **it });
    assert_eq!(tunnels.iter().filter(retired).count(), 2);
    let (closed, _) = unanswered(&mut heard, 200, TICK, |_| {});
    assert!(!tunnels.iter().any(|it| closed.contains(it)));
}

/// Lets half a second pass in which something is thought of the regions; returns what is probed.
fn probed(heard: &mut Heard, opinion: Opinion) -> Vec<Output> {
    let mut probed = Vec::new();
    for _ in 0..10 {
        heard.now += TICK;
        let mut out = Vec::new();
        let own = Own::default();
        heard.fleet.tick(&own, &opinion, heard.now, &mut out);
        for output in out {
            match output {
                Output::Ping { connection } => heard.fleet.pong(connection, heard.now),
                Output::Probe { .. } | Output::ProbeOwn => probed.push(output),
                _ => {}
            }
        }
    }
    probed
}

#[test]
fn only_paths_that_were_answered_quickly_are_probed_and_each_once_at_a_time() {
    let ms = Duration::from_millis;
    for (p99, quick, slow) in [(Some(ms(250)), 249, 250), (None, 999, 1_000)] {
        let mut heard = Heard::new();
        let to_b = heard.connections[0];
        let well = Opinion {
            p99,
            ..Opinion::default()
        };
        let left = Opinion { left: 0b10, ..well };
        assert_eq!(probed(&mut heard, well), []);
        heard.fleet.remember(to_b, "/slow", ms(slow));
        assert!(probed(&mut heard, left).len() > 7, "of its health");
        heard.fleet.remember(to_b, "/quick", ms(quick));
        for _ in 0..2 {
            let probed = probed(&mut heard, left);
            let [Output::Probe { path, .. }] = &probed[..] else {
                panic!("{probed:?}");
            };
            assert_eq!(path.as_deref(), Some("/quick"));
            let answer = (Outcome::Served, ms(quick));
            heard.fleet.probed(to_b, path.as_deref(), answer, heard.now);
        }
    }
}

#[test]
fn a_region_that_lacks_what_no_region_has_is_no_worse_by_its_probes() {
    for (elsewhere, errors) in [(false, 0), (true, 1_000_000)] {
        let mut heard = Heard::new();
        let to_b = heard.connections[0];
        let own = Own {
            reaches_primary: elsewhere,
            ..Own::default()
        };
        for _ in 0..12 {
            heard.now += TICK;
            let mut out = Vec::new();
            let opinion = Opinion::default();
            heard.fleet.tick(&own, &opinion, heard.now, &mut out);
            let answer = (Outcome::NoPrimary, Duration::ZERO);
            heard.fleet.probed(to_b, None, answer, heard.now);
        }
        let seen = heard.fleet.regions()[1].seen();
        assert_eq!(seen.errors, Some(errors));
    }
}

#[test]
fn a_gateway_whose_own_region_has_left_asks_itself() {
    let mut heard = Heard::new();
    let left = Opinion {
        left: 0b1,
        ..Opinion::default()
    };
    let probed_first = probed(&mut heard, left);
    assert!(probed_first.len() > 7, "{probed_first:?}");
    assert!(probed_first.iter().all(|it| *it == Output::ProbeOwn));
    let errors = |heard: &Heard| heard.fleet.regions()[0].quantities().errors;
    assert_eq!(errors(&heard), None);
    for _ in 0..5 {
        let now = heard.now;
        heard.fleet.probed_own(Outcome::Served, Duration::ZERO, now);
    }
    assert_eq!(probed(&mut heard, Opinion::default()), []);
    assert_eq!(errors(&heard), Some(0));
}

#[test]
fn a_bad_health_of_its_own_counts_only_while_nothing_is_served() {
    let served = |requests| Own {
        served: Summary {
            window: Duration::from_secs(2),
            requests,
            ..Summary::default()
        },
        ..Own::default()
    };
    for (requests, errors) in [(100, 0), (0, 1_000_000)] {
        let mut heard = Heard::new();
        for _ in 0..20 {
            heard.now += TICK;
            let (own, opinion) = (served(requests), Opinion::default());
            let mut out = Vec::new();
            heard.fleet.tick(&own, &opinion, heard.now, &mut out);
            let took = Duration::ZERO;
            heard.fleet.probed_own(Outcome::Failed, took, heard.now);
        }
        let seen = heard.fleet.regions()[0].quantities().errors;
        assert_eq!(seen, Some(errors));
    }
}
