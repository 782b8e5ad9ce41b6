//! Floods of HTTP/2 frames, over TLS and in cleartext: bounded in memory, and others are served.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, Frame, GET, GOAWAY, HEADERS, PING, POST, PREFACE, PRIORITY,
    RST_STREAM, SETTINGS, Stream, WINDOW_UPDATE, frame, get, read, read_until, request, setting,
};
use super::kit::Secure;
use crate::upstream::kit::{App, Edge, endpoint};
use crate::world::DEADLINE;

const ENHANCE_YOUR_CALM: u8 = 11;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// More than the system keeps for a client that does not read.
const BIG_BODY: usize = 32 << 20;

/// Memory that a flood may take, in KiB: a few times the buffers of one connection. Each flood
/// would take a multiple of this if every frame was kept.
const FLOOD_KIB_MAX: u64 = 16 * 1024;

type Halves = (ReadHalf<Box<dyn Stream>>, WriteHalf<Box<dyn Stream>>);

/// A gateway with and one without TLS, before an application.
struct World {
    secure: Secure,
    clear: Edge,
}

async fn app() -> App {
    let big = || async { Body::from(vec![b'x'; BIG_BODY]) };
    let never = || async {
        sleep(DEADLINE * 10).await;
        "late"
    };
    let router = Router::new()
        .route("/app/big", any(big))
        .route("/app/never", any(never))
        .fallback(|| async { "app" });
    App::serve(router).await
}

impl World {
    async fn start() -> Self {
        let limits = "[server]\nbody_timeout = \"1s\"\n";
        let secure = Secure::before(app().await, limits).await;
        let endpoint = endpoint("*", "/app/{*rest}", &secure.app.url());
        let clear = Edge::start(&format!("{limits}{endpoint}")).await;
        Self { secure, clear }
    }

    fn gateways(&self) -> [(&'static str, &Edge); 2] {
        [("tls", &self.secure.edge), ("cleartext", &self.clear)]
    }

    async fn connect(&self, kind: &str) -> Box<dyn Stream> {
        match kind {
            "tls" => Box::new(
                self.secure
                    .authority
                    .connect(&self.secure.edge, &["h2"])
                    .await,
            ),
            _ => {
                let socket = TcpStream::connect(self.clear.gateway.listen())
                    .await
                    .unwrap();
                socket.set_nodelay(true).unwrap();
                Box::new(socket)
            }
        }
    }

    /// An HTTP/2 connection that has sent its first frame.
    async fn open(&self, kind: &str, settings: &[u8]) -> Halves {
        let (read, mut write) = split(self.connect(kind).await);
        write.write_all(PREFACE).await.unwrap();
        write.write_all(settings).await.unwrap();
        write.flush().await.unwrap();
        (read, write)
    }

    /// Whether others are served: requests on connections of their own, and how long the slowest took.
    async fn serve_others(&self, kind: &str) -> Duration {
        let mut slowest = Duration::ZERO;
        for _ in 0..10 {
            let start = Instant::now();
            let answer = match kind {
                "tls" => self
                    .secure
                    .authority
                    .client()
                    .get(self.secure.url("/app/x")),
                _ => self.clear.client.get(self.clear.gateway.url("/app/x")),
            };
            let answer = answer.send().await.unwrap();
            assert_eq!(answer.text().await.unwrap(), "app");
            slowest = slowest.max(start.elapsed());
        }
        slowest
    }
}

/// Resident memory of a process, in KiB.
fn memory(edge: &Edge) -> u64 {
    let status = format!("/proc/{}/status", edge.gateway.pid().unwrap());
    let status = std::fs::read_to_string(status).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

/// Writes pieces until there are no more or the connection ends; drops what is read, and returns the
/// frame that ended it, if one did.
async fn flood((mut from, mut to): Halves, pieces: impl Iterator<Item = Vec<u8>>) -> Option<Frame> {
    let writing = async {
        for piece in pieces {
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        let _ended = to.flush().await;
    };
    let reading = async { read_until(&mut from, GOAWAY).await };
    tokio::pin!(reading);
    let goaway = tokio::select! {
        goaway = &mut reading => return goaway,
        () = writing => timeout(Duration::from_secs(2), reading).await,
    };
    goaway.ok().flatten()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The connection ends with `ENHANCE_YOUR_CALM`.
    Calm,
    /// Whether it ends does not matter: it costs nothing.
    Any,
}

/// Floods both gateways while others are served.
async fn check(end: End, pieces: impl Fn() -> Box<dyn Iterator<Item = Vec<u8>> + Send>) {
    let world = World::start().await;
    for (kind, edge) in world.gateways() {
        world.serve_others(kind).await;
        let before = memory(edge);
        let connection = world.open(kind, &frame(SETTINGS, 0, 0, &[])).await;
        let flooding = async { flood(connection, pieces()).await };
        let (goaway, slowest) = tokio::join!(flooding, world.serve_others(kind));
        assert!(slowest < Duration::from_secs(2), "{kind}: {slowest:?}");
        let grown = memory(edge).saturating_sub(before);
        assert!(grown < FLOOD_KIB_MAX, "{kind}: {grown} KiB");
        if end == End::Calm {
            let goaway = goaway.unwrap_or_else(|| panic!("{kind}: no GOAWAY"));
            assert_eq!(goaway.payload[7], ENHANCE_YOUR_CALM, "{kind}: {goaway:?}");
        }
        assert_eq!(
            edge.metric("tidegate_requests_in_flight").await,
            0.0,
            "{kind}"
        );
    }
}

/// Client streams, in order.
fn streams(count: u32) -> impl Iterator<Item = u32> + Send {
    (0..count).map(|index| 2 * index + 1)
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    check(End::Calm, || {
        let reset = |stream| frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        Box::new(
            streams(20_000).map(move |stream| [get(stream, "/app/never"), reset(stream)].concat()),
        )
    })
    .await;
}

#[tokio::test]
async fn resets_of_streams_in_progress_end_the_connection() {
    let world = World::start().await;
    for (kind, _) in world.gateways() {
        let (mut from, mut to) = world.open(kind, &frame(SETTINGS, 0, 0, &[])).await;
        let (mut goaway, begun) = (None, Instant::now());
        for stream in streams(2_000) {
            // Answered by a PING: the request has begun when it is reset.
            let opened = [get(stream, "/app/never"), frame(PING, 0, 0, &[0; 8])].concat();
            if to.write_all(&opened).await.is_err() {
                goaway = read_until(&mut from, GOAWAY).await;
                break;
            }
            let _ended = to.flush().await;
            let answered = loop {
                match read(&mut from).await {
                    Some(frame) if frame.kind == PING => break true,
                    Some(frame) if frame.kind == GOAWAY => {
                        goaway = Some(frame);
                        break false;
                    }
                    Some(_) => {}
                    None => break false,
                }
            };
            if !answered {
                assert!(stream > 2 * 999, "{kind}: {stream}");
                break;
            }
            let _ended = to
                .write_all(&frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]))
                .await;
        }
        match goaway {
            Some(goaway) => assert_eq!(goaway.payload[7], ENHANCE_YOUR_CALM),
            // No flood: a busy machine may take longer than ten seconds for each thousand.
            None => assert!(
                begun.elapsed() > Duration::from_secs(20),
                "{kind}: no GOAWAY"
            ),
        }
    }
}

#[tokio::test]
async fn requests_that_make_the_server_reset_end_the_connection() {
    check(End::Calm, || {
        // A window may not grow without end.
        let window = |stream| frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes());
        Box::new(
            streams(20_000).map(move |stream| [get(stream, "/app/never"), window(stream)].concat()),
        )
    })
    .await;
}

#[tokio::test]
async fn field_blocks_without_end_end_the_connection() {
    for size in [0, 1, 1_000, 16_384] {
        check(End::Calm, move || {
            let start = frame(HEADERS, 0, 1, &request(GET, "/app/x"));
            let more = frame(CONTINUATION, 0, 1, &vec![0; size]);
            Box::new(std::iter::once(start).chain(std::iter::repeat_n(more, 20_000)))
        })
        .await;
    }
}

#[tokio::test]
async fn frames_of_control_cost_no_memory() {
    let ping = frame(PING, 0, 0, &[7; 8]);
    let priority = frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1]);
    for one in [frame(SETTINGS, 0, 0, &[]), setting(1, 0), ping, priority] {
        let many = one.repeat(1_000);
        check(End::Any, move || {
            Box::new(std::iter::repeat_n(many.clone(), 300))
        })
        .await;
    }
}

#[tokio::test]
async fn empty_data_costs_no_memory() {
    check(End::Any, || {
        let start = frame(HEADERS, END_HEADERS, 1, &request(POST, "/app/never"));
        let empty = frame(DATA, 0, 1, &[]).repeat(1_000);
        Box::new(std::iter::once(start).chain(std::iter::repeat_n(empty, 300)))
    })
    .await;
}

#[tokio::test]
async fn tiny_data_costs_no_memory() {
    check(End::Any, || {
        let start = frame(HEADERS, END_HEADERS, 1, &request(POST, "/app/never"));
        let tiny = frame(DATA, 0, 1, b"x").repeat(1_000);
        Box::new(std::iter::once(start).chain(std::iter::repeat_n(tiny, 300)))
    })
    .await;
}

#[tokio::test]
async fn a_small_block_of_huge_fields_costs_no_memory() {
    check(End::Any, || {
        // A field of 4,000 bytes in the table of the connection, then a thousand references to it.
        let mut block = request(GET, "/app/x");
        block.extend(b"\x40\x01x\x7f\xa1\x1e");
        block.extend([b'y'; 4_000]);
        block.extend([0xbe; 1_000]);
        let bomb = move |stream| frame(HEADERS, END_HEADERS | 1, stream, &block);
        Box::new(streams(100).map(bomb))
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_takes_nothing_is_reset_and_the_others_go_on() {
    let world = World::start().await;
    for (kind, _) in world.gateways() {
        let (mut from, mut to) = world.open(kind, &setting(INITIAL_WINDOW_SIZE, 0)).await;
        let start = Instant::now();
        for (stream, path) in [(1, "/app/x"), (3, "/app/big"), (5, "/app/x")] {
            to.write_all(&get(stream, path)).await.unwrap();
        }
        let window = frame(WINDOW_UPDATE, 0, 5, &1_000_u32.to_be_bytes());
        to.write_all(&window).await.unwrap();
        to.flush().await.unwrap();
        let mut reset = Vec::new();
        while reset.len() < 2 {
            let frame = timeout(DEADLINE, read(&mut from)).await.unwrap().unwrap();
            match frame.kind {
                RST_STREAM => reset.push(frame.stream),
                DATA => assert_eq!((frame.stream, &*frame.payload), (5, &b"app"[..])),
                _ => {}
            }
        }
        reset.sort_unstable();
        assert_eq!(reset, [1, 3], "{kind}");
        assert!(start.elapsed() >= Duration::from_secs(1), "{kind}");
        assert!(start.elapsed() < Duration::from_secs(5), "{kind}");
        to.write_all(&frame(PING, 0, 0, &[1; 8])).await.unwrap();
        to.flush().await.unwrap();
        read_until(&mut from, PING)
            .await
            .expect("the connection goes on");
    }
}

#[tokio::test]
async fn the_limits_of_a_connection_are_announced_and_one_more_stream_is_refused() {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    const MAX_HEADER_LIST_SIZE: u16 = 6;
    const REFUSED_STREAM: u8 = 7;
    const STREAMS_MAX: u32 = 128;
    let world = World::start().await;
    for (kind, _) in world.gateways() {
        let (mut from, mut to) = world.open(kind, &frame(SETTINGS, 0, 0, &[])).await;
        let settings = read_until(&mut from, SETTINGS).await.unwrap().payload;
        let value = |id: u16| {
            let of_id = |it: &&[u8]| it[..2] == id.to_be_bytes();
            let parameter = settings.chunks(6).find(of_id).unwrap();
            u32::from_be_bytes(parameter[2..].try_into().unwrap())
        };
        assert_eq!(value(MAX_CONCURRENT_STREAMS), STREAMS_MAX, "{kind}");
        assert_eq!(value(MAX_HEADER_LIST_SIZE), 32 * 1024, "{kind}");
        // The client sees the limit first.
        to.write_all(&frame(SETTINGS, 1, 0, &[])).await.unwrap();
        for stream in streams(STREAMS_MAX + 1) {
            to.write_all(&get(stream, "/app/never")).await.unwrap();
        }
        to.flush().await.unwrap();
        let refused = read_until(&mut from, RST_STREAM).await.unwrap();
        assert_eq!(refused.stream, 2 * STREAMS_MAX + 1, "{kind}");
        assert_eq!(refused.payload[3], REFUSED_STREAM, "{kind}");
    }
}

#[tokio::test]
async fn a_stop_says_goaway_and_what_is_under_way_is_answered() {
    let answer = async || {
        sleep(Duration::from_secs(1)).await;
        "late"
    };
    let app = App::serve(Router::new().fallback(any(answer))).await;
    let secure = Secure::before(app, "[server]\ndrain_delay = \"100ms\"\n").await;
    let stream = secure.authority.connect(&secure.edge, &["h2"]).await;
    let (mut from, mut to) = split(stream);
    to.write_all(PREFACE).await.unwrap();
    to.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    to.write_all(&get(1, "/app/slow")).await.unwrap();
    to.flush().await.unwrap();
    while secure.app.asked().is_empty() {
        sleep(Duration::from_millis(5)).await;
    }
    secure.edge.gateway.signal(Signal::SIGTERM);
    read_until(&mut from, GOAWAY).await.expect("a GOAWAY");
    let mut body = Vec::new();
    while let Some(frame) = timeout(DEADLINE, read(&mut from)).await.unwrap() {
        match frame.kind {
            DATA => body.extend(frame.payload),
            PING => {
                to.write_all(&super::frames::frame(PING, 1, 0, &frame.payload))
                    .await
                    .unwrap();
                to.flush().await.unwrap();
            }
            _ => {}
        }
    }
    assert_eq!(body, b"late");
}

/// Waits until one more connection was ended because its client took nothing.
async fn ended(edge: &Edge, before: f64) {
    let start = Instant::now();
    while edge.metric(NOT_TAKEN).await <= before {
        assert!(start.elapsed() < DEADLINE, "the connection is still there");
        sleep(Duration::from_millis(50)).await;
    }
}

const NOT_TAKEN: &str = "tidegate_connections_expired_total{listener=\"public\",reason=\"write\"}";

#[tokio::test]
async fn a_connection_that_takes_nothing_is_ended() {
    let world = World::start().await;
    // What the system keeps for the client, and more than that.
    for (path, requests) in [("/app/x", 50), ("/app/big", 1)] {
        let before = world.clear.metric(NOT_TAKEN).await;
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let address = world.clear.gateway.listen();
        let mut socket = socket.connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let requests = request.repeat(requests);
        socket.write_all(requests.as_bytes()).await.unwrap();
        ended(&world.clear, before).await;
        let mut rest = Vec::new();
        let end = timeout(DEADLINE, socket.read_to_end(&mut rest)).await;
        assert!(end.unwrap().is_err(), "{path}: no reset");
    }
    let edge = &world.secure.edge;
    let before = edge.metric(NOT_TAKEN).await;
    let mut stream = world.secure.authority.connect(edge, &[]).await;
    let request = b"GET /app/big HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    stream.flush().await.unwrap();
    ended(edge, before).await;
    let mut rest = Vec::new();
    let end = timeout(DEADLINE, stream.read_to_end(&mut rest)).await;
    assert!(end.unwrap().is_err(), "no reset");
}
