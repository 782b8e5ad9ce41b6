//! Answers of another region's gateway that a real one gives only now and then: resets, refusals, overload.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use h2::Reason;
use h2::server::SendResponse;
use http::{HeaderMap, Method, Request, Response};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tidegate::testkit::until;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::kit::{AWAY, FleetScene, REGIONS, named, serving};
use crate::world::{DEADLINE, header, problem};

/// What a peer does with a request.
#[derive(Clone)]
enum Play {
    Reset(Reason),
    Answer(u16, Vec<(&'static str, &'static str)>),
    /// Ends the connection without having taken the request.
    GoAway,
    /// Neither reads the body nor answers.
    Hold,
}

type Script = Arc<dyn Fn(&Request<()>) -> Play + Send + Sync>;

/// A gateway of us-east-1 that does what a test says.
struct Peer {
    task: JoinHandle<()>,
    asked: Arc<AtomicUsize>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peer {
    async fn start(
        scene: &FleetScene,
        script: impl Fn(&Request<()>) -> Play + Send + Sync + 'static,
    ) -> Self {
        let file = scene.file(REGIONS[1]);
        let certificate = CertificateDer::from_pem_file(file.with_extension("crt")).unwrap();
        let key = PrivateKeyDer::from_pem_file(file.with_extension("key")).unwrap();
        let config = rustls::ServerConfig::builder().with_no_client_auth();
        let mut config = config.with_single_cert(vec![certificate], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", scene.ports[1]))
            .await
            .unwrap();
        let script: Script = Arc::new(script);
        let asked = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let served = serve(
                    acceptor.clone(),
                    socket,
                    Arc::clone(&script),
                    counted.clone(),
                );
                connections.spawn(served);
            }
        });
        Self { task, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn serve(acceptor: TlsAcceptor, socket: TcpStream, script: Script, asked: Arc<AtomicUsize>) {
    let Ok(socket) = acceptor.accept(socket).await else {
        return;
    };
    let mut connection = h2::server::handshake(socket).await.unwrap();
    let mut held = Vec::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        match request.uri().path() {
            // A ping.
            "/grpc.health.v1.Health/Check" => serving_status(respond),
            // Says nothing of itself.
            "/tidegate.fleet.v1.Health/Watch" => {
                let _stream = respond.send_response(Response::new(()), false).unwrap();
                tokio::spawn(async move {
                    std::future::pending::<()>().await;
                    drop(respond)
                });
            }
            _ => {
                asked.fetch_add(1, Ordering::Relaxed);
                let (head, body) = request.into_parts();
                match script(&Request::from_parts(head, ())) {
                    Play::Reset(reason) => respond.send_reset(reason),
                    Play::Answer(status, fields) => answer(respond, status, &fields),
                    Play::GoAway => {
                        respond.send_reset(Reason::REFUSED_STREAM);
                        connection.graceful_shutdown();
                    }
                    Play::Hold => held.push((body, respond)),
                }
            }
        }
    }
}

fn serving_status(mut respond: SendResponse<Bytes>) {
    let head = Response::builder().header("content-type", "application/grpc");
    let mut stream = respond
        .send_response(head.body(()).unwrap(), false)
        .unwrap();
    let serving = Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]);
    stream.send_data(serving, false).unwrap();
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
    stream.send_trailers(trailers).unwrap();
}

fn answer(mut respond: SendResponse<Bytes>, status: u16, fields: &[(&str, &str)]) {
    let mut head = Response::builder().status(status);
    for (name, value) in fields {
        head = head.header(*name, *value);
    }
    let mut stream = respond
        .send_response(head.body(()).unwrap(), false)
        .unwrap();
    stream
        .send_data(Bytes::from_static(b"there"), true)
        .unwrap();
}

/// An entry whose only peer follows a script.
async fn scene(
    more: &str,
    script: impl Fn(&Request<()>) -> Play + Send + Sync + 'static,
) -> (FleetScene, Peer) {
    let mut scene = FleetScene::prepared(2, AWAY, more, named).await;
    let peer = Peer::start(&scene, script).await;
    scene.start_one(0).await;
    scene.until_all_are(0, "well").await;
    until("both tunnels are open", DEADLINE, async || {
        let view = scene.view(0).await;
        Ok((view.regions[1].tunnels == 2).then_some(()))
    })
    .await
    .unwrap();
    (scene, peer)
}

impl FleetScene {
    async fn write(&self) -> reqwest::Response {
        let write = self.request(Method::POST, "/app/x").body("x");
        write.send().await.unwrap()
    }
}

/// Whether so many repeats may be paid for since a moment: a fifth of what was handed there, ten a second, and
/// the ten that a new budget begins with.
fn is_within_budget(repeats: usize, handed: usize, since: Instant) -> bool {
    let most = handed as f64 / 5.0 + 10.0 + 10.0 * since.elapsed().as_secs_f64();
    (10.0..=most).contains(&(repeats as f64))
}

#[tokio::test]
async fn a_stream_that_is_refused_goes_to_the_next_region_whatever_its_method() {
    let (scene, peer) = scene("", |_| Play::Reset(Reason::REFUSED_STREAM)).await;
    for response in [scene.get("/app/x").await, scene.write().await] {
        let served = (response.status().as_u16(), serving(&response));
        assert_eq!(served, (200, REGIONS[0]));
    }
    // Each of the two tunnels was tried.
    assert_eq!(peer.asked(), 4);
}

#[tokio::test]
async fn requests_that_a_goaway_leaves_out_go_to_the_next_region() {
    let (scene, _peer) = scene("", |_| Play::GoAway).await;
    for response in [scene.get("/app/x").await, scene.write().await] {
        let served = (response.status().as_u16(), serving(&response));
        assert_eq!(served, (200, REGIONS[0]));
    }
}

#[tokio::test]
async fn reads_that_are_reset_alone_are_repeated_out_of_the_budget_and_writes_are_not() {
    let (scene, peer) = scene("", |_| Play::Reset(Reason::INTERNAL_ERROR)).await;
    let began = Instant::now();
    problem(scene.write().await, 502, "outcome-unknown").await;
    let reads = futures_util::future::join_all((0..100).map(|_| scene.get("/app/x"))).await;
    let served = reads.iter().filter(|it| it.status() == 200).count();
    let refused = reads.iter().filter(|it| it.status() == 503).count();
    assert_eq!(served + refused, 100);
    assert!(is_within_budget(served, 101, began), "{served}");
    assert_eq!(scene.app(0).asked().len(), served);
    assert_eq!(peer.asked(), 101);
}

#[tokio::test]
async fn an_overloaded_region_passes_reads_on_out_of_the_budget_and_answers_writes_itself() {
    let overloaded = vec![
        ("tidegate-unprocessed", "overloaded"),
        ("retry-after", "7"),
        ("consistency-status", "us-east-1"),
    ];
    let (scene, _peer) = scene("", move |_| Play::Answer(503, overloaded.clone())).await;
    let began = Instant::now();
    let write = scene.write().await;
    assert_eq!(
        (write.status().as_u16(), serving(&write)),
        (503, REGIONS[1])
    );
    assert_eq!(header(&write, "retry-after"), "7");
    assert!(write.headers().get("tidegate-unprocessed").is_none());
    let reads = futures_util::future::join_all((0..100).map(|_| scene.get("/app/x"))).await;
    let served = reads.iter().filter(|it| it.status() == 200).count();
    assert!(is_within_budget(served, 101, began), "{served}");
    let others = reads.iter().filter(|it| it.status() == 503);
    assert!(others.clone().all(|it| header(it, "retry-after") == "7"));
    assert_eq!(others.count() + served, 100);
}

#[tokio::test]
async fn an_answer_that_was_stored_there_is_as_old_here_and_kept_for_the_rest_of_its_time() {
    let cached = "[[policy]]\npath = \"/cached/*\"\nconsistency = \"eventual\"\n\
                  cache_control = \"public, max-age=60\"\n\
                  [[endpoint]]\nmethod = \"GET\"\npath = \"/cached/{*rest}\"\nupstream = \"${APP}\"\n\
                  cache = true\n";
    let (scene, peer) = scene(cached, |request| {
        let age = match request.uri().path() {
            "/cached/young" => "50",
            _ => "61",
        };
        let status = "us-east-1; level=eventual; node=upstream; staleness=0.000";
        let control = "public, max-age=60";
        let fields = vec![
            ("cache-control", control),
            ("age", age),
            ("consistency-status", status),
        ];
        Play::Answer(200, fields)
    })
    .await;
    for path in [
        "/cached/young",
        "/cached/young",
        "/cached/old",
        "/cached/old",
    ] {
        let response = scene.get(path).await;
        assert_eq!(response.status(), 200);
        if path == "/cached/young" {
            let age: u32 = header(&response, "age").parse().unwrap();
            assert!((50..60).contains(&age), "{age}");
        }
        assert_eq!(response.text().await.unwrap(), "there");
    }
    assert_eq!(peer.asked(), 3, "what is too old is not kept");
}

#[tokio::test]
async fn a_peer_that_reads_no_request_takes_little_memory() {
    const BODIES: usize = 40;
    const PIECES: usize = 64;
    let more = "[server]\nbody_bytes_max = \"8MiB\"\n";
    let (scene, peer) = scene(more, |request| match *request.method() {
        Method::POST => Play::Hold,
        _ => Play::Answer(200, Vec::new()),
    })
    .await;
    let before = scene.memory(0);
    let taken = Arc::<AtomicUsize>::default();
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..BODIES {
        let taken = Arc::clone(&taken);
        let piece = Bytes::from(vec![b'x'; 64 << 10]);
        let pieces = stream::repeat(piece).take(PIECES).map(move |piece| {
            taken.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(piece)
        });
        let body = reqwest::Body::wrap_stream(pieces);
        clients.spawn(scene.request(Method::POST, "/app/x").body(body).send());
    }
    until("all have been handed on", DEADLINE, async || {
        Ok((peer.asked() == BODIES).then_some(()))
    })
    .await
    .unwrap();
    until("no more is taken from the clients", DEADLINE, async || {
        let so_far = taken.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok((taken.load(Ordering::Relaxed) == so_far).then_some(()))
    })
    .await
    .unwrap();
    let grown = scene.memory(0).saturating_sub(before);
    assert!(
        grown < 16 << 20,
        "{grown} bytes for {BODIES} bodies of 4 MiB"
    );
    assert_eq!(scene.get("/app/x").await.text().await.unwrap(), "there");
}
