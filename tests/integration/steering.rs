//! Which node is tried, in which order and how often; and what operators see and can do.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::testkit::{GatewayCommand, until};
use tokio::time::Instant;

use crate::world::{BINARY, DEADLINE, World, header, problem, told};

/// Slow on replicas only, or everywhere.
const SLOW: &str = r#"
[[policy]]
path = "/slow/*"
consistency = "eventual"
[[endpoint]]
method = "GET"
path = "/slow/replica"
sql = "select 'done' as what, pg_sleep(case when pg_is_in_recovery() then 3 else 0 end)::text"
[[endpoint]]
method = "GET"
path = "/slow/everywhere"
sql = "select 'done' as what, pg_sleep(2)::text"
[[endpoint]]
method = "GET"
path = "/slow/not"
sql = "select 'done' as what"
"#;

const NO_SCHEMA: &str = "select 1";

impl World {
    async fn topology(&self) -> Value {
        let response = self.client.get(self.gateway.admin_url("/admin/topology"));
        response.send().await.unwrap().json().await.unwrap()
    }

    /// Waits until an eventual read is served by a node for a reason.
    async fn is_served(&self, path: &str, node: &str, reason: &str) {
        let wanted = async || {
            let response = self.get_at(path, "eventual").await;
            let told = (told(&response, "node"), told(&response, "reason"));
            Ok((told == (node, reason)).then_some(()))
        };
        let what = format!("{path} is served by the {node} for {reason}");
        until(&what, DEADLINE, wanted).await.unwrap();
    }
}

#[tokio::test]
async fn the_topology_tells_the_order_of_the_nodes_and_why() {
    let world = World::start().await;
    world.health_turns(200).await;
    let is_known = |node: &Value| {
        let open = node["connections"]["open"].as_u64();
        node["condition"] == "fresh" && open.is_some_and(|open| open > 0)
    };
    let topology = until("all nodes are known", DEADLINE, async || {
        let topology = world.topology().await;
        let nodes = topology["nodes"].as_array().unwrap();
        Ok(nodes.iter().all(is_known).then_some(topology))
    });
    let topology = topology.await.unwrap();
    assert_eq!(topology["region"], "eu-west-1");
    assert_eq!(
        topology["spill"],
        json!({"active": 0, "concurrency_max": 8})
    );
    let nodes = topology["nodes"].as_array().unwrap();
    let named: Vec<_> = nodes.iter().map(|node| &node["node"]).collect();
    assert_eq!(named, ["eu-west-1", "primary"]);
    let roles: Vec<_> = nodes.iter().map(|node| &node["role"]).collect();
    assert_eq!(roles, ["replica", "primary"]);
    for node in nodes {
        assert_eq!(node["standing"], "trusted");
        assert_eq!(node["breaker"], "closed");
        assert_eq!(node["why"], "it answers; placed by latency");
        assert!(node["latency_ms"].as_f64().unwrap() > 0.0, "{node}");
    }
}

#[tokio::test]
async fn a_drained_replica_is_asked_nothing_until_it_is_undrained() {
    let world = World::start().await;
    world.is_served("/public/rates", "replica", "fresh").await;
    let response = world.steer("eu-west-1", "drain").await;
    assert_eq!(response.status(), 200);
    let node: Value = response.json().await.unwrap();
    assert_eq!(node["standing"], "drained");
    assert_eq!(node["why"], "drained by an operator");
    let read = world.get_at("/public/rates", "eventual").await;
    assert_eq!(
        (told(&read, "node"), told(&read, "reason")),
        ("primary", "replica-down")
    );
    assert_eq!(world.topology().await["nodes"][1]["standing"], "drained");
    world.steer("eu-west-1", "undrain").await;
    let read = world.get_at("/public/rates", "eventual").await;
    assert_eq!(told(&read, "reason"), "fresh");
}

#[tokio::test]
async fn a_drained_primary_still_does_what_nobody_else_can() {
    let world = World::start().await;
    world.is_served("/public/rates", "replica", "fresh").await;
    world.steer("primary", "drain").await;
    let strong = world.get_at("/public/rates", "strong").await;
    assert_eq!(header(&strong, "x-route-primary"), "true");
    let body = json!({"currency": "USD", "amount": "1.00"});
    let written = world.post("alice", "/api/v1/onramp", "one", &body).await;
    assert_eq!(written.status(), 201);
    let read = world.get_at("/public/rates", "eventual").await;
    assert_eq!(told(&read, "node"), "replica");
}

#[tokio::test]
async fn only_nodes_that_exist_can_be_drained_and_only_by_a_post() {
    let world = World::start().await;
    let response = world.steer("nowhere", "drain").await;
    assert_eq!(response.status(), 404);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["type"], "https://tidegate.dev/problems/not-found");
    let url = world.gateway.admin_url("/admin/nodes/primary/drain");
    let response = world.client.get(url).send().await.unwrap();
    assert_eq!(response.status(), 405);
    assert_eq!(header(&response, "allow"), "POST");
}

#[tokio::test]
async fn a_slow_safe_read_is_hedged_and_a_slow_statement_opens_no_breaker() {
    let world = World::with_file(NO_SCHEMA, SLOW).await;
    world.health_turns(200).await;
    for _ in 0..5 {
        let start = Instant::now();
        let response = world.get("/slow/replica").await;
        assert_eq!(
            (told(&response, "node"), told(&response, "reason")),
            ("primary", "hedge")
        );
        let took = start.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    let topology = world.topology().await;
    assert_eq!(topology["nodes"][0]["node"], "eu-west-1", "{topology}");
    assert_eq!(topology["nodes"][0]["standing"], "trusted", "{topology}");
    let hedges = "tidegate_hedges_total{node=\"eu-west-1\",won=\"second\"}";
    world.metric_turns(hedges, |count| count >= 5.0).await;
}

#[tokio::test]
async fn readers_over_the_spill_budget_are_refused_and_strong_ones_are_not() {
    let settings = format!("[spill]\nconcurrency_max = 1\n{SLOW}");
    let mut world = World::with_file(NO_SCHEMA, &settings).await;
    world.health_turns(200).await;
    world.replica().kill().await.unwrap();
    world
        .is_served("/slow/not", "primary", "replica-down")
        .await;
    let slow = tokio::spawn(world.request(Method::GET, "/slow/everywhere").send());
    let active = "tidegate_spill_active";
    world.metric_turns(active, |reads| reads >= 1.0).await;
    let refused = world.get("/slow/not").await;
    assert_eq!(header(&refused, "retry-after"), "1");
    let detail = problem(refused, 503, "overloaded").await;
    assert!(detail.contains("the primary has no room"), "{detail}");
    let strong = world.get_at("/slow/not", "strong").await;
    assert_eq!(strong.status(), 200);
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
    world
        .is_served("/slow/not", "primary", "replica-down")
        .await;
    let refusals = "tidegate_spill_total{result=\"refused\"}";
    world.metric_turns(refusals, |count| count >= 1.0).await;
}

#[tokio::test]
async fn over_the_spill_budget_the_freshest_replica_serves_whom_it_may() {
    let settings =
        format!("[spill]\nconcurrency_max = 1\n[replication]\nmax_lag = \"300ms\"\n{SLOW}");
    let mut world = World::with_file("create table lines (text text)", &settings).await;
    world.health_turns(200).await;
    world.replica().pause_replay().await.unwrap();
    let write = "insert into lines values ('late')";
    world.cluster.primary.execute(write).await.unwrap();
    world
        .is_served("/slow/not", "primary", "replica-lagging")
        .await;
    let slow = tokio::spawn(world.request(Method::GET, "/slow/everywhere").send());
    let active = "tidegate_spill_active";
    world.metric_turns(active, |reads| reads >= 1.0).await;
    let eventual = world.get("/slow/not").await;
    assert_eq!(
        (told(&eventual, "node"), told(&eventual, "reason")),
        ("replica", "replica-lagging")
    );
    let bounded = world.get_at("/slow/not", "bounded;max-staleness=0").await;
    problem(bounded, 503, "overloaded").await;
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn tidegate_top_prints_what_operators_need_at_a_glance() {
    let world = World::start().await;
    world.is_served("/public/rates", "replica", "fresh").await;
    let top = |admin: String| {
        GatewayCommand::new(BINARY, "top")
            .arg("--once")
            .arg("--admin")
            .arg(admin)
    };
    let output = top(world.gateway.admin().to_string())
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "tidegate eu-west-1   spill 0/8");
    assert!(
        lines[1].starts_with("switches 0   retries 0   hedges"),
        "{text}"
    );
    let cells = |line: &str| {
        line.split_whitespace()
            .take(5)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        cells(lines[3]),
        ["NODE", "ROLE", "STANDING", "BREAKER", "CONDITION"]
    );
    assert_eq!(
        cells(lines[4]),
        ["eu-west-1", "replica", "trusted", "closed", "fresh"]
    );
    assert_eq!(
        cells(lines[5]),
        ["primary", "primary", "trusted", "closed", "fresh"]
    );

    let nobody = top("127.0.0.1:1".to_owned()).output().await.unwrap();
    assert_eq!(nobody.status.code(), Some(1));
    let nonsense = top("no address".to_owned()).output().await.unwrap();
    assert_eq!(nonsense.status.code(), Some(2));
    let piped = GatewayCommand::new(BINARY, "top").output().await.unwrap();
    let told = String::from_utf8_lossy(&piped.stderr).into_owned();
    assert_eq!(piped.status.code(), Some(2), "{told}");
    assert!(told.contains("--once"), "{told}");
}

#[tokio::test]
async fn steering_that_cannot_be_meant_is_refused_at_start() {
    let folder = TempDir::new().unwrap();
    for (settings, key) in [
        ("[steering]\nretry_budget = 1.5\n", "retry_budget"),
        ("[steering]\ndwell = \"0s\"\n", "dwell"),
        (
            "[steering]\nreconnects_per_second_max = 0\n",
            "reconnects_per_second_max",
        ),
        ("[spill]\nconcurrency_max = 0\n", "concurrency_max"),
        ("[steering]\nspeed = 1\n", "speed"),
    ] {
        let file = folder.path().join("gateway.toml");
        std::fs::write(&file, settings).unwrap();
        let check = GatewayCommand::new(BINARY, "check").env("TIDEGATE_CONFIG", &file);
        let output = check.output().await.unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(key) && told.lines().count() == 1, "{told}");
    }
}
