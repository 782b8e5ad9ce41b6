//! An upstream that leads back to the gateway.

use http::Method;

use super::kit::{App, Edge, endpoint};

const PUBLIC: &str = r#"
[[policy]]
path = "/kept/*"
consistency = "eventual"
cache_control = "public, max-age=60"
"#;

/// A gateway that is its own upstream, below `/app/` and, with the cache, below `/kept/`.
async fn edge() -> Edge {
    let edge = Edge::start("").await;
    let url = format!("http://{}", edge.gateway.listen());
    let rest = endpoint("*", "/app/{*rest}", &url);
    let kept = endpoint("GET", "/kept/{*rest}", &url);
    edge.reload(&format!("{PUBLIC}\n{rest}\n{kept}cache = true\n"))
        .await;
    edge
}

#[tokio::test]
async fn a_request_goes_round_once_and_no_further() {
    let edge = edge().await;
    for (method, path) in [
        (Method::GET, "/app/x"),
        (Method::POST, "/app/x"),
        (Method::DELETE, "/app/x"),
        (Method::GET, "/kept/x"),
    ] {
        let response = edge.request(method.clone(), path).send().await.unwrap();
        assert_eq!(response.status(), 508, "{method} {path}");
        let body = response.text().await.unwrap();
        assert!(body.contains("/problems/loop-detected\""), "{body}");
        let template = path.replace('x', "{*rest}");
        let labels = format!("endpoint=\"{template}\",method=\"{method}\",status=\"508\"");
        let series = format!("tidegate_requests_total{{{labels}}}");
        // The client's, and the one that came back.
        assert_eq!(edge.metric(&series).await, 2.0, "{method} {path}");
    }
}

#[tokio::test]
async fn another_gateway_on_the_way_is_no_loop() {
    let app = App::answering(200, "app").await;
    let inner = Edge::before(&app, "").await;
    let url = format!("http://{}", inner.gateway.listen());
    let outer = Edge::start(&endpoint("*", "/app/{*rest}", &url)).await;
    let request = outer.request(Method::GET, "/app/x");
    let response = request.header("Via", "1.1 tidegate").send().await.unwrap();
    assert_eq!(response.status(), 200);
    let via = app.last().field("via");
    assert_eq!(via.matches("tidegate-eu-west-1-").count(), 2, "{via}");
}
