//! The traffic policy in force: which region's node serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use axum::Router;
use axum::routing::any;
use http::{Method, StatusCode};
use nix::sys::signal::Signal;
use reqwest::Response;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::testkit::{GatewayCommand, until};

use super::address_database::address_database;
use super::kit::{App, Edge, endpoint, upstream};
use crate::world::{BINARY, DEADLINE, header, problem, told};

/// Two applications, and a gateway before them with a policy.
struct Scene {
    near: App,
    far: App,
    edge: Edge,
    policy: std::path::PathBuf,
    _folder: TempDir,
}

impl Scene {
    async fn new(policy: &str) -> Self {
        let near = App::answering(200, "near").await;
        Self::with(near, policy, "").await
    }

    async fn with(near: App, policy: &str, more: &str) -> Self {
        Self::with_addresses(near, policy, more, "").await
    }

    async fn with_addresses(near: App, policy: &str, more: &str, database: &str) -> Self {
        let far = App::answering(200, "far").await;
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("traffic.policy");
        std::fs::write(&file, policy).unwrap();
        let nodes = [("eu-west-1", &*near.url()), ("us-east-1", &*far.url())];
        let traffic = format!("traffic_policy = \"{}\"\n", file.display());
        let toml = upstream(&nodes, "") + &endpoint("*", "/app/{*rest}", "app");
        Self {
            edge: Edge::with("GEOIP_DB", database, traffic + more + &toml).await,
            near,
            far,
            policy: file,
            _folder: folder,
        }
    }

    /// Returns which application answers.
    async fn served_by(&self, path: &str) -> String {
        let response = self.edge.get(path).await;
        assert_eq!(response.status(), 200);
        response.text().await.unwrap()
    }

    async fn until_served_by(&self, path: &str, name: &str) -> Response {
        let served = async || {
            let response = self.edge.get(path).await;
            let node = told(&response, "node-region") == name;
            Ok(node.then_some(response))
        };
        let what = format!("{path} is served by {name}");
        until(&what, DEADLINE, served).await.unwrap()
    }
}

const FAR_FIRST: &str = "\
region eu-west-1
region us-east-1
region ap-south-1

defaults {
  leave   when errors > 5% for 200ms
  return  when errors < 1% for 400ms
}

policy own {
  match   path /app/own/*
  prefer  local | us-east-1
}

policy bound {
  match   path /app/bound/*
  only    ap-south-1
  prefer  ap-south-1
  else    429
}

policy farther {
  prefer  us-east-1 | eu-west-1
}
";

#[tokio::test]
async fn a_request_goes_to_the_region_that_its_policy_prefers_and_says_so() {
    let scene = Scene::new(FAR_FIRST).await;
    let request = scene.edge.request(Method::GET, "/app/x");
    let response = request.header("tidegate-route", "policy=mine").send().await;
    let response = response.unwrap();
    let status = header(&response, "consistency-status").to_owned();
    assert_eq!(
        status,
        "eu-west-1; level=strong; node=upstream; node-region=us-east-1, \
         eu-west-1; fwd=us-east-1; policy=farther; reason=named"
    );
    assert_eq!(response.text().await.unwrap(), "far");
    assert_eq!(
        scene.far.last().field("tidegate-route"),
        "policy=farther, region=us-east-1, proposed=us-east-1, reason=named"
    );
    let response = scene.edge.get("/app/own/x").await;
    let status = header(&response, "consistency-status").to_owned();
    assert_eq!(
        status,
        "eu-west-1; level=strong; node=upstream; node-region=eu-west-1"
    );
    assert_eq!(response.text().await.unwrap(), "near");
    let decided = |policy: &str, region: &str, reason: &str| {
        format!(
            "tidegate_traffic_decisions_total{{policy=\"{policy}\",proposed=\"{region}\",\
             region=\"{region}\",reason=\"{reason}\"}}"
        )
    };
    let edge = &scene.edge;
    assert_eq!(
        edge.metric(&decided("farther", "us-east-1", "named")).await,
        1.0
    );
    assert_eq!(
        edge.metric(&decided("own", "eu-west-1", "local")).await,
        1.0
    );
    let line = edge.gateway.wait_for_log("\"policy\":\"own\"").await;
    assert!(line.is_ok() || edge.gateway.wait_for_log("policy=\"own\"").await.is_ok());
}

#[tokio::test]
async fn without_a_policy_nothing_is_said_of_one() {
    let app = App::answering(200, "app").await;
    let edge = Edge::before(&app, "").await;
    let request = edge.request(Method::GET, "/app/x");
    let response = request.header("tidegate_route", "policy=mine").send().await;
    let response = response.unwrap();
    let status = header(&response, "consistency-status").to_owned();
    assert!(!status.contains("policy"), "{status}");
    assert_eq!(app.last().field("tidegate-route"), "");
    assert_eq!(app.last().field("tidegate_route"), "");
}

#[tokio::test]
async fn a_bound_policy_is_served_in_no_other_region() {
    let scene = Scene::new(FAR_FIRST).await;
    let response = scene.edge.get("/app/bound/x").await;
    problem(response, 429, "no-region").await;
    let other = FAR_FIRST.replace("  else    429\n", "");
    let scene = Scene::new(&other).await;
    let response = scene.edge.get("/app/bound/x").await;
    assert_eq!(header(&response, "retry-after"), "1");
    problem(response, 503, "no-region").await;
    assert!(scene.near.asked().is_empty() && scene.far.asked().is_empty());
}

#[tokio::test]
async fn a_region_without_a_node_here_is_served_here() {
    let policy = "region eu-west-1\nregion ap-south-1\n\
                  policy p {\n  prefer ap-south-1 | eu-west-1\n}\n";
    let scene = Scene::new(policy).await;
    let response = scene.edge.get("/app/x").await;
    let status = header(&response, "consistency-status").to_owned();
    assert_eq!(
        status,
        "eu-west-1; level=strong; node=upstream; node-region=eu-west-1, \
         eu-west-1; policy=p; reason=no-tunnel"
    );
}

#[tokio::test]
async fn a_region_whose_nodes_do_not_answer_has_left() {
    let scene = Scene::new(FAR_FIRST).await;
    assert_eq!(scene.served_by("/app/x").await, "far");
    let Scene {
        far,
        edge,
        near,
        policy,
        _folder,
    } = scene;
    drop(far);
    let far = App::answering(200, "unused").await;
    let scene = Scene {
        far,
        edge,
        near,
        policy,
        _folder,
    };
    let response = scene.until_served_by("/app/x", "eu-west-1").await;
    drop(response);
    let left = async || {
        let response = scene.edge.get("/app/x").await;
        let status = header(&response, "consistency-status").to_owned();
        assert_eq!(response.status(), 200);
        Ok(scene
            .near
            .last()
            .field("tidegate-route")
            .contains("reason=left")
            .then_some(status))
    };
    let status = until("the far region has left", DEADLINE, left)
        .await
        .unwrap();
    assert_eq!(
        status,
        "eu-west-1; level=strong; node=upstream; node-region=eu-west-1"
    );
    let state = "tidegate_region_state{region=\"us-east-1\",state=\"unreachable\"}";
    assert_eq!(scene.edge.metric(state).await, 1.0);
    assert_eq!(
        scene.edge.metric("tidegate_failover_seconds_count").await,
        1.0
    );
}

#[tokio::test]
async fn a_region_that_answers_with_errors_leaves_and_comes_back() {
    let broken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let state = std::sync::Arc::clone(&broken);
    let answer = move || {
        let broken = state.load(std::sync::atomic::Ordering::Relaxed);
        async move {
            match broken {
                true => (StatusCode::INTERNAL_SERVER_ERROR, "broken"),
                false => (StatusCode::OK, "near"),
            }
        }
    };
    let near = App::serve(Router::new().fallback(any(answer))).await;
    // Its own breaker must not decide: it counts fewer failures than these.
    let policy = FAR_FIRST.replace("local | us-east-1", "eu-west-1 | us-east-1");
    let scene = Scene::with(near, &policy, "").await;
    let left = async || {
        let response = scene.edge.request(Method::POST, "/app/own/x").send().await;
        Ok((told(&response.unwrap(), "node-region") == "us-east-1").then_some(()))
    };
    until("the region has left", DEADLINE, left).await.unwrap();
    broken.store(false, std::sync::atomic::Ordering::Relaxed);
    scene.until_served_by("/app/own/x", "eu-west-1").await;
}

#[tokio::test]
async fn where_a_client_is_counts_only_from_a_trusted_proxy() {
    let policy = "region eu-west-1\nregion us-east-1\n\
                  policy french {\n  match country in (FR)\n  prefer us-east-1\n}\n\
                  policy others {\n  prefer nearest(eu-west-1, us-east-1)\n}\n";
    let near = App::answering(200, "near").await;
    let untrusted = Scene::with(near, policy, "").await;
    let near = App::answering(200, "near").await;
    let proxies = "[server]\ntrusted_proxies = [\"127.0.0.0/8\"]\n";
    let trusted = Scene::with(near, policy, proxies).await;
    let from = async |scene: &Scene, fields: &[(&str, &str)]| {
        let request = scene.edge.request(Method::GET, "/app/x");
        let request = fields.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        request.send().await.unwrap().text().await.unwrap()
    };
    let france = [("cloudfront-viewer-country", "FR")];
    let virginia = [
        ("cloudfront-viewer-latitude", "38.9"),
        ("cloudfront-viewer-longitude", "-77.0"),
    ];
    let nonsense = [
        ("cloudfront-viewer-latitude", "north"),
        ("cloudfront-viewer-longitude", "NaN"),
        ("cloudfront-viewer-country", "\u{ff}"),
        ("x-region-hint", "mars, , eu-west-1"),
    ];
    for (fields, by_trusted) in [
        (&france[..], "far"),
        (&virginia, "far"),
        (&nonsense, "near"),
    ] {
        assert_eq!(from(&untrusted, fields).await, "near", "{fields:?}");
        assert_eq!(from(&trusted, fields).await, by_trusted, "{fields:?}");
    }
    let hint = [("x-region-hint", "mars, us-east-1")];
    assert_eq!(from(&untrusted, &hint).await, "far");
    let hints = [("x-region-hint", "mars"), ("x-region-hint", "us-east-1")];
    assert_eq!(
        from(&untrusted, &hints).await,
        "far",
        "lines of a list are one list"
    );
}

#[tokio::test]
async fn an_address_database_is_taken_anew_on_sighup_unless_it_is_damaged() {
    let policy = "region eu-west-1\nregion us-east-1\n\
                  policy french {\n  match country in (FR)\n  prefer us-east-1\n}\n\
                  policy others {\n  prefer eu-west-1\n}\n";
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("addresses.mmdb");
    let french = |network: u8| address_database(&[(network, "FR", 48.9, 2.4)]);
    std::fs::write(&file, french(10)).unwrap();
    let near = App::answering(200, "near").await;
    let scene = Scene::with_addresses(near, policy, "", file.to_str().unwrap()).await;
    assert_eq!(scene.served_by("/app/x").await, "near");

    std::fs::write(&file, &french(127)[..200]).unwrap();
    scene.edge.gateway.signal(Signal::SIGHUP);
    let kept = scene.edge.gateway.wait_for_log("kept the old policies");
    let kept = kept.await.unwrap();
    assert!(kept.contains("addresses.mmdb"), "{kept}");
    assert_eq!(scene.served_by("/app/x").await, "near");

    // Nobody writes into it, so reading it would never end.
    std::fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    scene.edge.gateway.signal(Signal::SIGHUP);
    let kept = scene.edge.gateway.wait_for_log("it is not a regular file");
    kept.await.unwrap();

    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, french(127)).unwrap();
    scene.edge.gateway.signal(Signal::SIGHUP);
    scene.until_served_by("/app/x", "us-east-1").await;
}

#[tokio::test]
async fn each_session_stays_in_its_region_and_sessions_are_spread() {
    let policy = "region eu-west-1\nregion us-east-1\n\
                  policy all {\n  prefer spread(eu-west-1, us-east-1)\n  affinity cookie sid\n}\n";
    let scene = Scene::new(policy).await;
    let served = async |session: usize| {
        let request = scene.edge.request(Method::GET, "/app/x");
        let request = request.header("cookie", format!("a=b; sid=s{session}"));
        request.send().await.unwrap().text().await.unwrap()
    };
    let mut far = 0;
    for session in 0..40 {
        let first = served(session).await;
        assert_eq!(served(session).await, first, "session {session}");
        far += usize::from(first == "far");
    }
    assert!((8..=32).contains(&far), "{far} of 40 are far");
}

#[tokio::test]
async fn a_good_file_is_taken_over_on_sighup_and_a_bad_one_is_not() {
    let scene = Scene::new(FAR_FIRST).await;
    assert_eq!(scene.served_by("/app/x").await, "far");
    let near_first = FAR_FIRST.replace("us-east-1 | eu-west-1", "eu-west-1 | us-east-1");
    std::fs::write(
        &scene.policy,
        near_first.replace("prefer  eu-west-1", "prefer  mars"),
    )
    .unwrap();
    scene.edge.gateway.signal(Signal::SIGHUP);
    let kept = scene
        .edge
        .gateway
        .wait_for_log("kept the old policies")
        .await
        .unwrap();
    assert!(
        kept.contains("traffic_policy") && kept.contains("mars"),
        "{kept}"
    );
    assert_eq!(scene.served_by("/app/x").await, "far");
    std::fs::write(&scene.policy, "\u{feff}# nothing\n").unwrap();
    scene.edge.gateway.signal(Signal::SIGHUP);
    let empty = "needs at least one policy";
    scene.edge.gateway.wait_for_log(empty).await.unwrap();
    assert_eq!(scene.served_by("/app/x").await, "far");
    std::fs::write(&scene.policy, near_first).unwrap();
    scene.edge.gateway.signal(Signal::SIGHUP);
    scene.until_served_by("/app/x", "eu-west-1").await;
}

#[tokio::test]
async fn a_bad_file_ends_the_start_and_the_check_with_every_error() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("traffic.policy");
    std::fs::write(&file, "region a\npolicy p { prefer b | c }\n").unwrap();
    for command in ["serve", "check"] {
        let gateway = GatewayCommand::new(BINARY, command)
            .env("REGION", "eu-west-1")
            .env("DATABASE_URL", "postgres://app@127.0.0.1:1/app")
            .env("TIDEGATE_TRAFFIC_POLICY", &file);
        let output = gateway.output().await.unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        let first = "error: there is no region or group named `b`\n --> ";
        assert!(
            said.starts_with(first) && said.contains("named `c`"),
            "{said}"
        );
        let last = said.lines().last().unwrap();
        assert!(
            last.starts_with("tidegate: TIDEGATE_TRAFFIC_POLICY = "),
            "{last}"
        );
        assert!(
            last.ends_with("there is no region or group named `b` (2 errors)"),
            "{last}"
        );
    }
}

#[tokio::test]
async fn operators_see_the_regions_and_the_policy_in_force() {
    let scene = Scene::new(FAR_FIRST).await;
    for _ in 0..6 {
        scene.served_by("/app/x").await;
    }
    let get = async |path: &str, accept: &str| {
        let url = scene.edge.gateway.admin_url(path);
        let request = scene.edge.client.get(url).header("accept", accept);
        request.send().await.unwrap()
    };
    let seen = async || {
        let regions: Value = get("/admin/regions", "*/*").await.json().await?;
        Ok(regions[2]["error_rate"].is_number().then_some(regions))
    };
    let regions = until("requests are seen", DEADLINE, seen).await.unwrap();
    assert_eq!(regions[0]["region"], "ap-south-1");
    assert_eq!(regions[2]["error_rate"], 0.0);
    assert_eq!(
        (&regions[2]["state"], &regions[2]["seen_by"]),
        (&json!("well"), &json!("eu-west-1"))
    );
    let topology: Value = get("/admin/topology", "*/*").await.json().await.unwrap();
    assert_eq!(topology["regions"][2]["nodes"], 1);
    assert_eq!(topology["regions"][0]["round_trip_ms"], Value::Null);
    // No node of it is known here; the other one has no node of the database.
    assert_eq!(topology["regions"][0]["state"], "unknown");
    let state = "tidegate_region_state{region=\"ap-south-1\",state=\"unknown\"}";
    assert_eq!(scene.edge.metric(state).await, 1.0);
    for region in [0, 2] {
        assert_eq!(topology["regions"][region]["lag_ms"], Value::Null);
        assert_eq!(topology["regions"][region]["lag"], "none");
        assert_eq!(regions[region]["lag"], "none");
    }
    let policy = get("/admin/traffic-policy", "*/*").await;
    assert_eq!(header(&policy, "etag"), "\"0\"");
    assert_eq!(policy.text().await.unwrap(), FAR_FIRST);
    let policy = get("/admin/traffic-policy", "application/json").await;
    let policy: Value = policy.json().await.unwrap();
    assert_eq!(
        (&policy["revision"], &policy["language"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(policy["sha256"].as_str().unwrap().len(), 64);
    let top = GatewayCommand::new(BINARY, "top")
        .arg("--once")
        .arg("--admin");
    let top = top
        .arg(scene.edge.gateway.admin_url(""))
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(top.stdout).unwrap();
    assert!(
        text.contains("REGION      NODES  STATE    SINCE  GATEWAYS  TUNNELS"),
        "{text}"
    );
    assert!(text.contains("us-east-1   1      well "), "{text}");
    assert!(text.contains("ap-south-1  0      unknown "), "{text}");
    let app = App::answering(200, "app").await;
    let edge = Edge::before(&app, "").await;
    let url = edge.gateway.admin_url("/admin/traffic-policy");
    problem(edge.client.get(url).send().await.unwrap(), 404, "not-found").await;
}

#[tokio::test]
async fn decisions_are_recorded_and_decided_again_the_same_way() {
    let folder = TempDir::new().unwrap();
    let receipts = folder.path().join("receipts.jsonl");
    let more = format!(
        "[observe]\nreceipts = \"{}\"\nreceipts_sample = 1.0\n",
        receipts.display()
    );
    let near = App::answering(200, "near").await;
    let scene = Scene::with(near, FAR_FIRST, &more).await;
    for path in ["/app/x", "/app/own/x", "/app/bound/x"] {
        drop(scene.edge.get(path).await);
    }
    let lines = async || {
        let text = std::fs::read_to_string(&receipts)?;
        Ok((text.lines().count() == 3).then_some(text))
    };
    let text = until("three receipts are written", DEADLINE, lines)
        .await
        .unwrap();
    assert!(text.contains("\"reason\":\"no-tunnel\""), "{text}");
    let rotated = folder.path().join("receipts.jsonl.1");
    std::fs::rename(&receipts, &rotated).unwrap();
    drop(scene.edge.get("/app/x").await);
    let written = async || Ok(std::fs::read_to_string(&receipts).ok());
    let new = until("a new file is begun", DEADLINE, written)
        .await
        .unwrap();
    assert!(new.lines().count() <= 1, "{new}");
    let receipts = rotated;
    let replay = async |policy: &str| {
        std::fs::write(&scene.policy, policy).unwrap();
        let command = GatewayCommand::new(BINARY, "policy")
            .arg("replay")
            .arg(&receipts);
        let command = command.arg("--policy").arg(&scene.policy);
        command.output().await.unwrap()
    };
    let same = replay(FAR_FIRST).await;
    assert_eq!(same.status.code(), Some(0), "{same:?}");
    let other = replay(&FAR_FIRST.replace("local | us-east-1", "us-east-1 | local")).await;
    assert_eq!(other.status.code(), Some(1), "{other:?}");
}

#[tokio::test]
async fn a_request_that_no_region_may_serve_takes_no_stored_answer_from_others() {
    let status = Arc::new(AtomicU16::new(200));
    let told = Arc::clone(&status);
    let answer = move || {
        let code = told.load(Ordering::Relaxed);
        async move { (StatusCode::from_u16(code).unwrap(), "kept") }
    };
    let app = App::serve(Router::new().fallback(answer)).await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("traffic.policy");
    let policy = "region eu-west-1\nregion ap-south-1\n\
         policy beta { match header x-beta\n only ap-south-1\n prefer ap-south-1\n else 451 }\n\
         policy all { prefer local }\n";
    std::fs::write(&file, policy).unwrap();
    let toml = format!(
        "traffic_policy = \"{}\"\n[[policy]]\npath = \"/app/*\"\nconsistency = \"eventual\"\n\
         cache_control = \"public, max-age=0, stale-if-error=3600\"\n{}{}cache = true\n",
        file.display(),
        upstream(&[("eu-west-1", &app.url())], ""),
        endpoint("GET", "/app/{*rest}", "app"),
    );
    let edge = Edge::start(&toml).await;
    assert_eq!(edge.get("/app/kept").await.status(), 200);
    let beta = edge.request(Method::GET, "/app/kept").header("X-Beta", "1");
    assert_eq!(beta.send().await.unwrap().status(), 451);
    status.store(500, Ordering::Relaxed);
    let despite = edge.get("/app/kept").await;
    assert_eq!(despite.status(), 200);
    assert!(header(&despite, "cache-status").contains("stale-if-error"));
}
