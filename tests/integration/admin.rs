//! The admin listener is not for websites, and its writes are not for whoever reaches it.

use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use tidegate::testkit::{Cluster, GatewayCommand};

use crate::world::{BINARY, World, configured, gateway_of, header, problem};

const FILE: &str = "[admin]\nhosts = ['gateway.internal']\n\
                    [[endpoint]]\nmethod = 'GET'\npath = '/one'\nsql = 'select 1 as one'\n";
const DRAIN: &str = "/admin/nodes/primary/drain";

async fn world(adapt: impl FnOnce(GatewayCommand) -> GatewayCommand) -> World {
    let cluster = Cluster::start(0).await.unwrap();
    let gateway = configured(&cluster, adapt(gateway_of(&cluster)), FILE);
    World::over(cluster, gateway).await
}

impl World {
    fn admin(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.gateway.admin_url(path))
    }

    async fn drain(&self, headers: &[(&str, &str)]) -> Response {
        let request = self.admin(Method::POST, DRAIN);
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        request.send().await.unwrap()
    }
}

#[tokio::test]
async fn no_website_can_drain_or_purge_through_an_operators_browser() {
    let world = world(|gateway| gateway).await;
    let own = format!("http://{}", world.gateway.admin());
    for headers in [
        &[("origin", "https://evil.example")][..],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "cross-site"), ("origin", &own)],
    ] {
        problem(world.drain(headers).await, 403, "forbidden").await;
    }
    let purge = world.admin(Method::POST, "/admin/cache/purge?prefix=/");
    let purged = purge.header("origin", "null").send().await.unwrap();
    problem(purged, 403, "forbidden").await;
    for path in ["/", "/admin/topology", DRAIN] {
        for method in [Method::GET, Method::POST] {
            let request = world.admin(method, path).header("host", "rebound.example");
            problem(request.send().await.unwrap(), 421, "misdirected").await;
        }
    }
    // Nothing of that was done, and operators can do it.
    let topology = world.admin(Method::GET, "/admin/topology");
    let topology = topology.header("host", "gateway.internal:80").send().await;
    let topology = topology.unwrap().text().await.unwrap();
    assert!(!topology.contains("drained"), "{topology}");
    for headers in [
        &[][..],
        &[("origin", &*own), ("sec-fetch-site", "same-origin")],
    ] {
        assert_eq!(world.drain(headers).await.status(), 200);
    }
}

#[tokio::test]
async fn probes_and_metrics_are_for_any_host_and_every_answer_says_how_it_may_be_used() {
    let world = world(|gateway| gateway).await;
    for (path, status) in [
        ("/metrics", 200),
        ("/livez", 200),
        ("/readyz", 200),
        ("/nowhere", 421),
        ("/admin/topology", 421),
    ] {
        let request = world.admin(Method::GET, path).header("host", "elsewhere");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
        let policy = header(&answer, "cross-origin-resource-policy");
        assert_eq!(
            policy,
            if path == "/metrics" {
                ""
            } else {
                "same-origin"
            }
        );
    }
    let unknown = world.admin(Method::GET, "/nowhere").send().await.unwrap();
    assert_eq!(header(&unknown, "x-content-type-options"), "nosniff");
    let invalid = world.admin(Method::GET, "/metrics").header("host", "a b");
    problem(invalid.send().await.unwrap(), 400, "invalid-parameter").await;
}

#[tokio::test]
async fn an_unknown_path_or_method_is_a_problem_on_every_route() {
    let world = world(|gateway| gateway).await;
    for path in ["/nowhere", "/admin/", "/admin/nowhere", "/admin/requests/"] {
        let unknown = world.admin(Method::GET, path).send().await.unwrap();
        problem(unknown, 404, "not-found").await;
    }
    // A name that is not text is the name of nothing.
    for path in [
        "/admin/nodes/%ff/drain",
        "/admin/nodes/%ff/undrain",
        "/admin/upstreams/%ff/nodes/a/drain",
        "/admin/upstreams/a/nodes/%ff/undrain",
        "/admin/regions/%ff/drain?for=1m",
        "/admin/regions/%ff/undrain",
    ] {
        let unknown = world.admin(Method::POST, path).send().await.unwrap();
        problem(unknown, 404, "not-found").await;
    }
    for query in [
        "for=1m&for=2m",
        "for=%ff",
        "for=1m&force=2",
        "for=1m&x=1",
        "",
    ] {
        let path = format!("/admin/regions/us-east-1/drain?{query}");
        let refused = world.admin(Method::POST, &path).send().await.unwrap();
        problem(refused, 400, "invalid-parameter").await;
    }
    // Nodes have none: one that was ignored would drain them for longer than was meant.
    for path in [
        "nodes/primary/drain?for=1m",
        "nodes/primary/drain?for=1m&for=2m",
        "nodes/primary/undrain?x",
        "upstreams/a/nodes/b/drain?for=1m",
        "upstreams/a/nodes/b/undrain?for=1m",
        "regions/us-east-1/undrain?for=1m",
    ] {
        let refused = world.admin(Method::POST, &format!("/admin/{path}"));
        problem(refused.send().await.unwrap(), 400, "invalid-parameter").await;
    }
    let topology = world.admin(Method::GET, "/admin/topology").send().await;
    let topology = topology.unwrap().text().await.unwrap();
    assert!(!topology.contains("drained by an operator"), "{topology}");
    for (method, path, allow) in [
        (Method::POST, "/admin/topology", "GET, HEAD"),
        (Method::DELETE, "/admin/requests/a", "GET, HEAD"),
        (Method::POST, "/metrics", "GET, HEAD"),
        (Method::POST, "/livez", "GET, HEAD"),
        (Method::POST, "/", "GET, HEAD"),
        (Method::POST, "/admin/events", "GET, HEAD"),
        (Method::GET, DRAIN, "POST"),
        (Method::PUT, "/admin/cache/purge", "POST"),
    ] {
        let refused = world.admin(method, path).send().await.unwrap();
        assert_eq!(header(&refused, "allow"), allow, "{path}");
        problem(refused, 405, "method-not-allowed").await;
    }
}

/// What is kept of a request.
async fn kept(world: &World, id: &str) -> Value {
    let answer = world.admin(Method::GET, &format!("/admin/requests/{id}"));
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.status(), 200, "{id}");
    answer.json().await.unwrap()
}

#[tokio::test]
async fn a_request_is_found_by_its_id_without_anything_that_its_client_has_sent() {
    let world = world(|gateway| gateway).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let request = world.request(Method::GET, "/one?secret=hush");
    let request = request
        .header("X-Request-Id", "kept-1")
        .header("X-Consistency", "strong")
        .header("Cookie", "hush")
        .header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"));
    assert_eq!(request.send().await.unwrap().status(), 200);
    let found = kept(&world, "kept-1").await;
    for (field, value) in [
        ("request_id", "kept-1"),
        ("trace_id", trace),
        ("method", "GET"),
        ("endpoint", "/one"),
        ("level", "strong"),
        ("node", "primary"),
        ("reason", "strong"),
    ] {
        assert_eq!(found[field], value, "{found}");
    }
    assert_eq!(found["status"], 200);
    assert_eq!(found["staleness_s"], 0.0);
    assert!(found["problem"].is_null() && found["span_id"].is_null());
    assert!(found["total_ms"].as_f64().is_some_and(|it| it > 0.0));
    assert!(!found.to_string().contains("hush"), "{found}");

    let lost = world.get("/nowhere").await;
    let found = kept(&world, header(&lost, "x-request-id")).await;
    assert_eq!(
        (&found["status"], &found["problem"]),
        (&404.into(), &"not-found".into())
    );
    assert_eq!(found["endpoint"], "unmatched");
}

#[tokio::test]
async fn an_id_that_is_not_kept_is_not_found_and_probes_are_not_kept() {
    let world = world(|gateway| gateway).await;
    let probe = world.get("/health/live").await;
    for id in ["never-seen", "%ff", "a%2Fb", header(&probe, "x-request-id")] {
        let request = world.admin(Method::GET, &format!("/admin/requests/{id}"));
        let detail = problem(request.send().await.unwrap(), 404, "not-found").await;
        assert!(detail.contains("this id"), "{detail}");
    }
}

#[tokio::test]
async fn no_more_requests_are_kept_than_the_setting_says() {
    let two = "[observe]
requests_kept = 2
";
    let none = "[observe]
requests_kept = 0
";
    for (file, found) in [(two, [404, 200, 200]), (none, [404; 3])] {
        let world = World::alone(&format!("{FILE}{file}")).await;
        for id in ["a", "b", "c"] {
            world.get_with("/one", "X-Request-Id", id).await;
        }
        for (id, status) in ["a", "b", "c"].into_iter().zip(found) {
            let request = world.admin(Method::GET, &format!("/admin/requests/{id}"));
            assert_eq!(request.send().await.unwrap().status(), status, "{id}");
        }
    }
}

#[tokio::test]
async fn with_a_token_every_write_needs_it_and_no_read() {
    let world = world(|gateway| gateway.env("ADMIN_TOKEN", "a-token-for-tests")).await;
    for authorization in ["", "Bearer other", "Basic a-token-for-tests"] {
        let answer = world.drain(&[("authorization", authorization)]).await;
        assert!(header(&answer, "www-authenticate").starts_with("Bearer"));
        problem(answer, 401, "unauthorized").await;
    }
    let right = [("authorization", "Bearer a-token-for-tests")];
    assert_eq!(world.drain(&right).await.status(), 200);
    let top = |token| {
        let top = GatewayCommand::new(BINARY, "top").arg("--once");
        let top = top.arg("--admin").arg(world.gateway.admin().to_string());
        top.arg("--token").arg(token)
    };
    let output = top("a-token-for-tests").output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!world.gateway.log().contains("a-token-for-tests"));
}

#[tokio::test]
async fn without_a_token_nothing_is_written_but_on_loopback_and_a_warning_names_the_variable() {
    let world = world(|gateway| gateway.env("ADMIN_ADDR", "0.0.0.0:0")).await;
    world
        .gateway
        .wait_for_log("ADMIN_TOKEN is not set")
        .await
        .unwrap();
    let detail = problem(world.drain(&[]).await, 403, "forbidden").await;
    assert!(detail.contains("ADMIN_TOKEN"), "{detail}");
    let topology = world.admin(Method::GET, "/admin/topology");
    assert_eq!(topology.send().await.unwrap().status(), 200);
}
