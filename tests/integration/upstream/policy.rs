//! Policy rows apply to upstreams as to SQL.

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, Method, StatusCode};

use super::kit::{App, Edge, with_fields};
use crate::world::{header, told};

const POLICIES: &str = r#"
[[policy]]
path = "/app/public/*"
consistency = "eventual"
cache_control = "public, max-age=60"
[[policy]]
path = "/app/account/*"
consistency = "bounded;max-staleness=2"
"#;

async fn app() -> App {
    let status = |Path((_, code)): Path<(String, u16)>| async move {
        let mut response: Response = with_fields(&[
            ("cache-control", "max-age=7"),
            ("vary", "Accept-Encoding"),
            ("set-cookie", "a=1"),
        ]);
        *response.status_mut() = StatusCode::from_u16(code).unwrap();
        response.into_response()
    };
    App::serve(Router::new().route("/app/{kind}/{code}", get(status).post(status))).await
}

#[tokio::test]
async fn cache_control_is_the_rows_and_no_store_where_nothing_may_be_kept() {
    let app = app().await;
    let edge = Edge::before(&app, POLICIES).await;
    let public = "public, max-age=60";
    let none = "no-store, private";
    for (path, cache) in [
        ("/app/public/200", public),
        ("/app/public/304", public),
        ("/app/public/206", none),
        ("/app/public/404", none),
        ("/app/public/500", none),
        ("/app/account/200", none),
        ("/app/other/200", none),
    ] {
        let response = edge.get(path).await;
        assert_eq!(header(&response, "cache-control"), cache, "{path}");
        let shared = cache == public;
        assert_eq!(header(&response, "set-cookie").is_empty(), shared, "{path}");
        let vary: Vec<_> = response.headers().get_all("vary").iter().collect();
        let mut expected = vec!["Accept-Encoding"];
        if path.contains("public") {
            expected.push("X-Consistency, X-Consistency-Token");
        }
        assert_eq!(vary, expected, "{path}");
    }
    let post = edge
        .request(Method::POST, "/app/public/200")
        .send()
        .await
        .unwrap();
    assert_eq!(header(&post, "cache-control"), none);
    for (name, value) in [
        ("X-Consistency", "eventual"),
        ("X-Consistency", "strong"),
        ("Authorization", "Bearer x"),
    ] {
        let request = edge.request(Method::GET, "/app/public/200");
        let response = request.header(name, value).send().await.unwrap();
        assert_eq!(header(&response, "cache-control"), none, "{name}: {value}");
    }
}

#[tokio::test]
async fn what_everybody_may_be_given_depends_on_nobodys_cookie() {
    let app = app().await;
    let edge = Edge::before(&app, POLICIES).await;
    for (path, passed) in [("/app/public/200", ""), ("/app/account/200", "id=alice")] {
        let request = edge.request(Method::GET, path).header("Cookie", "id=alice");
        request.send().await.unwrap();
        assert_eq!(app.last().field("cookie"), passed, "{path}");
    }
}

#[tokio::test]
async fn the_decision_is_handed_on() {
    let app = app().await;
    let edge = Edge::before(&app, POLICIES).await;
    for (method, path, stated, level, primary) in [
        (Method::GET, "/app/public/200", "", "eventual", ""),
        (Method::GET, "/app/public/200", "session", "session", ""),
        (Method::GET, "/app/public/200", "strong", "strong", "true"),
        (
            Method::GET,
            "/app/account/200",
            "",
            "bounded;max-staleness=2",
            "",
        ),
        (
            Method::GET,
            "/app/account/200",
            "bounded;max-staleness=0.5",
            "bounded;max-staleness=0.5",
            "",
        ),
        (Method::GET, "/app/other/200", "", "strong", "true"),
        (Method::POST, "/app/public/200", "", "strong", "true"),
    ] {
        let mut request = edge.request(method, path);
        if !stated.is_empty() {
            request = request.header("X-Consistency", HeaderValue::from_static(stated));
        }
        let response = request.send().await.unwrap();
        let asked = app.last();
        assert_eq!(asked.field("x-consistency"), level, "{path}");
        assert_eq!(asked.field("x-route-primary"), primary, "{path}");
        // Nothing is known of any replica.
        assert_eq!(asked.field("x-database-role"), "primary");
        assert_eq!(told(&response, "level"), level.split(';').next().unwrap());
        assert_eq!(told(&response, "staleness"), "");
        assert_eq!(header(&response, "x-route-primary"), "");
    }
}

#[tokio::test]
async fn a_level_that_cannot_be_understood_reaches_nobody() {
    let app = app().await;
    let edge = Edge::before(&app, POLICIES).await;
    let request = edge.request(Method::GET, "/app/public/200");
    let response = request
        .header("X-Consistency", "fresh")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 400);
    assert!(app.asked().is_empty());
}
