//! Nodes that return server errors (5xx): the node's fault is left, the application's is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use http::{Method, StatusCode};
use tidegate::testkit::until;

use super::kit::{App, Edge, endpoint, upstream};
use crate::world::{DEADLINE, header, told};

async fn edge(near: &App, far: &App, more: &str) -> Edge {
    let (near, far) = (near.url(), far.url());
    let nodes = [("eu-west-1", &*near), ("us-east-1", &*far)];
    Edge::start(&(upstream(&nodes, more) + &endpoint("*", "/app/{*rest}", "app"))).await
}

/// An application whose `/app/bad` fails wherever it runs.
async fn failing_at_one_path(name: &'static str) -> App {
    let answer = move |request: axum::extract::Request| async move {
        match request.uri().path() {
            "/app/bad" => (StatusCode::INTERNAL_SERVER_ERROR, "no such table"),
            _ => (StatusCode::OK, name),
        }
    };
    App::serve(Router::new().fallback(answer)).await
}

async fn all_nodes_are_trusted(edge: &Edge) -> bool {
    let topology = edge.client.get(edge.gateway.admin_url("/admin/topology"));
    let topology: serde_json::Value = topology.send().await.unwrap().json().await.unwrap();
    let nodes = topology["upstreams"][0]["nodes"].as_array().unwrap();
    nodes.iter().all(|node| node["standing"] == "trusted")
}

#[tokio::test]
async fn a_node_that_fails_every_request_is_left_and_no_safe_request_fails() {
    for check in ["", "check = { path = \"/healthz\", interval = \"100ms\" }"] {
        for status in [500, 501, 507] {
            let near = App::answering(status, "broken").await;
            let far = App::answering(200, "far").await;
            let edge = edge(&near, &far, check).await;
            for request in 0..100 {
                let response = edge.get("/app/x").await;
                assert_eq!(response.status(), 200, "request {request}, {status}");
            }
            // Its check says that it works, so that it is tried again and again.
            assert!(near.asked().len() < 40, "{}", near.asked().len());
        }
    }
}

#[tokio::test]
async fn a_node_that_fails_every_write_is_left_though_no_write_is_repeated() {
    let near = App::answering(500, "broken").await;
    let far = App::answering(200, "far").await;
    let edge = edge(&near, &far, "").await;
    let mut failed = 0;
    for _ in 0..100 {
        let response = edge.request(Method::POST, "/app/x").send().await.unwrap();
        failed += usize::from(response.status() == 500);
    }
    assert_eq!(near.asked().len() + far.asked().len(), 100);
    assert!(failed <= 10, "{failed} of 100 failed");
}

/// An application that fails writes, and does nothing else wrong.
async fn failing_writes(name: &'static str) -> App {
    let answer = move |request: axum::extract::Request| async move {
        match request.method().is_safe() {
            true => (StatusCode::OK, name),
            false => (StatusCode::SERVICE_UNAVAILABLE, "read-only"),
        }
    };
    App::serve(Router::new().fallback(answer)).await
}

#[tokio::test]
async fn writes_leave_a_node_that_fails_them_while_it_answers_reads() {
    let near = failing_writes("near").await;
    let far = App::answering(200, "far").await;
    let edge = edge(&near, &far, "").await;
    let mut failed = 0;
    for _ in 0..100 {
        assert_eq!(edge.get("/app/x").await.status(), 200);
        let response = edge.request(Method::POST, "/app/x").send().await.unwrap();
        failed += usize::from(response.status() == 503);
    }
    assert!(failed <= 10, "{failed} of 100 failed");
    // Reads do not leave it.
    assert!(all_nodes_are_trusted(&edge).await);
}

#[tokio::test]
async fn writes_leave_a_node_that_fails_everything_while_the_application_fails_a_read() {
    let near = App::answering(503, "broken").await;
    let far = failing_at_one_path("far").await;
    let edge = edge(&near, &far, "").await;
    let mut failed = 0;
    for number in 0..100 {
        if number % 10 == 0 {
            assert!(edge.get("/app/bad").await.status().is_server_error());
        }
        let response = edge.request(Method::POST, "/app/x").send().await.unwrap();
        failed += usize::from(response.status() == 503);
    }
    assert!(failed <= 10, "{failed} of 100 failed");
}

#[tokio::test]
async fn an_error_of_the_application_itself_reaches_the_client_and_moves_nothing() {
    let (near, far) = (
        failing_at_one_path("near").await,
        failing_at_one_path("far").await,
    );
    let edge = edge(&near, &far, "").await;
    for method in [Method::GET, Method::POST] {
        for _ in 0..50 {
            let response = edge.request(method.clone(), "/app/bad");
            let response = response.send().await.unwrap();
            assert_eq!(response.status(), 500);
            assert_eq!(header(&response, "cache-control"), "no-store, private");
            assert_eq!(response.text().await.unwrap(), "no such table");
            let well = edge.get("/app/well").await;
            assert_eq!(told(&well, "node-region"), "eu-west-1");
        }
    }
    assert!(all_nodes_are_trusted(&edge).await);
}

#[tokio::test]
async fn an_application_that_fails_everywhere_at_everything_moves_nothing() {
    let (near, far) = (
        App::answering(503, "near").await,
        App::answering(503, "far").await,
    );
    let edge = edge(&near, &far, "").await;
    for method in [Method::GET, Method::POST] {
        let mut elsewhere = 0;
        for _ in 0..50 {
            let response = edge.request(method.clone(), "/app/x").send().await.unwrap();
            assert_eq!(response.status(), 503);
            elsewhere += usize::from(response.text().await.unwrap() == "far");
        }
        assert!(elsewhere <= 1, "{method}: {elsewhere} answers from afar");
    }
    assert!(all_nodes_are_trusted(&edge).await);
}

#[tokio::test]
async fn a_node_that_works_again_is_used_again() {
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    let answer = move || async move {
        match is_broken.load(Ordering::Relaxed) {
            true => (StatusCode::INTERNAL_SERVER_ERROR, "broken"),
            false => (StatusCode::OK, "near"),
        }
    };
    let near = App::serve(Router::new().fallback(answer)).await;
    let far = App::answering(200, "far").await;
    let edge = edge(&near, &far, "").await;
    until("the broken node is left alone", DEADLINE, async || {
        let response = edge.get("/app/x").await;
        assert_eq!(response.status(), 200);
        Ok(told(&response, "reason").is_empty().then_some(()))
    })
    .await
    .unwrap();
    broken.store(false, Ordering::Relaxed);
    drop(far);
    until("the node serves again", DEADLINE, async || {
        Ok((edge.get("/app/x").await.status() == 200).then_some(()))
    })
    .await
    .unwrap();
}
