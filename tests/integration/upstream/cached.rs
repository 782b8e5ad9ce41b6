//! Answers that are the same for all clients are stored, if the endpoint declares it.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream;
use http::{Method, StatusCode};
use tidegate::testkit::until;

use super::kit::{App, Edge, endpoint, with_fields};
use crate::world::{DEADLINE, header, problem};

const POLICIES: &str = r#"
[[policy]]
path = "/app/*"
consistency = "eventual"
cache_control = "public, max-age=60"
[[policy]]
path = "/app/brief"
consistency = "eventual"
cache_control = "public, max-age=1, stale-if-error=3600"
[[policy]]
path = "/app/renewed"
consistency = "eventual"
cache_control = "public, max-age=0, stale-while-revalidate=3600"
[[policy]]
path = "/app/kept"
consistency = "eventual"
cache_control = "public, max-age=0, stale-if-error=3600"
[cache]
entry_bytes_max = "64KiB"
"#;

/// An endpoint that declares that path and query alone decide, before one that does not.
async fn edge(app: &App) -> Edge {
    let kept = endpoint("GET", "/app/{*rest}", &app.url());
    Edge::start(&format!("{POLICIES}\n{kept}cache = true\n")).await
}

/// An application that answers with the request's path and query.
async fn echo() -> App {
    let answer = |request: axum::extract::Request| async move {
        let target = request.uri().to_string();
        let fields = [
            ("content-type", "text/plain"),
            ("content-language", "nl"),
            ("set-cookie", "a=1"),
            ("vary", "Accept-Encoding"),
        ];
        let mut response = with_fields(&fields);
        *response.body_mut() = Body::from(target);
        response
    };
    App::serve(Router::new().fallback(answer)).await
}

async fn text(response: reqwest::Response) -> String {
    response.text().await.unwrap()
}

#[tokio::test]
async fn what_path_and_query_decide_on_is_asked_once_and_whole_again_from_memory() {
    let app = echo().await;
    let edge = edge(&app).await;
    for path in ["/app/a", "/app/a?x=1", "/app/a?x=2", "/app/a?"] {
        let first = edge.get(path).await;
        assert_eq!(
            header(&first, "cache-status"),
            "tidegate; fwd=miss; stored",
            "{path}"
        );
        let tag = header(&first, "etag").to_owned();
        assert_eq!(text(first).await, path);

        let again = edge.get(path).await;
        assert!(
            header(&again, "cache-status").starts_with("tidegate; hit; ttl="),
            "{path}"
        );
        for (name, value) in [
            ("content-type", "text/plain"),
            ("content-language", "nl"),
            ("set-cookie", ""),
            ("cache-control", "public, max-age=60"),
        ] {
            assert_eq!(header(&again, name), value, "{path}: {name}");
        }
        assert!(!header(&again, "age").is_empty());
        assert!(header(&again, "consistency-status").contains("node=upstream"));
        assert_eq!(text(again).await, path);

        let request = edge.request(Method::GET, path).header("If-None-Match", tag);
        let unchanged = request.send().await.unwrap();
        assert_eq!(unchanged.status(), StatusCode::NOT_MODIFIED, "{path}");
    }
    assert_eq!(app.asked().len(), 4);
}

#[tokio::test]
async fn a_condition_of_the_client_is_judged_here_as_nobody_else_can() {
    let dated = || async { with_fields(&[("last-modified", "Fri, 02 Jan 1970 00:00:00 GMT")]) };
    let app = App::serve(Router::new().fallback(dated)).await;
    let edge = edge(&app).await;
    let first = edge.get("/app/a").await;
    let tag = header(&first, "etag").to_owned();
    for (name, value, status) in [
        ("If-Match", tag.as_str(), 200),
        ("If-Match", "*", 200),
        ("If-Match", "\"other\"", 412),
        ("If-Match", &format!("W/{tag}"), 412),
        ("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT", 412),
        ("If-Unmodified-Since", "Fri, 02 Jan 1970 00:00:00 GMT", 200),
        ("If-Unmodified-Since", "never", 200),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let request = edge.request(method.clone(), "/app/a").header(name, value);
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), status, "{method} {name}: {value}");
            if status == 412 && method == Method::GET {
                problem(response, 412, "precondition-failed").await;
            }
        }
    }
    // `If-Match` comes first, and `If-None-Match` is evaluated only if it holds.
    let both = |wanted: &str| {
        let request = edge.request(Method::GET, "/app/a");
        let request = request.header("If-Match", wanted);
        request.header("If-None-Match", &tag)
    };
    assert_eq!(both(&tag).send().await.unwrap().status(), 304);
    assert_eq!(both("\"other\"").send().await.unwrap().status(), 412);
    assert_eq!(app.asked().len(), 1);
}

#[tokio::test]
async fn no_field_of_a_clients_shapes_what_others_are_given() {
    let app = echo().await;
    let edge = edge(&app).await;
    let request = edge
        .request(Method::GET, "/app/a")
        .header("Cookie", "id=mallory");
    let request = request.header("X-Forwarded-Host", "mallory.example");
    let request = request
        .header("Accept-Language", "xx")
        .header("X-Theme", "dark");
    request.send().await.unwrap();
    let asked = app.last();
    for name in [
        "cookie",
        "x-forwarded-host",
        "accept-language",
        "x-theme",
        "forwarded",
    ] {
        assert_eq!(asked.field(name), "", "{name}");
    }
    assert_eq!(asked.field("x-consistency"), "eventual");
}

#[tokio::test]
async fn who_states_anything_is_answered_by_the_application() {
    let app = echo().await;
    let edge = edge(&app).await;
    edge.get("/app/a").await;
    for (name, value) in [("X-Consistency", "eventual"), ("Authorization", "Bearer x")] {
        let request = edge.request(Method::GET, "/app/a").header(name, value);
        let response = request.send().await.unwrap();
        assert_eq!(
            header(&response, "cache-status"),
            "tidegate; fwd=bypass",
            "{name}"
        );
    }
    assert_eq!(app.asked().len(), 3);
}

#[tokio::test]
async fn an_endpoint_that_says_nothing_has_no_part_in_the_cache() {
    let app = echo().await;
    let edge = Edge::before(&app, POLICIES).await;
    for _ in 0..2 {
        let response = edge.get("/app/a").await;
        assert_eq!(header(&response, "cache-status"), "tidegate; fwd=bypass");
    }
    assert_eq!(app.asked().len(), 2);
}

#[tokio::test]
async fn what_is_not_the_same_for_all_or_too_large_goes_to_each_client_by_itself() {
    let fields = |name: &'static str, value: &'static str| {
        get(move || async move { with_fields(&[(name, value)]) })
    };
    let large = || async {
        let piece = || Ok::<_, Infallible>(Bytes::from(vec![b'x'; 16 << 10]));
        Body::from_stream(stream::iter((0..8).map(move |_| piece()))).into_response()
    };
    let router = Router::new()
        .route("/app/vary", fields("vary", "Accept-Language"))
        .route(
            "/app/private",
            fields("cache-control", "max-age=9, Private"),
        )
        .route("/app/no-store", fields("cache-control", "no-store"))
        .route("/app/no-cache", fields("cache-control", "no-cache"))
        .route("/app/max-age", fields("cache-control", "max-age=0"))
        .route("/app/expires", fields("expires", "0"))
        .route("/app/large", get(large));
    let app = App::serve(router).await;
    let edge = edge(&app).await;
    for path in [
        "/app/vary",
        "/app/private",
        "/app/no-store",
        "/app/no-cache",
        "/app/max-age",
        "/app/expires",
        "/app/large",
    ] {
        for _ in 0..2 {
            let request = edge
                .request(Method::GET, path)
                .header("Accept-Language", "nl");
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 200, "{path}");
            assert_eq!(
                header(&response, "cache-status"),
                "tidegate; fwd=bypass",
                "{path}"
            );
            let body = response.bytes().await.unwrap();
            assert_eq!(body.len() == 128 << 10, path == "/app/large", "{path}");
            assert_eq!(app.last().field("accept-language"), "nl", "{path}");
        }
    }
}

#[tokio::test]
async fn another_status_reaches_those_who_wait_and_is_not_kept() {
    let status = |Path(code): Path<u16>| async move {
        (
            StatusCode::from_u16(code).unwrap(),
            [("location", "/x")],
            "said so",
        )
            .into_response()
    };
    let app = App::serve(Router::new().route("/app/{code}", get(status))).await;
    let edge = edge(&app).await;
    for (number, code) in [404, 410, 418, 500].into_iter().enumerate() {
        for _ in 0..2 {
            let response = edge.get(&format!("/app/{code}")).await;
            assert_eq!(response.status().as_u16(), code);
            assert_eq!(header(&response, "cache-control"), "no-store, private");
            assert_eq!(header(&response, "etag"), "");
            assert_eq!(header(&response, "location"), "/x");
            assert_eq!(text(response).await, "said so");
        }
        assert_eq!(app.asked().len(), 2 * (number + 1), "{code}");
    }
}

#[tokio::test]
async fn however_many_ask_at_once_the_application_is_asked_once() {
    let open = Arc::new(tokio::sync::Notify::new());
    let asked = Arc::new(AtomicUsize::new(0));
    let (gate, count) = (Arc::clone(&open), Arc::clone(&asked));
    let slow = move || {
        let (gate, count) = (Arc::clone(&gate), Arc::clone(&count));
        async move {
            count.fetch_add(1, Ordering::Relaxed);
            gate.notified().await;
            "slow"
        }
    };
    let app = App::serve(Router::new().route("/app/slow", get(slow))).await;
    let edge = edge(&app).await;
    let all = join_all((0..50).map(|_| edge.get("/app/slow")));
    let opened = async {
        let waiting =
            async || Ok((edge.metric("tidegate_cache_waiting ").await >= 49.0).then_some(()));
        until("all wait", DEADLINE, waiting).await.unwrap();
        open.notify_waiters();
    };
    let (all, ()) = tokio::join!(all, opened);
    assert!(all.iter().all(|response| response.status() == 200));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_kept_answer_stands_in_for_an_application_that_fails() {
    let status = Arc::new(AtomicU16::new(200));
    let told = Arc::clone(&status);
    let answer = move || {
        let code = told.load(Ordering::Relaxed);
        async move {
            Response::builder()
                .status(code)
                .body(Body::from("it"))
                .unwrap()
        }
    };
    let app = App::serve(Router::new().route("/app/brief", get(answer))).await;
    let edge = edge(&app).await;
    assert_eq!(edge.get("/app/brief").await.status(), 200);
    status.store(500, Ordering::Relaxed);
    let note = "tidegate; fwd=stale; fwd-status=500; detail=stale-if-error";
    let despite = async || {
        let response = edge.get("/app/brief").await;
        assert_eq!(response.status(), 200);
        Ok((header(&response, "cache-status") == note).then_some(()))
    };
    until("the answer has expired", Duration::from_secs(10), despite)
        .await
        .unwrap();
}

/// An application whose status and `Cache-Control` can be changed, and that numbers its answers.
async fn changing(said: &Arc<Mutex<(u16, &'static str)>>) -> App {
    let (said, number) = (Arc::clone(said), Arc::new(AtomicUsize::new(0)));
    let answer = move || {
        let (status, cache_control) = *said.lock().unwrap();
        let number = number.fetch_add(1, Ordering::Relaxed).to_string();
        async move {
            let response = Response::builder().status(status);
            let response = response.header("cache-control", cache_control);
            response.body(Body::from(number)).unwrap()
        }
    };
    App::serve(Router::new().fallback(answer)).await
}

#[tokio::test]
async fn a_refresh_that_finds_out_that_an_answer_is_private_ends_the_stored_one() {
    for restriction in ["private", "no-store", "no-cache", "max-age=0"] {
        let said = Arc::new(Mutex::new((200, "max-age=9")));
        let app = changing(&said).await;
        let edge = edge(&app).await;
        assert_eq!(text(edge.get("/app/renewed").await).await, "0");
        *said.lock().unwrap() = (200, restriction);
        // The stale one is served once more, while the application is queried.
        assert_eq!(text(edge.get("/app/renewed").await).await, "0");
        let gone = async || {
            let response = edge.get("/app/renewed").await;
            let bypassed = header(&response, "cache-status") == "tidegate; fwd=bypass";
            if bypassed {
                assert!(!header(&response, "cache-control").contains("stale"));
                assert!(!header(&response, "cache-control").contains("public"));
                assert_ne!(text(response).await, "0");
            }
            Ok(bypassed.then_some(()))
        };
        until(restriction, DEADLINE, gone).await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_has_become_private_stands_in_for_no_failure() {
    let said = Arc::new(Mutex::new((200, "max-age=9")));
    let app = changing(&said).await;
    let edge = edge(&app).await;
    assert_eq!(text(edge.get("/app/kept").await).await, "0");
    // The caching headers of an error do not apply to the stored answer.
    *said.lock().unwrap() = (500, "no-store, private");
    let response = edge.get("/app/kept").await;
    assert_eq!(response.status(), 200);
    assert_eq!(text(response).await, "0");

    *said.lock().unwrap() = (200, "private");
    let turned = async || {
        let response = edge.get("/app/kept").await;
        Ok((header(&response, "cache-control") == "no-store, private").then_some(()))
    };
    until("private", Duration::from_secs(15), turned)
        .await
        .unwrap();
    *said.lock().unwrap() = (500, "no-store, private");
    assert_eq!(edge.get("/app/kept").await.status(), 500);
}

#[tokio::test]
async fn those_who_wait_for_an_answer_that_turns_out_private_are_each_given_their_own() {
    for restriction in ["private", "no-cache"] {
        let open = Arc::new(tokio::sync::Notify::new());
        let (gate, number) = (Arc::clone(&open), Arc::new(AtomicUsize::new(0)));
        let answer = move || {
            let number = number.fetch_add(1, Ordering::Relaxed);
            let gate = Arc::clone(&gate);
            async move {
                if number == 0 {
                    gate.notified().await;
                }
                ([("cache-control", restriction)], number.to_string())
            }
        };
        let app = App::serve(Router::new().fallback(answer)).await;
        let edge = edge(&app).await;
        let all = join_all((0..20).map(async |_| text(edge.get("/app/x").await).await));
        let opened = async {
            let waiting =
                async || Ok((edge.metric("tidegate_cache_waiting ").await >= 19.0).then_some(()));
            until("all wait", DEADLINE, waiting).await.unwrap();
            open.notify_one();
        };
        let (mut all, ()) = tokio::join!(all, opened);
        assert!(!all.contains(&"0".to_owned()), "{restriction}");
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 20, "{restriction}");
    }
}
