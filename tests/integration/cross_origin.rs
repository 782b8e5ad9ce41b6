//! Pages of other origins: who may read which answer, also where there is none to read.

use axum::Router;
use reqwest::{Method, Response};

use crate::upstream::kit::{App, Edge, endpoint, with_fields};
use crate::world::problem;

const APP: &str = "https://app.example.com";
const FOREIGN: &str = "https://evil.example";

const ROWS: &str = r#"
[[policy]]
path = "/app/*"
consistency = "eventual"
cache_control = "public, max-age=60"
cors = { origins = ["https://app.example.com"], credentials = true, expose = ["X-Total"] }

[[policy]]
path = "/limited/*"
rate_limit = "1/h;burst=1"
cors = { origins = ["https://app.example.com"], headers = ["Authorization"], max_age = "10min" }

[[policy]]
path = "/open/*"
cors = { origins = ["*"] }
"#;

/// An application with its own idea of other origins, behind endpoints on rows with `cors` and on one without.
async fn edge(app: &App) -> Edge {
    let url = app.url();
    let paths = ["/app/{*rest}", "/plain/{*rest}", "/open/{*rest}"];
    let endpoints = paths.map(|path| endpoint("*", path, &url) + "cache = true\n");
    let endpoints = endpoints.concat().replace("\"*\"", "\"GET\"");
    let limited = endpoint("GET", "/limited/{*rest}", &url) + "auth = \"jwt\"\n";
    Edge::start(&format!(
        "{ROWS}{endpoints}{limited}{}",
        endpoint("*", "/any/{*rest}", &url)
    ))
    .await
}

async fn app() -> App {
    let answer = || async {
        with_fields(&[
            ("access-control-allow-origin", "*"),
            ("access-control-allow-private-network", "true"),
            ("etag", "\"one\""),
        ])
    };
    App::serve(Router::new().fallback(answer)).await
}

async fn ask(edge: &Edge, method: Method, path: &str, fields: &[(&str, &str)]) -> Response {
    let request = edge.request(method, path);
    let request = fields.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    request.send().await.unwrap()
}

fn field<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    // The last line, which is the gateway's.
    let mut lines = response.headers().get_all(name).iter();
    lines.next_back().map(|value| value.to_str().unwrap())
}

fn allowed(response: &Response) -> Option<&str> {
    field(response, "access-control-allow-origin")
}

#[tokio::test]
async fn a_stored_answer_is_read_by_the_listed_origin_only_and_stored_once() {
    let app = app().await;
    let edge = edge(&app).await;
    for (origin, may) in [(FOREIGN, None), (APP, Some(APP)), ("null", None)] {
        let response = ask(&edge, Method::GET, "/app/x", &[("origin", origin)]).await;
        assert_eq!((response.status().as_u16(), allowed(&response)), (200, may));
        assert_eq!(field(&response, "vary"), Some("Origin"));
        assert_eq!(
            field(&response, "access-control-allow-private-network"),
            None
        );
        let exposed = field(&response, "access-control-expose-headers").unwrap_or_default();
        assert_eq!(
            exposed.ends_with(", ETag, X-Total"),
            may.is_some(),
            "{exposed}"
        );
        let credentials = field(&response, "access-control-allow-credentials");
        assert_eq!(credentials, may.map(|_| "true"));
    }
    assert_eq!(app.asked().len(), 1);
    let stored = ask(&edge, Method::GET, "/app/x", &[]).await;
    let tag = field(&stored, "etag").unwrap();
    let known = [("origin", APP), ("if-none-match", tag)];
    let response = ask(&edge, Method::GET, "/app/x", &known).await;
    assert_eq!(
        (response.status().as_u16(), allowed(&response)),
        (304, Some(APP))
    );
}

#[tokio::test]
async fn errors_can_be_read_by_the_listed_origin() {
    let app = app().await;
    let edge = edge(&app).await;
    for (path, fields, status, kind) in [
        ("/app", &[][..], 404, "not-found"),
        ("/limited/x", &[], 401, "unauthorized"),
        ("/limited/x", &[], 429, "rate-limited"),
        (
            "/app/x",
            &[("x-consistency", "nonsense")],
            400,
            "invalid-consistency",
        ),
    ] {
        let fields = [&[("origin", APP)], fields].concat();
        let response = ask(&edge, Method::GET, path, &fields).await;
        assert_eq!(
            (response.status().as_u16(), allowed(&response)),
            (status, Some(APP)),
            "{path}"
        );
        problem(response, status, kind).await;
    }
}

#[tokio::test]
async fn the_row_answers_preflights_before_anything_else_is_asked() {
    let app = app().await;
    let edge = edge(&app).await;
    let asked = ("access-control-request-method", "GET");
    // More often than the budget of the row, without a token, and also where there is no endpoint.
    for path in ["/limited/x", "/limited/x", "/limited/x", "/app"] {
        let response = ask(&edge, Method::OPTIONS, path, &[("origin", APP), asked]).await;
        assert_eq!(
            (response.status().as_u16(), allowed(&response)),
            (204, Some(APP)),
            "{path}"
        );
        assert!(field(&response, "access-control-allow-methods").is_some());
        assert!(field(&response, "x-request-id").is_some());
        assert_eq!(response.headers().get("allow"), None);
    }
    let response = ask(
        &edge,
        Method::OPTIONS,
        "/limited/x",
        &[("origin", APP), asked],
    )
    .await;
    assert_eq!(
        field(&response, "access-control-allow-headers"),
        Some("Authorization")
    );
    assert_eq!(field(&response, "access-control-max-age"), Some("600"));
    let response = ask(
        &edge,
        Method::OPTIONS,
        "/limited/x",
        &[("origin", FOREIGN), asked],
    )
    .await;
    assert_eq!(
        (response.status().as_u16(), allowed(&response)),
        (204, None)
    );
    assert_eq!(field(&response, "access-control-allow-methods"), None);
    assert_eq!(app.asked().len(), 0);
}

#[tokio::test]
async fn other_options_and_other_rows_go_their_way() {
    let app = app().await;
    let edge = edge(&app).await;
    let preflight = [
        ("origin", FOREIGN),
        ("access-control-request-method", "GET"),
    ];
    let response = ask(&edge, Method::OPTIONS, "/any/x", &preflight).await;
    assert_eq!(
        (response.status().as_u16(), allowed(&response)),
        (200, Some("*"))
    );
    assert_eq!(field(&response, "vary"), None);
    assert_eq!(app.last().method, Method::OPTIONS);
    let response = ask(&edge, Method::OPTIONS, "/app/x", &[("origin", APP)]).await;
    assert_eq!(
        (response.status().as_u16(), field(&response, "allow")),
        (204, Some("GET, HEAD, OPTIONS"))
    );
    let response = ask(&edge, Method::GET, "/open/x", &[]).await;
    assert_eq!(
        (allowed(&response), field(&response, "vary")),
        (Some("*"), None)
    );
}
