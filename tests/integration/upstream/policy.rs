//! Policy rows apply to upstreams as to SQL.

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, Method, StatusCode};

use super::kit::{App, Edge, endpoint, with_fields};
use crate::world::{header, told};

const POLICIES: &str = r#"
[[policy]]
path = "/app/public/*"
consistency = "eventual"
cache_control = "public, max-age=60"
[[policy]]
path = "/app/own/*"
consistency = "eventual"
cache_control = "private, max-age=60"
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
        // Nothing is known about any replica.
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

const NONE: &str = "no-store, private";
const AGAIN: &str = "no-cache, max-age=0, must-revalidate";
const OWN_AGAIN: &str = "private, no-cache, max-age=0, must-revalidate";
const PUBLIC: &str = "public, max-age=60";
const OWN: &str = "private, max-age=60";

type Fields = &'static [(&'static str, &'static str)];

/// The headers of an application, and the result on a `public` and on a `private` row.
const RESTRICTED: &[(Fields, &str, &str)] = &[
    (&[("cache-control", "private")], NONE, NONE),
    (&[("cache-control", "no-store")], NONE, NONE),
    (
        &[("cache-control", "public, max-age=9, private")],
        NONE,
        NONE,
    ),
    (&[("cache-control", "private=\"Set-Cookie\"")], NONE, NONE),
    (
        &[
            ("cache-control", "max-age=9"),
            ("cache-control", "\tPRIVATE "),
        ],
        NONE,
        NONE,
    ),
    (&[("cache-control", "private;max-age=9")], NONE, NONE),
    (&[("cache-control", "x=\"private")], NONE, NONE),
    (&[("cdn-cache-control", "no-store")], NONE, NONE),
    (&[("surrogate-control", "no-store")], NONE, NONE),
    (&[("vary", "*")], NONE, OWN),
    (&[("vary", "Accept-Encoding, cookie")], NONE, OWN),
    (&[("vary", "Authorization")], NONE, OWN),
    (&[("cache-control", "no-cache")], AGAIN, OWN_AGAIN),
    (&[("cache-control", "No-Cache=\"x\"")], AGAIN, OWN_AGAIN),
    (&[("cache-control", "max-age=0")], AGAIN, OWN_AGAIN),
    (
        &[("cache-control", "max-age=9, s-maxage=\"0\"")],
        AGAIN,
        OWN_AGAIN,
    ),
    (&[("cache-control", "max-age=soon")], AGAIN, OWN_AGAIN),
    (&[("pragma", "no-cache")], AGAIN, OWN_AGAIN),
    (&[("expires", "0")], AGAIN, OWN_AGAIN),
    (
        &[("expires", "Thu, 19 Nov 1981 08:52:00 GMT")],
        AGAIN,
        OWN_AGAIN,
    ),
    (
        &[("cache-control", "public, max-age=9, x=private")],
        PUBLIC,
        OWN,
    ),
    (
        &[
            ("cache-control", "max-age=9"),
            ("pragma", "no-cache"),
            ("expires", "0"),
        ],
        PUBLIC,
        OWN,
    ),
    (
        &[
            ("x-accel-expires", "9000"),
            ("edge-control", "max-age=9000"),
        ],
        PUBLIC,
        OWN,
    ),
];

/// Answers with the fields of a line of the table and a status.
async fn restricting() -> App {
    let answer = |Path((_, line, status)): Path<(String, usize, u16)>| async move {
        let mut response = with_fields(RESTRICTED[line].0);
        let headers = response.headers_mut();
        headers.append("set-cookie", HeaderValue::from_static("a=1"));
        headers.insert("etag", HeaderValue::from_static("\"1\""));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    };
    App::serve(Router::new().route("/app/{kind}/{line}/{status}", get(answer))).await
}

#[tokio::test]
async fn an_application_restricts_who_may_keep_its_answer_on_every_row() {
    let app = restricting().await;
    let kept = endpoint("GET", "/app/public/{line}/200", &app.url()) + "cache = true\n";
    let rest = endpoint("*", "/app/{*rest}", &app.url());
    for file in [
        format!("{POLICIES}\n{rest}"),
        format!("{POLICIES}\n{kept}{rest}"),
    ] {
        let edge = Edge::start(&file).await;
        for (line, (fields, public, own)) in RESTRICTED.iter().enumerate() {
            for (kind, status, expected) in [
                ("public", 200, *public),
                ("public", 304, *public),
                ("public", 206, NONE),
                ("public", 404, NONE),
                ("own", 200, *own),
                ("own", 206, *own),
                ("own", 304, *own),
                ("other", 200, NONE),
            ] {
                for method in [Method::GET, Method::HEAD] {
                    let path = format!("/app/{kind}/{line}/{status}");
                    let response = edge.request(method.clone(), &path).send().await.unwrap();
                    let what = format!("{method} {path}: {fields:?}");
                    assert_eq!(response.status(), status, "{what}");
                    assert_eq!(header(&response, "cache-control"), expected, "{what}");
                    // An answer that other clients may receive sets no cookie.
                    let shared = [PUBLIC, AGAIN].contains(&expected);
                    assert_eq!(header(&response, "set-cookie").is_empty(), shared, "{what}");
                    for name in [
                        "expires",
                        "pragma",
                        "cdn-cache-control",
                        "surrogate-control",
                        "x-accel-expires",
                        "edge-control",
                    ] {
                        assert_eq!(header(&response, name), "", "{what}: {name}");
                    }
                }
            }
        }
    }
}
