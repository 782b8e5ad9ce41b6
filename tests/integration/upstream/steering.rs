//! What operators see of the nodes of upstreams, and can do.

use axum::Router;
use reqwest::Response;
use serde_json::{Value, json};
use tidegate::testkit::{GatewayCommand, until};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::kit::{App, Edge, endpoint, upstream};
use crate::world::{BINARY, DEADLINE, header, problem, told};

impl Edge {
    /// The upstreams of the topology.
    async fn upstreams(&self) -> Value {
        let url = self.gateway.admin_url("/admin/topology");
        let topology = self.client.get(url).send().await.unwrap();
        let topology: Value = topology.json().await.unwrap();
        topology["upstreams"].clone()
    }

    /// Drains or undrains a node of an upstream (`drain`, `undrain`).
    async fn steer(&self, upstream: &str, node: &str, what: &str) -> Response {
        let path = format!("/admin/upstreams/{upstream}/nodes/{node}/{what}");
        let url = self.gateway.admin_url(&path);
        self.client.post(url).send().await.unwrap()
    }

    async fn serving_region(&self) -> String {
        let response = self.get("/app/x").await;
        assert_eq!(response.status(), 200);
        told(&response, "node-region").to_owned()
    }

    async fn metric_turns(&self, series: &str, value: f64) {
        let turned =
            async || Ok((self.metric(series).await.total_cmp(&value).is_eq()).then_some(()));
        until(&format!("{series} turns {value}"), DEADLINE, turned)
            .await
            .unwrap();
    }
}

fn file(near: &App, far: &App, more: &str) -> String {
    let nodes = [("eu-west-1", &*near.url()), ("us-east-1", &*far.url())];
    upstream(&nodes, more) + &endpoint("*", "/app/{*rest}", "app")
}

async fn two_apps() -> (App, App) {
    (
        App::answering(200, "near").await,
        App::answering(200, "far").await,
    )
}

#[tokio::test]
async fn the_topology_tells_the_order_of_an_upstreams_nodes_and_why() {
    let (near, far) = two_apps().await;
    let edge = Edge::start(&file(&near, &far, "")).await;
    let node = |app: &App, region: &str, latency_ms: f64| {
        json!({
            "node": app.address.to_string(),
            "region": region,
            "url": app.url(),
            "standing": "trusted",
            "breaker": "closed",
            "why": "nothing speaks against it; placed by latency",
            "latency_ms": latency_ms,
            "under_way": 0,
        })
    };
    // They had no requests: their latencies follow from their places in the list.
    let nodes = [node(&near, "eu-west-1", 1.0), node(&far, "us-east-1", 41.0)];
    let upstreams = edge.upstreams().await;
    assert_eq!(upstreams, json!([{"upstream": "app", "nodes": nodes}]));
}

#[tokio::test]
async fn tidegate_top_prints_upstreams_below_the_nodes_of_the_database() {
    let (near, far) = two_apps().await;
    let edge = Edge::start(&file(&near, &far, "")).await;
    edge.steer("app", &near.address.to_string(), "drain").await;
    let top = GatewayCommand::new(BINARY, "top").arg("--once");
    let top = top.arg("--admin").arg(edge.gateway.admin().to_string());
    let output = top.output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let cells = |line: &str| {
        let cells = line.split_whitespace().take(5);
        cells.map(str::to_owned).collect::<Vec<_>>()
    };
    let lines: Vec<_> = text.lines().map(cells).collect();
    let (near, far) = (near.address.to_string(), far.address.to_string());
    let last = lines.len().checked_sub(4).expect(&text);
    assert_eq!(
        lines[last..],
        [
            vec![],
            vec!["UPSTREAM", "NODE", "STANDING", "BREAKER", "REGION"],
            vec!["app", &far, "trusted", "closed", "us-east-1"],
            vec!["app", &near, "drained", "closed", "eu-west-1"],
        ],
        "{text}"
    );
}

#[tokio::test]
async fn a_drained_node_gets_no_request_and_with_all_drained_nobody_is_left() {
    let (near, far) = two_apps().await;
    let edge = Edge::start(&file(&near, &far, "")).await;
    let (first, second) = (near.address.to_string(), far.address.to_string());
    let drained = edge.steer("app", &first, "drain").await;
    assert_eq!(drained.status(), 200);
    let node: Value = drained.json().await.unwrap();
    assert_eq!(node["node"], first);
    assert_eq!(node["standing"], "drained");
    assert_eq!(edge.serving_region().await, "us-east-1");
    let upstreams = edge.upstreams().await;
    assert_eq!(upstreams[0]["nodes"][1]["why"], "drained by an operator");

    edge.steer("app", &second, "drain").await;
    problem(edge.get("/app/x").await, 503, "no-node").await;
    assert!(near.asked().is_empty());

    edge.steer("app", &first, "undrain").await;
    assert_eq!(edge.serving_region().await, "eu-west-1");
}

#[tokio::test]
async fn what_a_drained_node_has_begun_goes_on_and_is_seen() {
    let (end, ended) = watch::channel(false);
    let slow = move || {
        let mut ended = ended.clone();
        async move {
            ended.wait_for(|ended| *ended).await.unwrap();
            "near"
        }
    };
    let near = App::serve(Router::new().fallback(slow)).await;
    let far = App::answering(200, "far").await;
    let edge = Edge::start(&file(&near, &far, "")).await;
    // A write is not hedged.
    let write = edge.request(http::Method::POST, "/app/x").send();
    let write = tokio::spawn(write);
    let under_way = async |wanted: u64| {
        let turned = async || {
            let upstreams = edge.upstreams().await;
            let nodes = upstreams[0]["nodes"].as_array().unwrap();
            let near = nodes.iter().find(|node| node["region"] == "eu-west-1");
            Ok((near.unwrap()["under_way"] == wanted).then_some(()))
        };
        until("so much is under way", DEADLINE, turned)
            .await
            .unwrap();
    };
    under_way(1).await;
    edge.steer("app", &near.address.to_string(), "drain").await;
    assert_eq!(edge.serving_region().await, "us-east-1");
    under_way(1).await;
    end.send_replace(true);
    let answer = write.await.unwrap().unwrap();
    assert_eq!(answer.text().await.unwrap(), "near");
    under_way(0).await;
}

#[tokio::test]
async fn only_nodes_that_exist_are_drained_by_a_post_and_by_their_encoded_names() {
    let (near, far) = two_apps().await;
    let base = format!("{}/base", far.url());
    let more = endpoint("GET", "/single", &base);
    let edge = Edge::start(&(file(&near, &far, "") + &more)).await;
    let (near, far) = (near.address.to_string(), far.address.to_string());
    for (upstream, node) in [("app", "10.0.0.5:3000"), ("other", &*near)] {
        let refused = edge.steer(upstream, node, "drain").await;
        let refused: (u16, Value) = (refused.status().as_u16(), refused.json().await.unwrap());
        let kind = "https://tidegate.dev/problems/not-found";
        assert_eq!((refused.0, &refused.1["type"]), (404, &json!(kind)));
    }
    let path = format!("/admin/upstreams/app/nodes/{near}/drain");
    let get = edge.client.get(edge.gateway.admin_url(&path)).send().await;
    let get = get.unwrap();
    assert_eq!(
        (get.status().as_u16(), header(&get, "allow")),
        (405, "POST")
    );

    let (upstream, node) = (base.replace('/', "%2F"), format!("{far}%2Fbase"));
    assert_eq!(edge.get("/single").await.status(), 200);
    assert_eq!(edge.steer(&upstream, &node, "drain").await.status(), 200);
    problem(edge.get("/single").await, 503, "no-node").await;
}

#[tokio::test]
async fn breakers_of_upstreams_are_measured_and_told_until_the_upstream_is_gone() {
    let (near, far) = two_apps().await;
    let check = "check = { path = \"/healthz\", interval = \"50ms\" }";
    let edge = Edge::start(&file(&near, &far, check)).await;
    let dead = near.address.to_string();
    let labels = |state: &str| format!("{{upstream=\"app\",node=\"{dead}\",state=\"{state}\"}}");
    let state = |state: &str| format!("tidegate_upstream_breaker_state{}", labels(state));
    let moves = format!("tidegate_upstream_breaker_moves_total{}", labels("open"));
    edge.metric_turns(&state("closed"), 1.0).await;
    drop(near);
    edge.metric_turns(&state("closed"), 0.0).await;
    assert!(edge.metric(&moves).await >= 1.0);
    let switches = "tidegate_upstream_switches_total{upstream=\"app\"}";
    edge.metric_turns(switches, 1.0).await;
    // The database's own may have moved before.
    let moved = format!(r#""upstream":"app","node":"{dead}","breaker":"open""#);
    let line = edge.gateway.wait_for_log(&moved).await.unwrap();
    assert!(line.contains("breaker moved"), "{line}");

    edge.reload(&endpoint("GET", "/other", &far.url())).await;
    for gone in ["closed", "open", "half-open"] {
        assert!(
            edge.metric(&state(gone)).await.total_cmp(&0.0).is_eq(),
            "{gone}"
        );
    }
    let upstreams = edge.upstreams().await;
    assert_eq!(upstreams[0]["upstream"], far.url(), "{upstreams}");
    assert_eq!(upstreams.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_reload_keeps_the_drains_of_the_nodes_that_stay() {
    let (near, far) = two_apps().await;
    let edge = Edge::start(&file(&near, &far, "")).await;
    edge.steer("app", &near.address.to_string(), "drain").await;
    let more = endpoint("GET", "/other", &far.url());
    edge.reload(&(file(&near, &far, "") + &more)).await;
    assert_eq!(edge.serving_region().await, "us-east-1");
}

#[tokio::test]
async fn a_reload_keeps_the_drains_of_an_upstream_that_changes() {
    let (near, far) = two_apps().await;
    let edge = Edge::start(&file(&near, &far, "")).await;
    edge.steer("app", &near.address.to_string(), "drain").await;
    edge.reload(&file(&near, &far, "timeout = \"5s\"")).await;
    assert_eq!(edge.serving_region().await, "us-east-1");
    edge.steer("app", &near.address.to_string(), "undrain")
        .await;
    assert_eq!(edge.serving_region().await, "eu-west-1");
}

/// A reload that cannot check its statements waits for a database that does not answer.
#[tokio::test]
async fn a_reload_keeps_what_is_drained_and_undrained_meanwhile() {
    let (near, far) = two_apps().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let replica = format!("postgres://app@{}/app", silent.local_addr().unwrap());
    let tables = file(&near, &far, "");
    let edge = Edge::with("DATABASE_READ_REPLICA_URL", replica, tables).await;
    edge.steer("app", &near.address.to_string(), "drain").await;

    // The primary's refusal is known at once.
    let refused = "cannot check statements here";
    let at_start = edge.gateway.log().matches(refused).count();
    edge.begin_reload(&file(&near, &far, "timeout = \"5s\""));
    until("the reload waits for the replica", DEADLINE, async || {
        let again = edge.gateway.log().matches(refused).count() > at_start;
        Ok(again.then_some(()))
    })
    .await
    .unwrap();
    edge.steer("app", &near.address.to_string(), "undrain")
        .await;
    edge.steer("app", &far.address.to_string(), "drain").await;
    let swapped = "policies and endpoints were swapped";
    assert!(
        !edge.gateway.log().contains(swapped),
        "the reload still waits"
    );
    edge.gateway.wait_for_log(swapped).await.unwrap();
    assert_eq!(edge.serving_region().await, "eu-west-1");
    let upstreams = edge.upstreams().await;
    let standing: Vec<_> = (0..2)
        .map(|node| &upstreams[0]["nodes"][node]["standing"])
        .collect();
    assert_eq!(standing, ["trusted", "drained"], "{upstreams}");
}
