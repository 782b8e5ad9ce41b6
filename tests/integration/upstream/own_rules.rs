//! On rows with `cache_control = "application"` the application's own fields decide about caching.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, COOKIE, ETAG, IF_NONE_MATCH, SET_COOKIE};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use tidegate::testkit::until;
use tokio::sync::Semaphore;

use super::kit::{App, Edge, endpoint};
use crate::world::{DEADLINE, header, problem};

const POLICY: &str = r#"
[[policy]]
path = "/app/*"
consistency = "eventual"
cache_control = "application"
"#;

async fn edge(app: &App) -> Edge {
    let stored = endpoint("*", "/app/{*rest}", &app.url());
    Edge::start(&format!("{POLICY}\n{stored}cache = true\n")).await
}

/// An application that answers with the fields that the query lists, and with the number of its answer;
/// with 304 if the request has its tag, and with a status or a `Cache-Control` where the request asks for one.
async fn app() -> App {
    let count = Arc::new(AtomicUsize::new(0));
    let answer = move |fields: Query<Vec<(String, String)>>, request: Request| {
        let count = Arc::clone(&count);
        async move {
            let number = count.fetch_add(1, Ordering::Relaxed) + 1;
            let mut answer = Response::new(Body::from(number.to_string()));
            for (name, value) in &fields.0 {
                let name: HeaderName = name.parse().unwrap();
                answer.headers_mut().append(name, value.parse().unwrap());
            }
            if let Some(said) = request.headers().get("x-says") {
                answer.headers_mut().insert(CACHE_CONTROL, said.clone());
            }
            let wanted = request.headers().get("x-status");
            if let Some(status) = wanted {
                *answer.status_mut() = status.to_str().unwrap().parse().unwrap();
            }
            let tag = request.headers().get(IF_NONE_MATCH);
            if tag.is_some() && tag == answer.headers().get(ETAG) {
                *answer.status_mut() = StatusCode::NOT_MODIFIED;
                *answer.body_mut() = Body::empty();
            }
            answer
        }
    };
    App::serve(Router::new().fallback(answer)).await
}

/// A URL whose answers have these fields.
fn saying(path: &str, fields: &[(&str, &str)]) -> String {
    let fields = fields.iter().map(|(name, value)| {
        let value = value
            .replace('%', "%25")
            .replace('=', "%3D")
            .replace(' ', "%20")
            .replace('"', "%22");
        format!("{name}={value}")
    });
    format!("/app/{path}?{}", fields.collect::<Vec<_>>().join("&"))
}

async fn status(edge: &Edge, path: &str, fields: &[(&str, &str)]) -> (String, String) {
    let mut request = edge.request(Method::GET, path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    let status = header(&answer, "cache-status").to_owned();
    (status, answer.text().await.unwrap())
}

fn is_hit(status: &(String, String)) -> bool {
    status.0.starts_with("tidegate; hit")
}

#[tokio::test]
async fn the_applications_fields_decide_and_reach_the_client() {
    let (app, public) = (app().await, "public, max-age=60");
    let edge = edge(&app).await;
    let path = saying(
        "a",
        &[
            ("cache-control", "no-cache"),
            ("cdn-cache-control", public),
            ("expires", "0"),
            ("vary", "x-flavour"),
            ("set-cookie", "a=b"),
            ("etag", "\"t\""),
        ],
    );
    let first = edge.get(&path).await;
    assert_eq!(header(&first, "cache-status"), "tidegate; fwd=miss; stored");
    for answer in [first, edge.get(&path).await] {
        for (name, value) in [
            ("cache-control", "no-cache"),
            ("cdn-cache-control", public),
            ("expires", "0"),
            ("vary", "x-flavour"),
            ("etag", "\"t\""),
        ] {
            assert_eq!(header(&answer, name), value);
        }
        assert_eq!(header(&answer, SET_COOKIE.as_str()), "a=b");
        assert_eq!(answer.text().await.unwrap(), "1");
    }
    assert!(!is_hit(
        &status(&edge, &path, &[("x-flavour", "mint")]).await
    ));
    assert!(is_hit(
        &status(&edge, &path, &[("x-flavour", "mint")]).await
    ));
    assert!(is_hit(&status(&edge, &path, &[]).await));
    assert_eq!(edge.metric("tidegate_cache_entries").await, 1.0);
}

#[tokio::test]
async fn what_is_private_or_an_error_passes_as_it_is_and_is_not_stored() {
    let app = app().await;
    let edge = edge(&app).await;
    let private = saying("private", &[("cache-control", "private, max-age=60")]);
    let cookie = saying(
        "cookie",
        &[("cache-control", "max-age=60"), ("set-cookie", "a=b")],
    );
    for (path, said) in [(private, "private, max-age=60"), (cookie, "max-age=60")] {
        for _ in 0..2 {
            let answer = edge.get(&path).await;
            assert_eq!(header(&answer, "cache-control"), said);
            assert_eq!(header(&answer, "cache-status"), "tidegate; fwd=miss");
        }
    }
    let failing = saying("failing", &[("cache-control", "no-cache")]);
    let request = edge
        .request(Method::GET, &failing)
        .header("x-status", "503");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(header(&answer, "cache-control"), "no-cache");
}

#[tokio::test]
async fn a_stated_level_bypasses_the_cache_and_its_answer_is_the_clients_alone() {
    let app = app().await;
    let edge = edge(&app).await;
    let path = saying("a", &[("cache-control", "public, max-age=60")]);
    assert!(!is_hit(&status(&edge, &path, &[]).await));
    let request = edge
        .request(Method::GET, &path)
        .header("X-Consistency", "strong");
    let answer = request.send().await.unwrap();
    assert_eq!(header(&answer, "cache-status"), "tidegate; fwd=bypass");
    assert_eq!(header(&answer, "cache-control"), "no-store, private");
    assert_eq!(answer.text().await.unwrap(), "2");
    assert_eq!(status(&edge, &path, &[]).await.1, "1");
}

#[tokio::test]
async fn whatever_is_unsafe_and_succeeds_invalidates() {
    let app = app().await;
    let edge = edge(&app).await;
    let path = saying(
        "a",
        &[
            ("cache-control", "max-age=60"),
            ("location", "/app/b?cache-control=max-age%3D60"),
        ],
    );
    let other = saying("b", &[("cache-control", "max-age=60")]);
    for method in ["POST", "DELETE", "M-SEARCH"] {
        let method: Method = method.parse().unwrap();
        status(&edge, &path, &[]).await;
        status(&edge, &other, &[]).await;
        let failed = edge
            .request(method.clone(), &path)
            .header("x-status", "500");
        failed.send().await.unwrap();
        assert!(is_hit(&status(&edge, &path, &[]).await), "{method}");
        // A session's write counts as well.
        let done = edge
            .request(method.clone(), &path)
            .header("X-Consistency", "strong");
        done.send().await.unwrap();
        assert!(!is_hit(&status(&edge, &path, &[]).await), "{method}");
        assert!(!is_hit(&status(&edge, &other, &[]).await), "{method}");
    }
}

#[tokio::test]
async fn an_answer_that_was_asked_for_before_a_write_is_not_stored() {
    let gate = Arc::new(Semaphore::new(0));
    let waiting = Arc::clone(&gate);
    let answer = move |request: Request| {
        let gate = Arc::clone(&waiting);
        async move {
            if request.method() == Method::GET {
                gate.acquire().await.unwrap().forget();
            }
            ([("cache-control", "max-age=60")], "old")
        }
    };
    let app = App::serve(Router::new().fallback(answer)).await;
    let edge = edge(&app).await;
    let read = tokio::spawn(edge.request(Method::GET, "/app/a").send());
    until("the application is asked", DEADLINE, async || {
        Ok((app.asked().len() == 1).then_some(()))
    })
    .await
    .unwrap();
    let write = edge.request(Method::POST, "/app/a").send().await.unwrap();
    assert_eq!(write.status(), StatusCode::OK);
    gate.add_permits(2);
    assert_eq!(read.await.unwrap().unwrap().text().await.unwrap(), "old");
    assert!(!is_hit(&status(&edge, "/app/a", &[]).await));
}

#[tokio::test]
async fn a_stored_answer_is_validated_and_renewed() {
    let app = app().await;
    let edge = edge(&app).await;
    let path = saying("a", &[("cache-control", "no-cache"), ("etag", "\"t\"")]);
    assert_eq!(status(&edge, &path, &[]).await.1, "1");
    for _ in 0..2 {
        let renewed = status(&edge, &path, &[]).await;
        assert_eq!(renewed.0, "tidegate; fwd=stale; fwd-status=304; stored");
        assert_eq!(renewed.1, "1");
        assert_eq!(app.last().field("if-none-match"), "\"t\"");
    }
    let request = edge
        .request(Method::GET, &path)
        .header(IF_NONE_MATCH, "\"t\"");
    assert_eq!(
        request.send().await.unwrap().status(),
        StatusCode::NOT_MODIFIED
    );
    assert_eq!(
        edge.metric("tidegate_cache_requests_total{result=\"revalidated\"}")
            .await,
        3.0
    );
}

#[tokio::test]
async fn requests_say_what_they_accept() {
    let app = app().await;
    let edge = edge(&app).await;
    let path = saying("a", &[("cache-control", "max-age=60")]);
    let only = edge
        .request(Method::GET, &path)
        .header("cache-control", "only-if-cached");
    let refused = only.send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(header(&refused, "cache-control"), "no-store, private");
    problem(refused, 504, "deadline").await;
    assert!(app.asked().is_empty());
    assert_eq!(status(&edge, &path, &[]).await.1, "1");
    assert_eq!(
        status(&edge, &path, &[("cache-control", "no-store")])
            .await
            .1,
        "2"
    );
    assert_eq!(
        status(&edge, &path, &[("cache-control", "only-if-cached")])
            .await
            .1,
        "1"
    );
    assert_eq!(status(&edge, &path, &[("range", "bytes=0-0")]).await.1, "1");
    assert_eq!(
        status(&edge, &path, &[("cache-control", "no-cache")])
            .await
            .1,
        "3"
    );
    assert_eq!(status(&edge, &path, &[]).await.1, "3");
    // Another host may be another application's page.
    assert_eq!(
        status(&edge, &path, &[("host", "other.example")]).await.1,
        "4"
    );
}

#[tokio::test]
async fn a_bearers_answer_is_stored_only_where_the_application_says_so() {
    let app = app().await;
    let edge = edge(&app).await;
    let bearer = [("authorization", "Bearer x"), (COOKIE.as_str(), "c=d")];
    for (said, is_stored) in [("max-age=60", false), ("public, max-age=60", true)] {
        let path = saying("a", &[("cache-control", said)]);
        status(&edge, &path, &bearer).await;
        assert_eq!(app.last().field("authorization"), "Bearer x");
        assert_eq!(app.last().field("cookie"), "c=d");
        assert_eq!(
            is_hit(&status(&edge, &path, &[]).await),
            is_stored,
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_write_by_another_endpoint_of_the_row_invalidates() {
    let app = app().await;
    let read = endpoint("GET", "/app/{*rest}", &app.url());
    let write = endpoint("POST", "/app/{*rest}", &app.url());
    let edge = Edge::start(&format!("{POLICY}\n{read}cache = true\n\n{write}\n")).await;
    let path = saying("a", &[("cache-control", "max-age=60")]);
    status(&edge, &path, &[]).await;
    assert!(is_hit(&status(&edge, &path, &[]).await));
    edge.request(Method::POST, &path).send().await.unwrap();
    assert!(!is_hit(&status(&edge, &path, &[]).await));
}

#[tokio::test]
async fn an_answer_that_is_withdrawn_is_not_served_again() {
    let app = app().await;
    let edge = edge(&app).await;
    let swr = "max-age=0, stale-while-revalidate=60, stale-if-error=60";
    let path = saying("a", &[("cache-control", swr)]);
    status(&edge, &path, &[]).await;
    let gone = [("cache-control", "no-cache"), ("x-says", "private")];
    status(&edge, &path, &gone).await;
    assert_eq!(status(&edge, &path, &[]).await.1, "3");
}

/// An answer that is too large to be stored, in one way or another.
fn large(what: &HeaderValue) -> Response {
    let piece = Bytes::from(vec![b'x'; 1 << 20]);
    match what.as_bytes() {
        b"body" => Response::new(Body::from([&piece[..]; 3].concat())),
        b"chunks" => {
            let pieces = [0; 3].map(|_| Ok::<_, Infallible>(piece.clone()));
            Response::new(Body::from_stream(stream::iter(pieces)))
        }
        _ => {
            let mut answer = Response::new(Body::from("fields"));
            let field = HeaderValue::from_bytes(&piece[..40 << 10]).unwrap();
            answer.headers_mut().insert("x-a", field);
            answer
        }
    }
}

#[tokio::test]
async fn an_answer_too_large_to_be_stored_takes_the_place_of_the_stored_one() {
    let answer = |request: Request| async move {
        let what = request.headers().get("x-large");
        let small = || Response::new(Body::from("small"));
        let mut answer = what.map_or_else(small, large);
        let said = HeaderValue::from_static("public, max-age=60");
        answer.headers_mut().insert(CACHE_CONTROL, said);
        answer
    };
    let app = App::serve(Router::new().fallback(answer)).await;
    let edge = edge(&app).await;
    for (what, said) in [
        ("body", "tidegate; fwd=stale"),
        ("fields", "tidegate; fwd=stale"),
        // Its length is not known when this is said.
        ("chunks", "tidegate; fwd=stale; stored"),
    ] {
        for bearer in [None, Some(("authorization", "Bearer x"))] {
            let path = format!("/app/{what}");
            status(&edge, &path, &[]).await;
            assert!(is_hit(&status(&edge, &path, &[]).await), "{what}");
            let asks = [("cache-control", "no-cache"), ("x-large", what)];
            let asks: Vec<_> = asks.into_iter().chain(bearer).collect();
            assert_eq!(status(&edge, &path, &asks).await.0, said, "{what}");
            let after = status(&edge, &path, &[]).await;
            assert_eq!(after.0, "tidegate; fwd=miss; stored", "{what}");
        }
    }
}

#[tokio::test]
async fn a_head_with_a_range_gets_the_head_of_the_whole_stored_answer() {
    let app = app().await;
    let edge = edge(&app).await;
    let path = saying("a", &[("cache-control", "max-age=60")]);
    status(&edge, &path, &[]).await;
    for (method, expected) in [(Method::HEAD, 200), (Method::GET, 206)] {
        let request = edge.request(method, &path).header("range", "bytes=0-0");
        let answer = request.send().await.unwrap();
        assert!(header(&answer, "cache-status").starts_with("tidegate; hit"));
        assert_eq!(answer.status(), expected);
    }
}

#[tokio::test]
async fn a_bearers_304_leaves_the_answer_of_all_where_it_is() {
    let app = app().await;
    let edge = edge(&app).await;
    let path = saying("a", &[("cache-control", "max-age=60"), ("etag", "\"t\"")]);
    status(&edge, &path, &[]).await;
    let bearer = [("authorization", "Bearer x"), ("cache-control", "no-cache")];
    status(&edge, &path, &bearer).await;
    assert_eq!(app.asked().len(), 2);
    assert!(is_hit(&status(&edge, &path, &[]).await));
}

#[tokio::test]
async fn a_stale_answer_is_served_as_the_application_permits() {
    let app = app().await;
    let edge = edge(&app).await;
    let renewed = saying(
        "a",
        &[("cache-control", "max-age=0, stale-while-revalidate=60")],
    );
    assert_eq!(status(&edge, &renewed, &[]).await.1, "1");
    let stale = status(&edge, &renewed, &[]).await;
    assert!(is_hit(&stale) && stale.1 == "1", "{stale:?}");
    until("the application is asked", DEADLINE, async || {
        Ok((app.asked().len() >= 2).then_some(()))
    })
    .await
    .unwrap();
    until("the newer answer is served", DEADLINE, async || {
        Ok((status(&edge, &renewed, &[]).await.1 == "2").then_some(()))
    })
    .await
    .unwrap();
    let kept = saying("b", &[("cache-control", "max-age=0, stale-if-error=60")]);
    let first = status(&edge, &kept, &[]).await.1;
    let stale = status(&edge, &kept, &[("x-status", "503")]).await;
    assert_eq!(
        stale.0,
        "tidegate; fwd=stale; fwd-status=503; detail=stale-if-error"
    );
    assert_eq!(stale.1, first);
    assert_ne!(status(&edge, &kept, &[]).await.1, first);
}
