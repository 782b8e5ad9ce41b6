//! Which parts of a request reach the application, and which parts of its answer reach the client.

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::response::IntoResponse;
use axum::routing::{any, get, post};
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use super::kit::{App, Edge, endpoint, with_fields};
use crate::world::{header, jwt, problem};

async fn echoing() -> App {
    let echo = |body: Bytes| async move { body };
    App::serve(Router::new().fallback(echo)).await
}

#[tokio::test]
async fn the_whole_path_the_query_and_the_body_reach_the_application() {
    let app = echoing().await;
    let edge = Edge::before(&app, "").await;
    let sent = edge
        .request(
            Method::PATCH,
            "/app/a%20b/%C3%A9/100%25/x;y=1/?q=%2F&q=a+b&&=",
        )
        .body("a body");
    let response = sent.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.text().await.unwrap(), "a body");
    let asked = app.last();
    assert_eq!(asked.method, Method::PATCH);
    assert_eq!(
        asked.target,
        "/app/a%20b/%C3%A9/100%25/x;y=1/?q=%2F&q=a+b&&="
    );
    assert_eq!(asked.field("host"), app.address.to_string());
    assert_eq!(asked.field("content-length"), "6");
}

#[tokio::test]
async fn a_path_of_the_nodes_own_comes_before_the_requests() {
    let app = echoing().await;
    let url = format!("{}/base/", app.url());
    let edge = Edge::start(&endpoint("GET", "/app/{id}", &url)).await;
    edge.get("/app/7?x=1").await;
    assert_eq!(app.last().target, "/base/app/7?x=1");
    let response = edge.request(Method::POST, "/app/7").send().await.unwrap();
    assert_eq!(header(&response, "allow"), "GET, HEAD, OPTIONS");
    problem(response, 405, "method-not-allowed").await;
    assert_eq!(app.asked().len(), 1);
}

#[tokio::test]
async fn no_spelling_of_a_target_leads_elsewhere() {
    let app = echoing().await;
    let edge = Edge::before(&app, "").await;
    for target in [
        "/app/../admin",
        "/app/%2e%2e/admin",
        "/app/..%2fadmin",
        "/app/x/..;/admin",
        "/app/..;a=b/admin",
        "/app//evil.example/",
        "/app/\\evil.example",
        "/app/%00",
        "/app/%",
    ] {
        let mut raw = edge.connect().await;
        raw.send(format!(
            "GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        ))
        .await;
        let answer = raw.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{target}: {answer}");
    }
    assert!(app.asked().is_empty());
    let mut raw = edge.connect().await;
    raw.send(
        "GET http://evil.example:81/app/x HTTP/1.1\r\nhost: other\r\nconnection: close\r\n\r\n",
    )
    .await;
    let answer = raw.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let asked = app.last();
    assert_eq!(asked.field("host"), app.address.to_string());
    assert_eq!(asked.field("x-forwarded-host"), "evil.example:81");
}

#[tokio::test]
async fn trace_and_connect_go_nowhere_and_other_methods_do() {
    let app = echoing().await;
    let edge = Edge::before(&app, "").await;
    for method in ["TRACE", "CONNECT"] {
        let mut raw = edge.connect().await;
        raw.send(format!(
            "{method} /app/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        ))
        .await;
        let answer = raw.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{method}: {answer}");
    }
    assert!(app.asked().is_empty());
    for method in ["OPTIONS", "DELETE", "PROPFIND"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let response = edge.request(method.clone(), "/app/x").send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(app.last().method, method);
    }
}

#[tokio::test]
async fn fields_of_one_connection_and_those_that_only_the_gateway_may_say_do_not_pass() {
    let app = echoing().await;
    let edge = Edge::before(&app, "").await;
    let mut raw = edge.connect().await;
    raw.send(
        "GET /app/x HTTP/1.1\r\nHost: app.example\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n\
         Keep-Alive: timeout=9\r\nTE: trailers\r\nTrailer: x\r\nUpgrade: h2c\r\nHTTP2-Settings: a\r\n\
         Proxy-Authorization: Basic x\r\nProxy-Connection: close\r\nProxy: http://evil\r\n\
         X-Route-Primary: false\r\nX_Route_Primary: false\r\nX-Database-Role: replica\r\n\
         X_Database_Role: replica\r\nX-Origin-Verify: secret\r\nX-Original-URL: /admin\r\n\
         X-HTTP-Method-Override: DELETE\r\nForwarded: for=1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\n\
         X-Forwarded-Proto: https\r\nX-Real-IP: 1.1.1.1\r\nExpect: 100-continue\r\n\
         X-Request-Id: id-1\r\nX-Kept: yes\r\n\r\n",
    )
    .await;
    let answer = raw.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let asked = app.last();
    let mut names: Vec<_> = asked.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    let expected = [
        "accept",
        "forwarded",
        "host",
        "http2-settings",
        "traceparent",
        "via",
        "x-consistency",
        "x-database-role",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-kept",
        "x-request-id",
        "x-route-primary",
    ];
    assert_eq!(names, expected);
    assert_eq!(asked.field("x-request-id"), "id-1");
    assert_eq!(asked.field("x-route-primary"), "true");
    assert_eq!(asked.field("x-database-role"), "primary");
    assert_eq!(asked.field("x-forwarded-for"), "127.0.0.1");
    assert_eq!(asked.field("x-forwarded-proto"), "http");
    let forwarded = "for=127.0.0.1;host=\"app.example\";proto=http";
    assert_eq!(asked.field("forwarded"), forwarded);
    let via = asked.field("via");
    assert!(via.starts_with("1.1 tidegate-eu-west-1-"), "{via}");
}

#[tokio::test]
async fn a_trusted_proxys_chain_is_passed_on() {
    let app = echoing().await;
    let trusted = "[server]\ntrusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\n";
    let edge = Edge::before(&app, trusted).await;
    let request = edge
        .request(Method::GET, "/app/x")
        .header("X-Forwarded-For", "198.51.100.9, 203.0.113.7, 10.0.0.1")
        .header("X-Forwarded-Proto", "https");
    request.send().await.unwrap();
    let asked = app.last();
    let chain = "198.51.100.9, 203.0.113.7, 10.0.0.1, 127.0.0.1";
    assert_eq!(asked.field("x-forwarded-for"), chain);
    assert_eq!(asked.field("x-forwarded-proto"), "https");
    let forwarded = asked.field("forwarded");
    assert!(
        forwarded.starts_with("for=203.0.113.7;host="),
        "{forwarded}"
    );
}

#[tokio::test]
async fn a_trace_is_passed_on_or_started_and_logged() {
    let app = echoing().await;
    let edge = Edge::before(&app, "").await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = edge.request(Method::GET, "/app/x");
    let request = request
        .header("traceparent", trace)
        .header("tracestate", "a=b");
    request.send().await.unwrap();
    assert_eq!(app.last().field("traceparent"), trace);
    assert_eq!(app.last().field("tracestate"), "a=b");
    let request = edge.request(Method::GET, "/app/x");
    let request = request
        .header("traceparent", "junk")
        .header("tracestate", "a=b");
    request.send().await.unwrap();
    let started = app.last().field("traceparent");
    assert_eq!(app.last().field("tracestate"), "");
    let id = started.split('-').nth(1).unwrap();
    edge.gateway.wait_for_log(id).await.unwrap();
}

#[tokio::test]
async fn no_connection_field_removes_what_the_gateway_says() {
    let app = echoing().await;
    let edge = Edge::before(&app, "").await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let mut raw = edge.connect().await;
    raw.send(format!(
        "GET /app/x HTTP/1.1\r\nHost: a\r\nX-Request-Id: id-1\r\nX_Request_Id: id-2\r\n\
         traceparent: 00-{trace}-b7ad6b7169203331-01\r\nConnection: close, X-Request-Id, Via\r\n\
         Connection: traceparent, X-Forwarded-For, Forwarded, X-Consistency, X-Database-Role\r\n\r\n"
    ))
    .await;
    let answer = raw.read_to_end().await;
    assert!(answer.contains("\r\nx-request-id: id-1\r\n"), "{answer}");
    let asked = app.last();
    assert_eq!(asked.field("x-request-id"), "id-1");
    assert_eq!(asked.field("x_request_id"), "");
    assert_eq!(asked.field("x-forwarded-for"), "127.0.0.1");
    assert_eq!(asked.field("x-consistency"), "strong");
    assert_eq!(asked.field("x-database-role"), "primary");
    assert!(asked.field("traceparent").contains(trace));
    for name in ["via", "forwarded"] {
        assert_ne!(asked.field(name), "", "{name}");
    }
}

#[tokio::test]
async fn one_trace_is_handed_on_however_many_came() {
    let app = echoing().await;
    let edge = Edge::before(&app, "").await;
    let (one, two) = ("1".repeat(32), "2".repeat(32));
    let field = |version: &str, trace: &str, more: &str| {
        format!("{version}-{trace}-b7ad6b7169203331-01{more}")
    };
    for (fields, kept) in [
        (vec![field("00", &one, ""), field("00", &two, "")], None),
        (vec![field("00", &one, ""), field("00", &one, "")], None),
        (vec![field("01", &one, "")], Some(&one)),
        (vec![field("cc", &one, "-more")], Some(&one)),
        (vec![field("cc", &one, ".more")], None),
        (vec![field("ff", &one, "")], None),
    ] {
        let mut request = edge.request(Method::GET, "/app/x");
        for field in &fields {
            request = request.header("traceparent", field);
        }
        request.header("tracestate", "a=b").send().await.unwrap();
        let asked = app.last();
        let lines = asked.headers.get_all("traceparent").iter().count();
        assert_eq!(lines, 1, "{fields:?}");
        let handed_on = asked.field("traceparent");
        assert!(
            handed_on.starts_with("00-") && handed_on.len() == 55,
            "{handed_on}"
        );
        match kept {
            Some(trace) => assert!(handed_on.contains(trace.as_str()), "{handed_on}"),
            None => assert!(!handed_on.contains(&one) && !handed_on.contains(&two)),
        }
        assert_eq!(
            asked.field("tracestate").is_empty(),
            kept.is_none(),
            "{fields:?}"
        );
    }
}

#[tokio::test]
async fn redirects_go_to_the_client() {
    let target = "http://127.0.0.1:1/elsewhere";
    let redirect = || async { axum::response::Redirect::temporary("http://127.0.0.1:1/elsewhere") };
    let app = App::serve(Router::new().fallback(redirect)).await;
    let edge = Edge::before(&app, "").await;
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let client = client.build().unwrap();
    let response = client.get(edge.gateway.url("/app/x")).send().await.unwrap();
    assert_eq!(response.status(), 307);
    assert_eq!(header(&response, "location"), target);
    assert_eq!(app.asked().len(), 1);
}

#[tokio::test]
async fn a_redirect_to_the_nodes_own_address_is_one_that_clients_can_follow() {
    let redirect = |headers: HeaderMap| async move {
        let host = headers["host"].to_str().unwrap();
        axum::response::Redirect::to(&format!("http://{host}/base/app/y?a=b"))
    };
    let app = App::serve(Router::new().fallback(redirect)).await;
    let url = format!("{}/base", app.url());
    let edge = Edge::start(&endpoint("GET", "/app/{id}", &url)).await;
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let client = client.build().unwrap();
    let response = client.get(edge.gateway.url("/app/x")).send().await.unwrap();
    assert_eq!(header(&response, "location"), "/app/y?a=b");
}

#[tokio::test]
async fn a_request_over_http_2_arrives_as_one_over_http_1() {
    let app = echoing().await;
    let edge = Edge::before(&app, "").await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build();
    let request = client.unwrap().post(edge.gateway.url("/app/x"));
    let request = request.header("cookie", "a=1").header("cookie", "b=2");
    let response = request.body("a body").send().await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
    assert_eq!(response.text().await.unwrap(), "a body");
    let asked = app.last();
    assert_eq!(asked.field("cookie"), "a=1; b=2");
    assert_eq!(asked.headers.get_all("cookie").iter().count(), 1);
    let via = asked.field("via");
    assert!(via.starts_with("2 tidegate-eu-west-1-"), "{via}");
    let host = edge.gateway.listen().to_string();
    assert_eq!(asked.field("x-forwarded-host"), host);
}

#[tokio::test]
async fn answers_without_a_body_stay_as_they_are() {
    let sized = || async { with_fields(&[("etag", "\"a\"")]) };
    let status = |Path(code): Path<u16>| async move {
        let mut response = StatusCode::from_u16(code).unwrap().into_response();
        response.headers_mut().remove("content-length");
        response
    };
    let chunked = || async {
        let pieces = ["a", "b"].map(Ok::<_, std::io::Error>);
        axum::body::Body::from_stream(futures_util::stream::iter(pieces))
    };
    let app = Router::new()
        .route("/app/sized", get(sized))
        .route("/app/chunked", get(chunked))
        .route("/app/status/{code}", any(status));
    let app = App::serve(app).await;
    let edge = Edge::before(&app, "").await;
    for (request, fields, body) in [
        ("HEAD /app/sized", "content-length: 6\r\n", ""),
        ("GET /app/sized", "content-length: 6\r\n", "answer"),
        ("GET /app/status/204", "HTTP/1.1 204", ""),
        ("GET /app/status/304", "HTTP/1.1 304", ""),
        (
            "GET /app/chunked",
            "transfer-encoding: chunked",
            "1\r\na\r\n1\r\nb\r\n0\r\n\r\n",
        ),
    ] {
        let mut raw = edge.connect().await;
        raw.send(format!(
            "{request} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        ))
        .await;
        let answer = raw.read_to_end().await;
        let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            format!("{head}\r\n").contains(fields),
            "{request}: {answer}"
        );
        assert_eq!(rest, body, "{request}");
        let empty = request.contains("/status/") || request.starts_with("HEAD /app/chunked");
        assert!(!(empty && head.contains("content-length: 0")), "{answer}");
    }
    let head = edge
        .request(Method::HEAD, "/app/chunked")
        .send()
        .await
        .unwrap();
    assert_eq!(header(&head, "content-length"), "");
}

#[tokio::test]
async fn fields_of_an_answer_that_only_the_gateway_may_say_do_not_pass() {
    let answer = || async {
        with_fields(&[
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("consistency-status", "lie"),
            ("x-route-primary", "true"),
            ("x-database-role", "primary"),
            ("x-consistency", "strong"),
            ("x-consistency-token", "lie"),
            ("x-request-id", "other"),
            ("cache-control", "public, max-age=9"),
            ("cdn-cache-control", "max-age=9"),
            ("expires", "Thu, 01 Jan 2099 00:00:00 GMT"),
            ("x-kept", "1"),
            ("server-timing", "app;dur=1"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
        ])
    };
    let app = App::serve(Router::new().fallback(answer)).await;
    let edge = Edge::before(&app, "").await;
    let response = edge.get("/app/x").await;
    for absent in [
        "x-hop",
        "keep-alive",
        "x-route-primary",
        "x-database-role",
        "x-consistency",
        "x-consistency-token",
        "cdn-cache-control",
        "expires",
    ] {
        assert_eq!(header(&response, absent), "", "{absent}");
    }
    assert_eq!(header(&response, "x-kept"), "1");
    assert_eq!(header(&response, "cache-control"), "no-store, private");
    assert_eq!(
        header(&response, "consistency-status"),
        "eu-west-1; level=strong; node=upstream"
    );
    assert_ne!(header(&response, "x-request-id"), "other");
    assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
    let timings = response.headers().get_all("server-timing");
    assert_eq!(timings.iter().count(), 2);
}

#[tokio::test]
async fn a_bearer_is_checked_before_anything_is_sent_and_handed_on() {
    let app = echoing().await;
    let file = endpoint("*", "/app/{*rest}", &app.url()) + "auth = \"jwt\"\n";
    let edge = Edge::start(&file).await;
    problem(edge.get("/app/x").await, 401, "unauthorized").await;
    let forged = edge.request(Method::POST, "/app/x").bearer_auth("a.b.c");
    problem(forged.send().await.unwrap(), 401, "unauthorized").await;
    assert!(app.asked().is_empty());
    let jwt = jwt("alice").await;
    let request = edge.request(Method::GET, "/app/x").bearer_auth(&jwt);
    assert_eq!(request.send().await.unwrap().status(), 200);
    assert_eq!(app.last().field("authorization"), format!("Bearer {jwt}"));
}

#[tokio::test]
async fn the_log_and_the_metrics_name_upstream_and_node() {
    let app = App::serve(Router::new().route("/app/x", post(|| async { "x" }))).await;
    let edge = Edge::before(&app, "").await;
    edge.request(Method::POST, "/app/x").send().await.unwrap();
    let line = edge.gateway.wait_for_log("tidegate::access").await.unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["upstream"], app.url());
    assert_eq!(line["node"], app.address.to_string());
    assert!(line["upstream_ms"].as_f64().unwrap() > 0.0);
    let labels = format!("upstream=\"{}\",node=\"{}\"", app.url(), app.address);
    let series = format!("tidegate_upstream_requests_total{{{labels},outcome=\"answered\"}}");
    assert_eq!(edge.metric(&series).await, 1.0);
    let series = format!("tidegate_upstream_duration_seconds_count{{{labels}}}");
    assert_eq!(edge.metric(&series).await, 1.0);
}
