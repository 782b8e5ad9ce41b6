//! Tests over real sockets. Paused time does not mix with those, so the limits are short instead.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::routing::{get, post};
use futures_util::stream;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, timeout};

use super::*;

/// Far beyond every limit of these tests: waiting so long means that something hangs.
const HANG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);
/// Shorter than any silence in these tests.
const RESTS_AFTER: Duration = Duration::from_millis(5);
const BIG_BODY: usize = 32 << 20;
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";

struct World {
    address: SocketAddr,
    drain: Drain,
    server: JoinHandle<Drained>,
    /// Lets `/held` answer.
    release: Arc<Notify>,
    /// Signals that `/held` was entered.
    entered: Arc<Notify>,
}

fn limits() -> Limits {
    Limits {
        drain_delay: Duration::ZERO,
        rest_after: RESTS_AFTER,
        ..Limits::default()
    }
}

fn start(limits: Limits) -> World {
    let listener = Listener::bind("test", ([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let (release, entered) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let held = {
        let (release, entered) = (Arc::clone(&release), Arc::clone(&entered));
        move || async move {
            entered.notify_one();
            release.notified().await;
            "held"
        }
    };
    let router = Router::new()
        .route(
            "/",
            get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }),
        )
        .route("/held", get(held))
        .route("/big", get(|| async { Bytes::from(vec![b'x'; BIG_BODY]) }))
        .route("/echo", post(|body: Bytes| async { body }))
        .route("/refuse", post(|| async { StatusCode::PAYLOAD_TOO_LARGE }))
        .route("/early", post(answer_early))
        .route("/unsized", get(|| async { pieces([Ok("hello")]) }))
        .route(
            "/broken",
            get(|| async { pieces([Ok("hello"), Err("it broke")]) }),
        );
    let drain = Drain::new();
    let server = tokio::spawn(serve(listener, router, limits, drain.clone()));
    World {
        address,
        drain,
        server,
        release,
        entered,
    }
}

/// Answers while the body is still read.
async fn answer_early(body: Body) -> &'static str {
    tokio::spawn(body.collect());
    "early"
}

/// An answer of unknown length.
fn pieces<const N: usize>(pieces: [Result<&'static str, &'static str>; N]) -> Body {
    Body::from_stream(stream::iter(pieces))
}

impl World {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// Sends a request and reads its answer, which must arrive and must be short.
async fn exchange(socket: &mut TcpStream, request: &[u8]) -> String {
    socket.write_all(request).await.unwrap();
    read_answer(socket).await
}

async fn read_answer(socket: &mut TcpStream) -> String {
    let mut buffer = vec![0; 4096];
    let read = timeout(HANG, socket.read(&mut buffer))
        .await
        .expect("an answer");
    String::from_utf8_lossy(&buffer[..read.unwrap_or(0)]).into_owned()
}

/// Sends a request and reads to the end; returns how the connection ended, too.
async fn last_exchange(world: &World, request: &str) -> (String, io::Result<()>) {
    let mut socket = world.connect().await;
    socket.write_all(request.as_bytes()).await.unwrap();
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    let ended = loop {
        let read = timeout(HANG, socket.read(&mut buffer)).await;
        match read.expect("the server closes") {
            Ok(0) => break Ok(()),
            Ok(read) => answer.extend_from_slice(&buffer[..read]),
            Err(error) => break Err(error),
        }
    };
    (String::from_utf8_lossy(&answer).into_owned(), ended)
}

/// Waits until the other side closes and returns how long that took.
async fn closed(socket: &mut TcpStream) -> Duration {
    let start = Instant::now();
    let mut sink = Vec::new();
    // A reset also counts as a close.
    let _ = timeout(HANG, socket.read_to_end(&mut sink))
        .await
        .expect("the server closes");
    start.elapsed()
}

#[tokio::test]
async fn a_client_that_sends_all_of_its_body_first_reads_the_early_answer() {
    let world = start(limits());
    let body = vec![b'x'; 8 << 20];
    let length = body.len();
    for framing in [
        format!("content-length: {length}\r\n\r\n"),
        format!("transfer-encoding: chunked\r\n\r\n{length:x}\r\n"),
    ] {
        let mut socket = world.connect().await;
        let head = format!("POST /refuse HTTP/1.1\r\nhost: test\r\n{framing}");
        socket.write_all(head.as_bytes()).await.unwrap();
        timeout(HANG, socket.write_all(&body))
            .await
            .expect("the body is taken")
            .unwrap();
        let answer = read_answer(&mut socket).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        drop(socket);
    }
}

#[tokio::test]
async fn the_rest_of_a_body_that_is_read_after_the_answer_is_not_the_next_head() {
    let world = start(limits());
    for rest in [30_000, 40_000, 400_000] {
        let mut socket = world.connect().await;
        let length = rest + 1;
        let head =
            format!("POST /early HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\nx");
        let answer = exchange(&mut socket, head.as_bytes()).await;
        assert!(answer.ends_with("early"), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        socket.write_all(&vec![b'x'; rest]).await.unwrap();
        let mut more = Vec::new();
        let read = timeout(HANG, socket.read_to_end(&mut more)).await;
        read.expect("the server closes").expect("no reset");
        assert!(more.is_empty(), "{rest}");
    }
}

#[tokio::test]
async fn a_client_that_sends_on_after_a_head_that_is_refused_reads_the_refusal() {
    let world = start(limits());
    let long = format!(
        "POST / HTTP/1.1\r\nhost: test\r\nx: {}\r\n\r\n",
        "x".repeat(40 << 10)
    );
    for (head, status) in [(long.as_str(), "431"), ("P\0ST / HTTP/1.1\r\n\r\n", "400")] {
        let mut socket = world.connect().await;
        socket.write_all(head.as_bytes()).await.unwrap();
        timeout(HANG, socket.write_all(&vec![b'x'; 4 << 20]))
            .await
            .expect("the rest is taken")
            .unwrap();
        let answer = read_answer(&mut socket).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{status}: {answer}"
        );
    }
}

#[tokio::test]
async fn a_stream_that_is_answered_early_is_not_reset_while_its_client_sends() {
    let world = start(limits());
    let (client, connection) = h2::client::handshake(world.connect().await).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("http://test/refuse").body(()).unwrap();
    let mut client = client.ready().await.unwrap();
    let (answer, mut stream) = client.send_request(request, false).unwrap();
    let answer = timeout(HANG, answer).await.expect("an answer").unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    // More than any window.
    let mut body = Bytes::from(vec![b'x'; 8 << 20]);
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let capacity = timeout(HANG, poll_fn(|cx| stream.poll_capacity(cx))).await;
        let capacity = capacity.expect("the body is taken");
        let capacity = capacity.expect("an open stream").expect("no reset");
        let piece = body.split_to(capacity.min(body.len()));
        stream.send_data(piece, body.is_empty()).unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_breaks_has_a_head_and_no_end() {
    let world = start(limits());
    let request = "GET /broken HTTP/1.1\r\nhost: test\r\n\r\n";
    let (answer, ended) = last_exchange(&world, request).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n5\r\nhello\r\n"), "{answer}");
    // A reset could take from the client what it has not read.
    ended.expect("no reset");
}

#[tokio::test]
async fn an_answer_that_breaks_looks_like_a_whole_one_to_no_http10_client() {
    let world = start(limits());
    for more in ["", "connection: keep-alive\r\n"] {
        for (path, is_whole) in [("/unsized", true), ("/broken", false)] {
            let request = format!("GET {path} HTTP/1.0\r\n{more}\r\n");
            let (answer, ended) = last_exchange(&world, &request).await;
            assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
            assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
            assert!(answer.contains("connection: close\r\n"), "{answer}");
            assert!(!answer.contains("keep-alive"), "{answer}");
            let ended = ended.map_err(|error| error.kind());
            let expected = match is_whole {
                true => Ok(()),
                false => Err(io::ErrorKind::ConnectionReset),
            };
            assert_eq!(ended, expected, "{path}");
        }
    }
}

#[tokio::test]
async fn an_http10_client_whose_answer_has_a_length_keeps_its_connection() {
    let world = start(limits());
    let mut socket = world.connect().await;
    for _ in 0..2 {
        let request = b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n";
        let answer = exchange(&mut socket, request).await;
        assert!(answer.contains("connection: keep-alive\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn a_connection_stays_open_after_a_body_that_was_read() {
    let world = start(limits());
    let mut socket = world.connect().await;
    let request = b"POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\nhi";
    for _ in 0..2 {
        let answer = exchange(&mut socket, request).await;
        assert!(answer.ends_with("hi"), "{answer}");
        assert!(!answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_sends_a_body_without_end_is_cut_off() {
    let world = start(limits());
    let mut socket = world.connect().await;
    let head = "POST /refuse HTTP/1.1\r\nhost: test\r\ncontent-length: 99999999999\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![b'x'; 1 << 20];
    let sent = async { while socket.write_all(&piece).await.is_ok() {} };
    timeout(HANG, sent).await.expect("the server closes");
}

#[tokio::test]
async fn requests_carry_the_peers_address() {
    let world = start(limits());
    let mut socket = world.connect().await;
    let own = socket.local_addr().unwrap().to_string();
    let answer = exchange(&mut socket, GET).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with(&own),
        "{answer}"
    );
}

#[tokio::test]
async fn a_slow_head_is_closed_while_another_connection_is_served() {
    let world = start(Limits {
        header_timeout: SHORT,
        ..limits()
    });
    let (mut slow, mut good) = (world.connect().await, world.connect().await);
    let drip = async {
        while slow.write_all(b"x").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    };
    let serve_good = async {
        for _ in 0..8 {
            assert!(exchange(&mut good, GET).await.starts_with("HTTP/1.1 200"));
            tokio::time::sleep(SHORT / 4).await;
        }
    };
    timeout(HANG, async { tokio::join!(drip, serve_good) })
        .await
        .expect("the slow one is closed");
}

#[tokio::test]
async fn a_connection_that_sends_nothing_or_half_a_preface_is_closed() {
    let world = start(Limits {
        header_timeout: SHORT,
        ..limits()
    });
    let (mut silent, mut half) = (world.connect().await, world.connect().await);
    half.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    assert!(closed(&mut silent).await < HANG);
    assert!(closed(&mut half).await < HANG);
}

#[tokio::test]
async fn an_http2_connection_that_never_sends_a_request_is_closed() {
    let world = start(Limits {
        header_timeout: SHORT,
        ..limits()
    });
    let mut socket = world.connect().await;
    let empty_settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    socket
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    socket.write_all(&empty_settings).await.unwrap();
    closed(&mut socket).await;
}

#[tokio::test]
async fn an_idle_connection_outlives_the_header_timeout_but_not_the_idle_timeout() {
    let idle_timeout = SHORT * 5;
    let world = start(Limits {
        header_timeout: SHORT,
        idle_timeout,
        ..limits()
    });
    let mut socket = world.connect().await;
    exchange(&mut socket, GET).await;
    tokio::time::sleep(SHORT * 2).await;
    assert!(exchange(&mut socket, GET).await.starts_with("HTTP/1.1 200"));
    let lasted = closed(&mut socket).await;
    assert!(lasted > SHORT * 4, "closed after {lasted:?}");
}

#[tokio::test]
async fn a_rest_loses_nothing_that_has_come() {
    let world = start(limits());
    let mut socket = world.connect().await;
    let post = b"POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 6\r\n\r\n12\r\n\r\n";
    let all = [GET, post, GET, GET].concat();
    for step in [all.len(), GET.len(), GET.len() + 2, 2, 1] {
        for piece in all.chunks(step) {
            socket.write_all(piece).await.unwrap();
            tokio::time::sleep(RESTS_AFTER * 2).await;
        }
        let mut answers = String::new();
        while answers.matches("HTTP/1.1 200").count() < 4 {
            let more = read_answer(&mut socket).await;
            assert_ne!(more, "", "{step}: {answers}");
            answers.push_str(&more);
        }
    }
}

#[tokio::test]
async fn a_later_head_that_stalls_is_closed_before_the_idle_timeout() {
    let world = start(Limits {
        header_timeout: SHORT,
        ..limits()
    });
    let mut socket = world.connect().await;
    exchange(&mut socket, GET).await;
    socket.write_all(&GET[..10]).await.unwrap();
    assert!(closed(&mut socket).await < HANG);
}

#[tokio::test]
async fn a_request_in_flight_may_outlast_the_connection_timeouts() {
    let world = start(Limits {
        header_timeout: SHORT,
        idle_timeout: SHORT,
        ..limits()
    });
    let mut socket = world.connect().await;
    socket
        .write_all(b"GET /held HTTP/1.1\r\nhost: test\r\n\r\n")
        .await
        .unwrap();
    world.entered.notified().await;
    tokio::time::sleep(SHORT * 3).await;
    world.release.notify_one();
    assert!(read_answer(&mut socket).await.ends_with("held"));
}

#[tokio::test]
async fn a_giant_head_is_answered_431() {
    let world = start(limits());
    for size in [limits().header_bytes_max, 4 << 20] {
        let mut socket = world.connect().await;
        let head = format!(
            "GET / HTTP/1.1\r\nhost: test\r\nx: {}\r\n\r\n",
            "y".repeat(size)
        );
        // The answer may arrive, and the connection may be closed, before the whole request is
        // sent.
        let (mut read, mut write) = socket.split();
        let send = async { drop(write.write_all(head.as_bytes()).await) };
        let mut buffer = [0; 12];
        let receive = async { read.read_exact(&mut buffer).await.map(drop) };
        let (_, received) = tokio::join!(send, receive);
        received.unwrap();
        assert_eq!(&buffer, b"HTTP/1.1 431", "{size}");
    }
}

#[tokio::test]
async fn too_many_fields_are_answered_431() {
    let world = start(limits());
    let mut socket = world.connect().await;
    let request = format!(
        "GET / HTTP/1.1\r\nhost: test\r\n{}\r\n",
        "x: y\r\n".repeat(200)
    );
    assert!(
        exchange(&mut socket, request.as_bytes())
            .await
            .starts_with("HTTP/1.1 431")
    );
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_the_others_are_served() {
    let world = start(Limits {
        connections_max: 2,
        ..limits()
    });
    let (mut first, mut second) = (world.connect().await, world.connect().await);
    exchange(&mut first, GET).await;
    exchange(&mut second, GET).await;
    closed(&mut world.connect().await).await;
    assert!(exchange(&mut first, GET).await.starts_with("HTTP/1.1 200"));

    drop(second);
    let admitted = async {
        loop {
            let mut next = world.connect().await;
            let _ = next.write_all(GET).await;
            if read_answer(&mut next).await.starts_with("HTTP/1.1 200") {
                return;
            }
        }
    };
    timeout(HANG, admitted)
        .await
        .expect("the freed place is used again");
}

#[tokio::test]
async fn http2_works_without_an_upgrade() {
    let world = start(limits());
    let client = http2_client();
    let url = format!("http://{}/echo", world.address);
    let answer = client.post(&url).body("hello").send().await.unwrap();
    assert_eq!(answer.version(), http::Version::HTTP_2);
    assert_eq!(answer.text().await.unwrap(), "hello");
}

#[tokio::test]
async fn an_idle_http2_connection_is_closed_and_the_client_may_come_back() {
    let world = start(Limits {
        idle_timeout: SHORT,
        connections_max: 1,
        ..limits()
    });
    let client = http2_client();
    let url = format!("http://{}/echo", world.address);
    client.post(&url).body("first").send().await.unwrap();
    let mut next = world.connect().await;
    let freed = async { while !exchange_or_reconnect(&mut next, &world).await {} };
    timeout(HANG, freed)
        .await
        .expect("the idle connection frees its place");
}

async fn exchange_or_reconnect(socket: &mut TcpStream, world: &World) -> bool {
    let _ = socket.write_all(GET).await;
    let served = read_answer(socket).await.starts_with("HTTP/1.1 200");
    *socket = world.connect().await;
    served
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let world = start(Limits {
        write_timeout: SHORT,
        connections_max: 1,
        ..limits()
    });
    let mut stalled = world.connect().await;
    stalled
        .write_all(b"GET /big HTTP/1.1\r\nhost: test\r\n\r\n")
        .await
        .unwrap();
    let mut next = world.connect().await;
    let freed = async { while !exchange_or_reconnect(&mut next, &world).await {} };
    timeout(HANG, freed)
        .await
        .expect("the stalled connection frees its place");
}

#[tokio::test]
async fn a_client_that_does_not_read_what_the_system_holds_is_cut_off() {
    let world = start(Limits {
        write_timeout: SHORT,
        connections_max: 1,
        ..limits()
    });
    let stalled = TcpSocket::new_v4().unwrap();
    stalled.set_recv_buffer_size(4096).unwrap();
    let mut stalled = stalled.connect(world.address).await.unwrap();
    let mut request =
        "POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 65536\r\n\r\n".to_owned();
    request.push_str(&"x".repeat(64 << 10));
    stalled.write_all(request.as_bytes()).await.unwrap();
    let mut next = world.connect().await;
    let freed = async { while !exchange_or_reconnect(&mut next, &world).await {} };
    timeout(HANG, freed)
        .await
        .expect("the stalled connection frees its place");
}

#[tokio::test]
async fn a_stream_whose_window_stays_shut_is_reset_and_its_connection_lives_on() {
    let world = start(Limits {
        write_timeout: SHORT,
        connections_max: 1,
        ..limits()
    });
    let client = http2_client();
    let url = |path| format!("http://{}/{path}", world.address);
    let unread = client.get(url("big")).send().await.unwrap();
    tokio::time::sleep(SHORT * 2).await;
    let echoed = client.post(url("echo")).body("alive").send().await.unwrap();
    assert_eq!(echoed.text().await.unwrap(), "alive");
    assert!(unread.bytes().await.is_err(), "the answer was cut off");
}

#[tokio::test]
async fn a_slow_reader_gets_everything() {
    let world = start(Limits {
        write_timeout: SHORT,
        ..limits()
    });
    let mut socket = world.connect().await;
    socket
        .write_all(b"GET /big HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let (mut buffer, mut total) = (vec![0; 4 << 20], 0);
    loop {
        match timeout(HANG, socket.read(&mut buffer))
            .await
            .unwrap()
            .unwrap()
        {
            0 => break,
            read => total += read,
        }
        tokio::time::sleep(SHORT / 20).await;
    }
    assert!(total > BIG_BODY, "{total}");
}

#[tokio::test]
async fn a_drain_finishes_the_request_in_flight_and_refuses_new_connections() {
    let world = start(limits());
    let mut busy = world.connect().await;
    let mut idle = world.connect().await;
    exchange(&mut idle, GET).await;
    busy.write_all(b"GET /held HTTP/1.1\r\nhost: test\r\n\r\n")
        .await
        .unwrap();
    world.entered.notified().await;

    world.drain.begin();
    closed(&mut idle).await;
    let refused = async { while TcpStream::connect(world.address).await.is_ok() {} };
    timeout(HANG, refused).await.expect("the listener is gone");
    assert!(!world.server.is_finished());

    world.release.notify_one();
    let answer = read_answer(&mut busy).await.to_lowercase();
    assert!(
        answer.contains("connection: close") && answer.ends_with("held"),
        "{answer}"
    );
    let drained = timeout(HANG, world.server)
        .await
        .expect("the server ends")
        .unwrap();
    assert_eq!(drained, Drained { cut: 0 });
}

#[tokio::test]
async fn during_the_drain_delay_new_connections_are_served_and_told_to_close() {
    let world = start(Limits {
        drain_delay: HANG,
        ..limits()
    });
    world.drain.begin();
    let mut socket = world.connect().await;
    let answer = exchange(&mut socket, GET).await.to_lowercase();
    assert!(
        answer.starts_with("http/1.1 200") && answer.contains("connection: close"),
        "{answer}"
    );
    closed(&mut socket).await;
}

#[tokio::test]
async fn a_request_that_outlasts_the_drain_timeout_is_cut_off() {
    let world = start(Limits {
        drain_timeout: SHORT,
        ..limits()
    });
    let mut socket = world.connect().await;
    socket
        .write_all(b"GET /held HTTP/1.1\r\nhost: test\r\n\r\n")
        .await
        .unwrap();
    world.entered.notified().await;
    world.drain.begin();
    let drained = timeout(HANG, world.server)
        .await
        .expect("the server ends")
        .unwrap();
    assert_eq!(drained, Drained { cut: 1 });
}

fn http2_client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap()
}
