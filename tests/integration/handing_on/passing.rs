//! What passes through a tunnel, both ways.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::{Method, StatusCode};
use serde_json::Value;
use tidegate::testkit::until;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::kit::{FleetScene, entry, named, serving};
use crate::upstream::kit::Raw;
use crate::upstream::websocket::{AGREED, HANDSHAKE, echo};
use crate::world::{DEADLINE, header, problem};

const AWAY: &str = "policy away { prefer us-east-1 | local }\n";

/// An endpoint whose answers are kept.
const CACHED: &str = "[[policy]]\npath = \"/cached/*\"\nconsistency = \"eventual\"\n\
                      cache_control = \"public, max-age=300\"\n\
                      [[endpoint]]\nmethod = \"GET\"\npath = \"/cached/{*rest}\"\nupstream = \"${APP}\"\n\
                      cache = true\n";

/// What is said of the answer to such a request that another region has served.
const DESCRIBED_THERE: &str = "us-east-1; level=eventual; node=upstream, \
                               eu-west-1; fwd=us-east-1; policy=away; reason=named";

#[tokio::test]
async fn a_request_is_served_by_the_region_that_the_policy_names_and_says_so() {
    let scene = FleetScene::start(2, AWAY).await;
    let response = scene.get("/app/a/../b%20c?q=1&&x=%2F").await;
    assert_eq!(response.status(), 200);
    assert_eq!(serving(&response), "us-east-1");
    let expected = "eu-west-1; fwd=us-east-1; policy=away; reason=named";
    assert_eq!(entry(&response), expected);
    let id = header(&response, "x-request-id").to_owned();
    assert_eq!(response.text().await.unwrap(), "us-east-1");

    let asked = scene.app(1).last();
    assert!(scene.app(0).asked().is_empty());
    assert_eq!(asked.target, "/app/b%20c?q=1&&x=%2F");
    assert_eq!(asked.field("x-request-id"), id);
    let port = scene.gateway(0).listen().port();
    let forwarded = format!("for=127.0.0.1;by=eu-west-1;host=\"127.0.0.1:{port}\";proto=http");
    assert_eq!(asked.field("forwarded"), forwarded);
    assert_eq!(asked.field("x-forwarded-for"), "127.0.0.1");
    assert_eq!(asked.field("x-forwarded-proto"), "http");
    let via = asked.field("via");
    assert!(via.starts_with("1.1 tidegate-eu-west-1-"), "{via}");
    assert!(via.contains(", 2 tidegate-us-east-1-"), "{via}");
    let route = "policy=away, region=us-east-1, proposed=us-east-1, reason=named";
    assert_eq!(asked.field("tidegate-route"), route);
    assert_eq!(asked.field("tidegate-deadline"), "");
    let line = scene.gateway(1).wait_for_log(&id).await.unwrap();
    assert!(line.contains("\"via\":\"eu-west-1\""), "{line}");
    assert!(line.contains("\"region_reason\":\"hop\""), "{line}");
    let answered = "tidegate_tunnel_requests_total{region=\"us-east-1\",outcome=\"answered\"}";
    assert!((scene.metric(answered).await - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn the_time_of_another_region_is_in_what_is_kept_and_written_of_a_request() {
    let mut scene = FleetScene::prepared(2, AWAY, CACHED, named).await;
    let way = Duration::from_millis(40);
    scene.lay_lines(|_, _| way).await;
    scene.start_all().await;
    for (id, path) in [("passed-1", "/app/x"), ("cached-1", "/cached/x")] {
        let request = scene.request(Method::GET, path);
        let response = request.header("X-Request-Id", id).send().await.unwrap();
        let timings = response.headers().get_all("server-timing").iter();
        let timings: Vec<_> = timings.map(|it| it.to_str().unwrap()).collect();
        assert!(timings.join(", ").contains("hand-on;dur="), "{timings:?}");
        assert_eq!(response.text().await.unwrap(), "us-east-1");
        let kept = format!("/admin/requests/{id}");
        let kept = scene.client.get(scene.gateway(0).admin_url(&kept));
        let kept: Value = kept.send().await.unwrap().json().await.unwrap();
        let millis = |name: &str| kept[name].as_f64().unwrap();
        assert!(millis("hand_on_ms") >= 79.0, "{kept}");
        let parts = ["route_ms", "wait_ms", "db_ms", "upstream_ms", "hand_on_ms"];
        let sum: f64 = parts.into_iter().map(millis).sum();
        assert!(sum <= millis("total_ms") + 0.1, "{kept}");
        let decided = ["policy", "proposed", "region", "region_reason"].map(|it| &kept[it]);
        let expected = ["away", "us-east-1", "us-east-1", "named"];
        assert_eq!(decided, expected, "{kept}");
    }
    let gateway = scene.gateway(0);
    gateway.wait_for_log("\"hand_on_ms\":").await.unwrap();
}

#[tokio::test]
async fn what_a_client_says_about_hops_is_dropped() {
    let scene = FleetScene::start(2, AWAY).await;
    let request = scene.request(Method::GET, "/app/x");
    let request = request
        .header("tidegate-deadline", "1")
        .header("tidegate-route", "policy=mine")
        .header("x-forwarded-for", "203.0.113.9")
        .header("x-consistency-token", "not-a-token");
    // Consistency is checked where the request enters, too.
    assert_eq!(request.send().await.unwrap().status(), 400);
    let request = scene.request(Method::GET, "/app/x");
    let request = request
        .header("tidegate-deadline", "1")
        .header("tidegate-route", "policy=mine")
        .header("tidegate-unprocessed", "overloaded")
        .header("x-forwarded-for", "203.0.113.9");
    assert_eq!(request.send().await.unwrap().status(), 200);
    let asked = scene.app(1).last();
    assert_eq!(asked.field("tidegate-unprocessed"), "");
    assert!(asked.field("tidegate-route").starts_with("policy=away"));
    assert_eq!(asked.field("x-forwarded-for"), "127.0.0.1");
}

#[tokio::test]
async fn what_an_application_says_about_hops_is_dropped() {
    let forging = |_region| {
        let said = [
            ("tidegate-unprocessed", "overloaded"),
            ("tidegate-status", "204"),
        ];
        axum::Router::new().fallback(move || async move { (said, "served") })
    };
    let scene = FleetScene::with(2, AWAY, "", forging).await;
    let response = scene.get("/app/x").await;
    assert_eq!(response.status(), 200);
    assert_eq!(serving(&response), "us-east-1");
    let mut names = response.headers().keys();
    assert!(!names.any(|name| name.as_str().starts_with("tidegate-")));
}

#[tokio::test]
async fn a_body_of_any_length_passes_both_ways() {
    let echo = |_region| {
        let echo = |body: axum::body::Body| async { body };
        axum::Router::new().fallback(echo)
    };
    let scene = FleetScene::with(2, AWAY, "", echo).await;
    for length in [0, 1, 60_000, 1_000_000] {
        let body: Vec<u8> = (0..length).map(|at: u32| at.to_le_bytes()[0]).collect();
        let request = scene.request(Method::POST, "/app/x").body(body.clone());
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(serving(&response), "us-east-1");
        assert_eq!(response.bytes().await.unwrap(), body);
    }
    let request = scene.request(Method::POST, "/app/x");
    let response = request.body(vec![0; 1_100_000]).send().await.unwrap();
    assert_eq!(response.status(), 413);
}

#[tokio::test]
async fn a_path_of_the_gateways_own_calls_is_an_ordinary_one_for_clients() {
    let all = "[[endpoint]]\nmethod = \"*\"\npath = \"/{*rest}\"\nupstream = \"${APP}\"\n";
    let scene = FleetScene::configured(2, AWAY, all).await;
    let drain = "/tidegate.fleet.v1.Health/Drain";
    let request = scene.request(Method::POST, drain);
    let request = request.header("content-type", "application/grpc");
    let response = request
        .body(vec![0, 0, 0, 0, 2, 8, 60])
        .send()
        .await
        .unwrap();
    assert_eq!(response.text().await.unwrap(), "us-east-1");
    assert_eq!(scene.app(1).last().target, drain);
    let view = scene.view(1).await;
    assert!(
        view.regions.iter().all(|it| it.drained_for_s == 0),
        "{view:?}"
    );
}

#[tokio::test]
async fn a_websocket_passes_as_an_extended_connect() {
    let echo = echo(AGREED).await;
    let url = format!("http://{}", echo.address);
    let endpoint =
        format!("[[endpoint]]\nmethod = \"GET\"\npath = \"/app/ws\"\nupstream = \"{url}\"\n");
    let mut scene = FleetScene::configured(2, AWAY, &endpoint).await;
    let mut raw = Raw(TcpStream::connect(scene.gateway(0).listen()).await.unwrap());
    raw.send(HANDSHAKE).await;
    let head = raw.read_until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(head.contains("consistency-status: us-east-1"), "{head}");
    assert!(head.contains("upgrade: websocket\r\n"), "{head}");
    assert!(
        head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        "{head}"
    );
    for text in ["one", "two"] {
        raw.send(text).await;
        assert_eq!(raw.read_until(text).await, text);
    }
    // It ends with its tunnel.
    scene.kill(1);
    assert_eq!(raw.read_to_end().await, "");
}

#[tokio::test]
async fn an_answer_for_all_clients_is_kept_where_requests_enter() {
    let scene = FleetScene::configured(2, AWAY, CACHED).await;
    let stored = "eu-west-1; level=eventual; node=upstream";
    for (result, described) in [("fwd=miss; stored", DESCRIBED_THERE), ("hit", stored)] {
        let response = scene.get("/cached/x").await;
        assert_eq!(response.status(), 200);
        let status = header(&response, "cache-status").to_owned();
        assert!(status.contains(result), "{status}");
        assert_eq!(header(&response, "consistency-status"), described);
        assert_eq!(response.text().await.unwrap(), "us-east-1");
    }
    assert_eq!(scene.app(1).asked().len(), 1);
    assert!(scene.app(0).asked().is_empty());
}

#[tokio::test]
async fn a_kept_answer_that_another_region_confirms_is_described_by_it() {
    let own_rules = "[[policy]]\npath = \"/own/*\"\nconsistency = \"eventual\"\n\
                     cache_control = \"application\"\n\
                     [[endpoint]]\nmethod = \"GET\"\npath = \"/own/{*rest}\"\nupstream = \"${APP}\"\n\
                     cache = true\n";
    let tagged = |_region| {
        let answer = |request: axum::extract::Request| async move {
            let fields = [("cache-control", "no-cache"), ("etag", "\"t\"")];
            match request.headers().contains_key("if-none-match") {
                true => (StatusCode::NOT_MODIFIED, fields, ""),
                false => (StatusCode::OK, fields, "served"),
            }
        };
        axum::Router::new().fallback(answer)
    };
    let scene = FleetScene::with(2, AWAY, own_rules, tagged).await;
    for _ in 0..2 {
        let response = scene.get("/own/x").await;
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "consistency-status"), DESCRIBED_THERE);
        assert_eq!(response.text().await.unwrap(), "served");
    }
    assert_eq!(scene.app(1).asked().len(), 2);
    assert_eq!(scene.app(1).last().field("if-none-match"), "\"t\"");
}

#[tokio::test]
async fn all_requests_that_wait_for_an_answer_from_elsewhere_say_who_has_served() {
    let gate = Arc::new(Semaphore::new(0));
    let gated = |region| {
        let gate = Arc::clone(&gate);
        let answer = move || {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.unwrap().forget();
                region
            }
        };
        axum::Router::new().fallback(answer)
    };
    let scene = FleetScene::with(2, AWAY, CACHED, gated).await;
    let asked = join_all((0..3).map(|_| scene.get("/cached/x")));
    let release = async {
        until("two follow", DEADLINE, async || {
            let waiting = scene.metric("tidegate_cache_waiting ").await;
            Ok((waiting > 1.5).then_some(()))
        })
        .await
        .unwrap();
        gate.add_permits(1);
    };
    let (answers, ()) = tokio::join!(asked, release);
    let mut collapsed = 0;
    for answer in &answers {
        assert_eq!(header(answer, "consistency-status"), DESCRIBED_THERE);
        collapsed += usize::from(header(answer, "cache-status").ends_with("; collapsed"));
    }
    assert_eq!((collapsed, scene.app(1).asked().len()), (2, 1));
    let times = "tidegate_level_duration_seconds_count{level=\"eventual\",served=\"elsewhere\"}";
    assert!((scene.metric(times).await - 3.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn gateways_that_hand_the_same_path_to_each_other_do_not_wait_for_each_other() {
    let slow = |region| {
        let answer = move || async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            region
        };
        axum::Router::new().fallback(answer)
    };
    let brief = format!("[server]\nrequest_deadline = \"4s\"\n{CACHED}");
    let mut scene = FleetScene::with(2, AWAY, &brief, slow).await;
    scene
        .restart_others("policy back { prefer eu-west-1 | local }\n")
        .await;
    let asked = (0..10).flat_map(|path| {
        let ask = |at| {
            scene
                .client
                .get(scene.gateway(at).url(&format!("/cached/{path}")))
        };
        [ask(0).send(), ask(1).send()]
    });
    for answer in join_all(asked).await {
        assert_eq!(answer.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_handshake_that_is_answered_without_an_upgrade_is_an_ordinary_answer() {
    let plain = |_region| axum::Router::new().fallback(|| async { "answered plainly" });
    let scene = FleetScene::with(2, AWAY, "", plain).await;
    for _ in 0..6 {
        let mut raw = Raw(TcpStream::connect(scene.gateway(0).listen()).await.unwrap());
        raw.send(HANDSHAKE).await;
        let answer = raw.read_until("answered plainly").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(!answer.contains("tidegate-status"), "{answer}");
        assert!(answer.contains("consistency-status: us-east-1"), "{answer}");
    }
    assert!(scene.app(0).asked().is_empty());
    let answered = "tidegate_tunnel_requests_total{region=\"us-east-1\",outcome=\"answered\"}";
    assert!((scene.metric(answered).await - 6.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn the_gateway_that_serves_authenticates() {
    let private = "[[endpoint]]\nmethod = \"GET\"\npath = \"/private\"\nauth = \"jwt\"\nupstream = \"${APP}\"\n";
    let scene = FleetScene::configured(2, AWAY, private).await;
    let refused = scene.get("/private").await;
    assert_eq!(serving(&refused), "us-east-1");
    problem(refused, 401, "unauthorized").await;
    let token = crate::world::jwt("1").await;
    let response = scene.request(Method::GET, "/private").bearer_auth(token);
    let response = response.send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), serving(&response)),
        (200, "us-east-1")
    );
}
