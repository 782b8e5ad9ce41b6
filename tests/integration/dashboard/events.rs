//! The page and its events over plain HTTP.

use nix::sys::signal::Signal;
use reqwest::{Method, Response};
use tidegate::http::raise_open_files;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, timeout};

use crate::world::{DEADLINE, World, header, problem};

/// Most bytes of an event, and of all that the page needs.
const FRAME_BYTES_MAX: usize = 8 * 1024;
const PAGE_BYTES_MAX: usize = 300 * 1024;
const VIEWERS_MAX: usize = 64;

const FILE: &str = "[[endpoint]]\nmethod = 'GET'\npath = '/one'\nsql = 'select 1 as one'\n";

impl World {
    async fn see(&self, path: &str) -> Response {
        let request = self
            .client
            .request(Method::GET, self.gateway.admin_url(path));
        request.send().await.unwrap()
    }
}

/// Reads whole events until there are some.
async fn read_events(response: &mut Response, count: usize) -> Vec<String> {
    let mut text = String::new();
    let read = async {
        while text.matches("data: ").count() <= count {
            let chunk = response.chunk().await.unwrap().expect("the stream ended");
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    };
    timeout(DEADLINE, read).await.unwrap();
    let events = text
        .split("\n\n")
        .filter(|event| event.starts_with("data: "));
    events.take(count).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_page_is_complete_small_and_lets_no_other_origin_in() {
    let world = World::alone(FILE).await;
    let mut bytes = 0;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/map.svg", "image/svg+xml"),
    ] {
        let answer = world.see(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(header(&answer, "content-type"), kind);
        let policy = header(&answer, "content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"),
            "{policy}"
        );
        assert!(policy.ends_with("frame-ancestors 'none'"), "{policy}");
        assert_eq!(header(&answer, "referrer-policy"), "no-referrer");
        assert_eq!(header(&answer, "cache-control"), "no-store");
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
        let text = answer.text().await.unwrap();
        assert!(!text.contains("https://"), "{path}");
        bytes += text.len();
    }
    assert!(bytes < PAGE_BYTES_MAX, "{bytes}");
    let page = world.see("/").await.text().await.unwrap();
    assert!(
        page.contains("<title>eu-west-1 · Tidegate</title>"),
        "{page}"
    );
    assert!(
        page.contains("data-node=\"primary\" data-condition=\"fresh\""),
        "{page}"
    );
}

#[tokio::test]
async fn frames_come_four_times_a_second_to_64_viewers_and_the_next_one_gets_503() {
    let world = World::alone(FILE).await;
    let mut viewers = Vec::new();
    for _ in 0..VIEWERS_MAX {
        let viewer = world.see("/admin/events").await;
        assert_eq!(header(&viewer, "content-type"), "text/event-stream");
        viewers.push(viewer);
    }
    let refused = world.see("/admin/events").await;
    assert!(refused.headers().contains_key("retry-after"));
    problem(refused, 503, "overloaded").await;
    let begun = Instant::now();
    let events = read_events(&mut viewers[0], 8).await;
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(1), "{took:?}");
    for event in &events {
        assert!(event.len() + 2 <= FRAME_BYTES_MAX, "{}", event.len());
        assert!(event.starts_with("data: <div id=\"live\""), "{event}");
        assert!(!event.contains('\n'), "{event}");
    }
    // Others are served meanwhile, and a place that is free again is given away.
    assert_eq!(world.see("/readyz").await.status(), 200);
    viewers.clear();
    let mut next = tidegate::testkit::until("a place", DEADLINE, async || {
        let viewer = world.see("/admin/events").await;
        Ok((viewer.status() == 200).then_some(viewer))
    })
    .await
    .unwrap();
    read_events(&mut next, 1).await;
}

/// The memory of the process, in MiB.
async fn memory(world: &World) -> f64 {
    let page = world.metrics().await;
    let value = page
        .lines()
        .find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    value.unwrap().parse::<f64>().unwrap() / f64::from(1 << 20)
}

#[tokio::test]
async fn two_hundred_viewers_take_64_places_and_bounded_memory_and_others_are_served() {
    let world = World::alone(FILE).await;
    let before = memory(&world).await;
    let asking = (0..200).map(|_| {
        let url = world.gateway.admin_url("/admin/events");
        // A connection each, as browsers have.
        async move { crate::world::client().get(url).send().await }
    });
    let answers = futures_util::future::join_all(asking).await;
    let statuses: Vec<_> = answers
        .iter()
        .map(|it| it.as_ref().map(|answer| answer.status().as_u16()))
        .collect();
    let watching = statuses.iter().filter(|it| matches!(it, Ok(200))).count();
    assert_eq!(watching, VIEWERS_MAX, "{statuses:?}");
    // One above the limit of connections would get no answer at all.
    let is_refused = |it: &&Result<u16, _>| matches!(it, Ok(503) | Err(_));
    assert_eq!(
        statuses.iter().filter(is_refused).count(),
        200 - VIEWERS_MAX
    );
    let mut viewers = answers.into_iter().flatten();
    let mut one = viewers.find(|it| it.status() == 200).unwrap();
    read_events(&mut one, 8).await;
    let more = memory(&world).await - before;
    eprintln!("200 viewers: {more:.1} MiB more");
    assert!(more < 24.0, "{more:.1} MiB more");
    assert_eq!(world.see("/livez").await.status(), 200);
}

#[tokio::test]
async fn viewers_with_idle_connections_leave_room_for_probes_and_scrapers_and_those_are_closed_soon()
 {
    raise_open_files(2_000);
    let world = World::alone(FILE).await;
    let look = async |path: &str| {
        let url = world.gateway.admin_url(path);
        crate::world::client().get(url).send().await.unwrap()
    };
    let (mut viewers, mut idle) = (Vec::new(), Vec::new());
    for _ in 0..VIEWERS_MAX {
        let viewer = look("/admin/events").await;
        assert_eq!(viewer.status(), 200);
        viewers.push(viewer);
        // A browser opens up to six connections to one server, and keeps them.
        for _ in 0..5 {
            let mut socket = TcpStream::connect(world.gateway.admin()).await.unwrap();
            let request = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
            socket.write_all(request).await.unwrap();
            let mut status = [0; 12];
            socket.read_exact(&mut status).await.unwrap();
            assert_eq!(status, *b"HTTP/1.1 200");
            idle.push(socket);
        }
    }
    for path in ["/livez", "/metrics", "/admin/topology"] {
        assert_eq!(look(path).await.status(), 200, "{path}");
    }
    problem(look("/admin/events").await, 503, "overloaded").await;
    let mut rest = Vec::new();
    let last = idle.last_mut().unwrap();
    timeout(DEADLINE, last.read_to_end(&mut rest))
        .await
        .expect("an idle connection is closed")
        .unwrap();
    read_events(&mut viewers[0], 1).await;
}

#[tokio::test]
async fn open_streams_do_not_hold_up_the_end() {
    let mut world = World::alone(FILE).await;
    let mut viewer = world.see("/admin/events").await;
    read_events(&mut viewer, 1).await;
    let begun = Instant::now();
    world.gateway.signal(Signal::SIGTERM);
    let ended = timeout(DEADLINE, world.gateway.wait()).await.unwrap();
    assert_eq!(ended.unwrap().code(), Some(0));
    // Far below `drain_timeout`, behind a `drain_delay` of 5 s.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    let rest = async { while let Ok(Some(_)) = viewer.chunk().await {} };
    timeout(DEADLINE, rest).await.unwrap();
}
