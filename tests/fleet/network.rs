//! What lies between gateways: connections that keep order, and ways that lose, delay or swallow.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use tidegate_fleet::{ConnectionId, Purpose, WatcherId};
use tidegate_traffic::health::Outcome;

/// What a lost packet costs: the least time after which TCP sends it again, doubling.
pub(crate) const SENT_AGAIN: Duration = Duration::from_millis(200);
pub(crate) const SENT_AGAIN_MAX: Duration = Duration::from_secs(5);

/// What travels on a connection.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Watch,
    Ping,
    Pong,
    Update(Vec<u8>),
    Probe,
    Answer(Outcome, Duration),
    /// The other side has closed it, or its process is gone.
    End,
}

/// One direction of a connection.
#[derive(Default)]
pub(crate) struct Pipe {
    pub(crate) queue: VecDeque<Message>,
    /// When the last message arrives: none overtakes it.
    pub(crate) arrives: Duration,
    pub(crate) again: Duration,
    /// Whether a message waits to be sent again.
    pub(crate) waits: bool,
}

/// A connection: its first side has dialled.
pub(crate) struct Connection {
    pub(crate) sides: [Side; 2],
    pub(crate) id: ConnectionId,
    pub(crate) purpose: Purpose,
    pub(crate) pipes: [Pipe; 2],
    pub(crate) watcher: Option<WatcherId>,
    /// When the accepting side last read anything.
    pub(crate) heard: Duration,
    /// What `Watch` has cost: Updates, and bytes with HTTP/2's and gRPC's heads.
    pub(crate) updates: u64,
    pub(crate) bytes: u64,
    pub(crate) longest: usize,
}

#[derive(Clone, Copy)]
pub(crate) struct Side {
    pub(crate) gateway: usize,
    pub(crate) open: bool,
}

impl Connection {
    pub(crate) fn new((from, to): (usize, usize), id: ConnectionId, purpose: Purpose) -> Self {
        let side = |gateway| Side {
            gateway,
            open: false,
        };
        Self {
            sides: [side(from), side(to)],
            id,
            purpose,
            pipes: [Pipe::default(), Pipe::default()],
            watcher: None,
            heard: Duration::ZERO,
            updates: 0,
            bytes: 0,
            longest: 0,
        }
    }
}

/// The ways between regions.
pub(crate) struct Ways {
    /// One way, by sending and receiving region.
    pub(crate) delay: Vec<Vec<Duration>>,
    pub(crate) jitter: Duration,
    pub(crate) loss: f64,
    /// Gateways whose packets to others are swallowed, and those others.
    pub(crate) cut: HashSet<(usize, usize)>,
    /// Regions that say nothing more of themselves.
    pub(crate) mute: HashSet<usize>,
    /// Where connecting is refused.
    pub(crate) refused: HashSet<(usize, usize)>,
}

impl Ways {
    pub(crate) fn new(regions: usize, rng: &mut fastrand::Rng) -> Self {
        let mut delay = vec![vec![Duration::from_micros(500); regions]; regions];
        for (from, to) in (0..regions).flat_map(|from| (0..from).map(move |to| (from, to))) {
            let way = Duration::from_millis(rng.u64(10..=110));
            delay[from][to] = way;
            delay[to][from] = way;
        }
        Self {
            delay,
            jitter: Duration::from_millis(1),
            loss: 0.0,
            cut: HashSet::new(),
            mute: HashSet::new(),
            refused: HashSet::new(),
        }
    }
}
