//! Nodes that are dead, frozen, refusing or disconnecting, and what happens to requests.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::{Method, StatusCode};
use nix::sys::signal::Signal;
use tidegate::testkit::{GatewayCommand, GatewayProcess, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::kit::{App, Edge, endpoint, upstream};
use crate::world::{BINARY, DEADLINE, header, problem, told};

/// An address on which nothing listens.
async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// How a server fails after it has read a request.
#[derive(Clone, Copy)]
enum Failing {
    /// It closes the connection.
    Closes,
    /// It does not answer.
    Hangs,
    /// It answers with something that is not HTTP.
    Babbles,
}

/// A server that fails every request after it has read it.
async fn failing(how: Failing) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                let _read = socket.read(&mut buffer).await;
                match how {
                    Failing::Closes => {}
                    Failing::Hangs => std::future::pending().await,
                    Failing::Babbles => drop(socket.write_all(b"220 ready\r\n").await),
                }
            });
        }
    });
    (url, server)
}

async fn edge(nodes: &[&str], more: &str) -> Edge {
    let regions = ["eu-west-1", "us-east-1", "ap-southeast-1"];
    let nodes: Vec<_> = regions.into_iter().zip(nodes.iter().copied()).collect();
    let file = upstream(&nodes, more) + &endpoint("*", "/app/{*rest}", "app");
    Edge::start(&file).await
}

#[tokio::test]
async fn the_node_of_the_own_region_is_asked_first_wherever_it_is_listed() {
    let (near, far) = (
        App::answering(200, "near").await,
        App::answering(200, "far").await,
    );
    let nodes =
        [("us-east-1", &*far.url()), ("eu-west-1", &*near.url())].map(|(r, u)| (r, u.to_owned()));
    let nodes: Vec<_> = nodes
        .iter()
        .map(|(region, url)| (*region, &**url))
        .collect();
    let file = upstream(&nodes, "") + &endpoint("*", "/app/{*rest}", "app");
    let edge = Edge::start(&file).await;
    let response = edge.get("/app/x").await;
    assert_eq!(told(&response, "node-region"), "eu-west-1");
    assert_eq!(told(&response, "reason"), "");
    assert_eq!(response.text().await.unwrap(), "near");
}

#[tokio::test]
async fn a_safe_request_is_answered_by_the_next_node_whatever_the_first_does() {
    let far = App::answering(200, "far").await;
    let mut servers = Vec::new();
    let mut urls = vec![nowhere().await];
    for how in [Failing::Closes, Failing::Babbles] {
        let (url, server) = failing(how).await;
        urls.push(url);
        servers.push(server);
    }
    let refusing = App::answering(503, "not now").await;
    urls.push(refusing.url());
    for url in urls {
        let edge = edge(&[&url, &far.url()], "").await;
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            let response = edge.request(method, "/app/x").send().await.unwrap();
            assert_eq!(response.status(), 200, "{url}");
            assert_eq!(told(&response, "node-region"), "us-east-1");
            assert_eq!(told(&response, "reason"), "retry");
        }
    }
}

#[tokio::test]
async fn a_node_that_hangs_is_overtaken_and_then_left_alone() {
    let (hanging, _server) = failing(Failing::Hangs).await;
    let far = App::answering(200, "far").await;
    let edge = edge(&[&hanging, &far.url()], "").await;
    let response = edge.get("/app/x").await;
    assert_eq!(told(&response, "reason"), "hedge");
    assert_eq!(response.text().await.unwrap(), "far");
    until("the node is left alone", DEADLINE, async || {
        let response = edge.get("/app/x").await;
        assert_eq!(response.status(), 200);
        Ok(told(&response, "reason").is_empty().then_some(()))
    })
    .await
    .unwrap();
    assert!(far.asked().len() < 10, "{}", far.asked().len());
}

#[tokio::test]
async fn an_unsafe_request_is_never_sent_twice() {
    let far = App::answering(200, "far").await;
    for how in [Failing::Closes, Failing::Hangs, Failing::Babbles] {
        let (url, _server) = failing(how).await;
        let edge = edge(&[&url, &far.url()], "timeout = \"500ms\"").await;
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            let request = edge.request(method, "/app/x").body("x");
            let response = request.send().await.unwrap();
            let (kind, says) = match how {
                Failing::Babbles => ("bad-gateway", "may have done what was asked"),
                _ => ("outcome-unknown", "unknown"),
            };
            let detail = problem(response, 502, kind).await;
            assert!(detail.contains(says), "{detail}");
        }
    }
    assert!(far.asked().is_empty());
}

#[tokio::test]
async fn an_unsafe_request_that_was_never_sent_goes_to_the_next_node_with_its_body() {
    let take = |body: String| async move { body };
    let far = App::serve(Router::new().fallback(take)).await;
    let edge = edge(&[&nowhere().await, &far.url()], "").await;
    let response = edge
        .request(Method::POST, "/app/x")
        .body("a body")
        .send()
        .await
        .unwrap();
    assert_eq!(told(&response, "reason"), "retry");
    assert_eq!(response.text().await.unwrap(), "a body");
    assert_eq!(far.asked().len(), 1);
}

#[tokio::test]
async fn an_unsafe_request_gets_the_nodes_own_refusal() {
    let (near, far) = (
        App::answering(503, "not now").await,
        App::answering(200, "far").await,
    );
    let edge = edge(&[&near.url(), &far.url()], "").await;
    let response = edge.request(Method::POST, "/app/x").send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(header(&response, "cache-control"), "no-store, private");
    assert_eq!(response.text().await.unwrap(), "not now");
    assert!(far.asked().is_empty());
}

#[tokio::test]
async fn with_nobody_left_the_client_is_told_to_come_back() {
    let edge_of_none = edge(&[&nowhere().await, &nowhere().await], "").await;
    for method in [Method::GET, Method::POST] {
        let response = edge_of_none.request(method, "/app/x").send().await.unwrap();
        assert_eq!(header(&response, "retry-after"), "1");
        problem(response, 503, "no-node").await;
    }
    let refusing = App::answering(502, "mine").await;
    let edge = edge(&[&nowhere().await, &refusing.url()], "").await;
    let response = edge.get("/app/x").await;
    assert_eq!(
        response.status(),
        502,
        "a refusal is more informative than none"
    );
    assert_eq!(response.text().await.unwrap(), "mine");
}

#[tokio::test]
async fn a_safe_request_that_nobody_answers_in_time_meets_its_deadline() {
    let (hanging, _server) = failing(Failing::Hangs).await;
    let edge = edge(&[&hanging], "timeout = \"500ms\"").await;
    let started = Instant::now();
    let response = edge.get("/app/x").await;
    problem(response, 504, "deadline").await;
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn what_the_client_caused_says_nothing_against_a_node() {
    let (near, far) = (
        App::answering(404, "near").await,
        App::answering(200, "far").await,
    );
    let edge = edge(&[&near.url(), &far.url()], "").await;
    for _ in 0..30 {
        assert_eq!(edge.get("/app/x").await.status(), 404);
    }
    assert!(far.asked().is_empty());
}

#[tokio::test]
async fn a_dead_node_is_found_by_its_checks_and_comes_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = || Router::new().fallback(|| async { "near" });
    let near = App::serve_on(listener, answer());
    let far = App::answering(200, "far").await;
    let check = "check = { path = \"/healthz\", interval = \"100ms\" }";
    let edge = edge(&[&near.url(), &far.url()], check).await;
    assert_eq!(edge.get("/app/x").await.text().await.unwrap(), "near");
    drop(near);
    edge.gateway
        .wait_for_log("a node failed its check")
        .await
        .unwrap();
    until(
        "requests go to the far node at once",
        DEADLINE,
        async || {
            let response = edge.get("/app/x").await;
            assert_eq!(response.status(), 200);
            Ok(told(&response, "reason").is_empty().then_some(()))
        },
    )
    .await
    .unwrap();
    let near = App::serve_on(TcpListener::bind(address).await.unwrap(), answer());
    edge.gateway
        .wait_for_log("a node works again")
        .await
        .unwrap();
    drop(far);
    until("the near node serves again", DEADLINE, async || {
        let response = edge.get("/app/x").await;
        Ok((response.status() == 200).then_some(()))
    })
    .await
    .unwrap();
    assert!(!near.asked().is_empty());
}

#[tokio::test]
async fn with_checks_no_request_finds_out_that_a_node_is_still_frozen() {
    let frozen = Router::new().fallback(std::future::pending::<()>);
    let near = App::serve(frozen).await;
    let far = App::answering(200, "far").await;
    let check = "check = { path = \"/check\", interval = \"100ms\" }";
    let edge = edge(&[&near.url(), &far.url()], check).await;
    let asked = |target: &str| near.asked().iter().filter(|it| it.target == target).count();
    let reason = async || told(&edge.get("/app/x").await, "reason").to_owned();
    until("the node is left alone", DEADLINE, async || {
        Ok(reason().await.is_empty().then_some(()))
    })
    .await
    .unwrap();
    let (requests, checks) = (asked("/app/x"), asked("/check"));
    // Two pauses of its breaker and more.
    until("it is checked repeatedly", DEADLINE, async || {
        assert_eq!(reason().await, "");
        Ok((asked("/check") > checks + 15).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(asked("/app/x"), requests);
}

/// A real process that serves HTTP: another gateway, whose `/health/live` needs no database.
async fn process() -> GatewayProcess {
    GatewayCommand::new(BINARY, "serve")
        .env("REGION", "us-east-1")
        .env("DATABASE_URL", "postgres://app@127.0.0.1:1/app")
        .start()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_frozen_process_fails_no_safe_request_and_serves_again_when_it_thaws() {
    let (near, far) = (process().await, process().await);
    let urls = [near.url("/health"), far.url("/health")];
    let nodes = [("eu-west-1", &*urls[0]), ("us-east-1", &*urls[1])];
    let check = "check = { path = \"/live\", interval = \"200ms\" }";
    let file = upstream(&nodes, check) + &endpoint("GET", "/live", "app");
    let edge = Edge::start(&file).await;
    let region = async || {
        let response = edge.get("/live").await;
        assert_eq!(response.status(), StatusCode::OK);
        told(&response, "node-region").to_owned()
    };
    assert_eq!(region().await, "eu-west-1");
    near.signal(Signal::SIGSTOP);
    let frozen = Instant::now();
    // The signal takes a moment.
    until("the far node serves", DEADLINE, async || {
        Ok((region().await == "us-east-1").then_some(()))
    })
    .await
    .unwrap();
    for _ in 0..100 {
        let started = Instant::now();
        assert_eq!(region().await, "us-east-1");
        assert!(
            started.elapsed() < Duration::from_secs(2),
            "{:?}",
            started.elapsed()
        );
    }
    assert!(
        frozen.elapsed() < Duration::from_secs(20),
        "{:?}",
        frozen.elapsed()
    );
    near.signal(Signal::SIGCONT);
    edge.gateway
        .wait_for_log("a node works again")
        .await
        .unwrap();
    far.signal(Signal::SIGKILL);
    until("the thawed node serves", DEADLINE, async || {
        let response = edge.get("/live").await;
        let near = told(&response, "node-region") == "eu-west-1";
        Ok((response.status() == StatusCode::OK && near).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_reload_swaps_upstreams_and_keeps_what_is_known_of_those_that_stay() {
    let (dead, far) = (nowhere().await, App::answering(200, "far").await);
    let file = upstream(&[("eu-west-1", &dead), ("us-east-1", &far.url())], "");
    let endpoints = endpoint("GET", "/app/{*rest}", "app");
    let edge = Edge::start(&format!("{file}{endpoints}")).await;
    let reason = async || told(&edge.get("/app/x").await, "reason").to_owned();
    until("the dead node is left alone", DEADLINE, async || {
        Ok(reason().await.is_empty().then_some(()))
    })
    .await
    .unwrap();
    let other = App::answering(200, "other").await;
    let more = endpoint("GET", "/other", &other.url());
    edge.reload(&format!("{file}{endpoints}{more}")).await;
    let response = edge.get("/other").await;
    assert_eq!(response.text().await.unwrap(), "other");
    assert_eq!(reason().await, "", "the failure of the node was not kept");
}

#[tokio::test]
async fn a_request_that_is_slow_by_nature_says_nothing_against_a_node_that_answers_others() {
    let slow = |name: &'static str| {
        let slow = move || async move {
            sleep(Duration::from_millis(400)).await;
            name
        };
        Router::new()
            .route("/app/slow", get(slow))
            .fallback(|| async { "quick" })
    };
    let near = App::serve(slow("near")).await;
    // Its slow answers arrive sooner, so that every hedge overtakes.
    let far = App::serve(Router::new().fallback(|| async { "far" })).await;
    let edge = edge(&[&near.url(), &far.url()], "").await;
    let quick = async {
        loop {
            edge.get("/app/quick").await;
            sleep(Duration::from_millis(20)).await;
        }
    };
    let slow = async {
        for _ in 0..10 {
            assert_eq!(told(&edge.get("/app/slow").await, "reason"), "hedge");
        }
    };
    tokio::select! {
        () = quick => {}
        () = slow => {}
    }
    let response = edge.get("/app/quick").await;
    assert_eq!(told(&response, "node-region"), "eu-west-1");
}

#[tokio::test]
async fn without_checks_writes_find_out_that_a_node_is_back() {
    // No other process gets the port meanwhile.
    let unheard = TcpSocket::new_v4().unwrap();
    unheard.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = unheard.local_addr().unwrap();
    let far = App::answering(200, "far").await;
    let edge = edge(&[&format!("http://{address}"), &far.url()], "").await;
    let post = async || {
        let response = edge.request(Method::POST, "/app/x").send().await.unwrap();
        assert_eq!(response.status(), 200);
        (
            told(&response, "reason").to_owned(),
            response.text().await.unwrap(),
        )
    };
    until("the dead node is left alone", DEADLINE, async || {
        Ok(post().await.0.is_empty().then_some(()))
    })
    .await
    .unwrap();
    let near = Router::new().fallback(|| async { "near" });
    let _near = App::serve_on(unheard.listen(64).unwrap(), near);
    until("the near node serves again", DEADLINE, async || {
        Ok((post().await.1 == "near").then_some(()))
    })
    .await
    .unwrap();
}
