//! Answers are compressed for the clients that accept it, and held back for nothing.

use std::io::{Read, Write};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, Method, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::upstream::kit::{App, Edge, endpoint};
use crate::world::{DEADLINE, header};

const ROWS: &str = r#"
[[policy]]
path = "/app/*"
consistency = "eventual"
[[policy]]
path = "/public/*"
consistency = "eventual"
cache_control = "public, max-age=60"
[[policy]]
path = "/fixed/*"
consistency = "eventual"
cache_control = "private, max-age=60, no-transform"
[[policy]]
path = "/own/*"
consistency = "eventual"
cache_control = "application"
"#;

const CODINGS: [&str; 3] = ["zstd", "br", "gzip"];

/// An application that answers with `n` bytes of text (4096 by default), of unknown length if `n` is negative,
/// and with the fields and the status that the query names.
async fn app() -> App {
    let answer = |fields: Query<Vec<(String, String)>>, request: Request| async move {
        let of = |wanted: &str| fields.0.iter().find(|(name, _)| name == wanted);
        let length: i64 = of("n").map_or(4096, |(_, length)| length.parse().unwrap());
        let text = text(length.unsigned_abs() as usize);
        let body = match length < 0 {
            true => Body::from_stream(stream::iter([Ok::<_, std::io::Error>(Bytes::from(text))])),
            false => Body::from(text),
        };
        let mut answer = Response::new(body);
        let headers = answer.headers_mut();
        for (name, value) in fields
            .0
            .iter()
            .filter(|(name, _)| !["n", "status"].contains(&&**name))
        {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        if request.uri().path().ends_with("json") {
            headers.insert("content-type", "application/json".parse().unwrap());
        }
        if let Some((_, status)) = of("status") {
            *answer.status_mut() = status.parse().unwrap();
        }
        let tag = request.headers().get("if-none-match");
        if tag.is_some_and(|tag| tag.as_bytes().ends_with(b"\"v1\"")) {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            *answer.body_mut() = Body::empty();
            answer.headers_mut().remove("content-type");
        }
        answer
    };
    App::serve(Router::new().fallback(answer)).await
}

fn text(length: usize) -> String {
    "{\"answer\": \"text that repeats itself\"} "
        .chars()
        .cycle()
        .take(length)
        .collect()
}

async fn edge(app: &App, more: &str) -> Edge {
    let url = app.url();
    let paths = ["/app/x", "/fixed/x"]
        .map(|path| endpoint("*", path, &url))
        .concat();
    let stored = ["/public/x", "/public/json"]
        .map(|path| endpoint("GET", path, &url) + "cache = true\n")
        .concat();
    let own = endpoint("*", "/own/x", &url) + "cache = true\n";
    Edge::start(&format!("{more}{ROWS}{paths}{stored}{own}")).await
}

async fn get(edge: &Edge, path: &str, fields: &[(&str, &str)]) -> reqwest::Response {
    let request = edge.request(Method::GET, path);
    let request = fields.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    request.send().await.unwrap()
}

/// Whether an answer says that it depends on `Accept-Encoding`.
fn varies(answer: &reqwest::Response) -> bool {
    let mut lines = answer.headers().get_all("vary").iter();
    lines.any(|line| line == "Accept-Encoding")
}

fn decoded(coding: &str, bytes: &[u8]) -> String {
    let mut text = String::new();
    match coding {
        "zstd" => text = String::from_utf8(zstd::decode_all(bytes).unwrap()).unwrap(),
        "br" => drop(
            brotli::Decompressor::new(bytes, 4096)
                .read_to_string(&mut text)
                .unwrap(),
        ),
        "gzip" => drop(
            flate2::read::GzDecoder::new(bytes)
                .read_to_string(&mut text)
                .unwrap(),
        ),
        _ => text = String::from_utf8(bytes.to_vec()).unwrap(),
    }
    text
}

const JSON: &str = "content-type=application/json&etag=%22v1%22";

#[tokio::test]
async fn an_answer_is_compressed_as_its_client_prefers_and_its_tag_becomes_weak() {
    let app = app().await;
    let edge = edge(&app, "").await;
    let path = format!("/app/x?{JSON}");
    let plain = get(&edge, &path, &[]).await;
    assert_eq!(header(&plain, "vary"), "Accept-Encoding");
    assert_eq!(header(&plain, "content-encoding"), "");
    assert_eq!(
        (header(&plain, "etag"), header(&plain, "content-length")),
        ("\"v1\"", "4096")
    );
    for (accepted, coding) in [
        ("zstd", "zstd"),
        ("br", "br"),
        ("gzip", "gzip"),
        ("gzip, br, zstd", "zstd"),
        ("gzip;q=1, br;q=0.5", "gzip"),
        ("identity, gzip;q=0.5", ""),
        ("deflate", ""),
        ("*;q=0", ""),
    ] {
        let answer = get(&edge, &path, &[("accept-encoding", accepted)]).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(header(&answer, "content-encoding"), coding, "{accepted}");
        assert_eq!(header(&answer, "vary"), "Accept-Encoding");
        let weak = if coding.is_empty() {
            "\"v1\""
        } else {
            "W/\"v1\""
        };
        assert_eq!(header(&answer, "etag"), weak);
        let bytes = answer.bytes().await.unwrap();
        assert!(coding.is_empty() || bytes.len() < 400, "{}", bytes.len());
        assert_eq!(decoded(coding, &bytes), text(4096));

        let head = edge
            .request(Method::HEAD, &path)
            .header("accept-encoding", accepted);
        let head = head.send().await.unwrap();
        assert_eq!(
            (header(&head, "content-encoding"), header(&head, "etag")),
            (coding, weak)
        );
        // That of the compressed bytes is not known before they are sent.
        let length = if coding.is_empty() { "4096" } else { "" };
        assert_eq!(header(&head, "content-length"), length, "{accepted}");
    }
    let held = [("accept-encoding", "gzip"), ("if-none-match", "W/\"v1\"")];
    let held = get(&edge, &path, &held).await;
    assert_eq!(
        (held.status().as_u16(), header(&held, "vary")),
        (304, "Accept-Encoding")
    );
    assert_eq!(header(&held, "etag"), "W/\"v1\"");
}

#[tokio::test]
async fn what_is_small_or_must_not_be_touched_is_left_alone() {
    let app = app().await;
    let edge = edge(&app, "").await;
    let accepted = ("accept-encoding", "gzip");
    for path in [
        "/app/x?content-type=application/json&n=1023",
        "/app/x?content-type=image/png",
        "/app/x?content-type=application/grpc",
        "/app/x?content-type=application/grpc-web%2Bjson",
        "/app/x?content-type=application/zip",
        "/app/x?content-type=font/woff2",
        "/app/x?content-type=x/unknown",
        "/app/x?x-no=type",
        "/app/x?content-type=application/json&content-encoding=gzip",
        "/app/x?content-type=application/json&content-digest=sha-256%3D:x:",
        "/app/x?content-type=application/json&cache-control=no-transform",
        "/app/x?content-type=application/json&status=206&content-range=bytes%200-4095/9999",
        "/app/x?content-type=application/json&status=404&cache-control=no-transform",
        "/own/x?content-type=application/json&cache-control=max-age%3D9,no-transform",
        "/public/x?content-type=application/json&cache-control=no-transform",
        "/fixed/x?content-type=application/json",
        "/fixed/x?content-type=application/json&status=404",
    ] {
        for _ in 0..2 {
            let answer = get(&edge, path, &[accepted]).await;
            let coding = if path.contains("content-encoding") {
                "gzip"
            } else {
                ""
            };
            assert_eq!(header(&answer, "content-encoding"), coding, "{path}");
            assert!(!varies(&answer), "{path}");
            if path.contains("no-transform") || path.contains("fixed") {
                let said = header(&answer, "cache-control");
                assert!(said.contains("no-transform"), "{path}: {said}");
            }
            let length = if path.contains("n=1023") { 1023 } else { 4096 };
            assert_eq!(answer.bytes().await.unwrap().len(), length, "{path}");
        }
    }
    for path in [
        "/app/x?content-type=application/json&n=1024",
        "/app/x?content-type=application/json&n=-10",
        "/app/x?content-type=image/svg%2Bxml",
        "/app/x?content-type=text/html;charset%3Dutf-8",
        "/app/x?content-type=application/problem%2Bjson&status=500",
    ] {
        let answer = get(&edge, path, &[accepted]).await;
        assert_eq!(header(&answer, "content-encoding"), "gzip", "{path}");
        assert_eq!(header(&answer, "vary"), "Accept-Encoding", "{path}");
    }
}

#[tokio::test]
async fn another_sites_request_with_cookies_gets_no_compressed_answer() {
    let app = app().await;
    let edge = edge(&app, "").await;
    let path = format!("/app/x?{JSON}");
    let (accepted, cookie) = (("accept-encoding", "gzip"), ("cookie", "session=1"));
    for (fields, coding) in [
        (vec![accepted, cookie, ("sec-fetch-site", "cross-site")], ""),
        (
            vec![accepted, cookie, ("sec-fetch-site", "same-origin")],
            "gzip",
        ),
        (vec![accepted, cookie], "gzip"),
        (vec![accepted, ("sec-fetch-site", "cross-site")], "gzip"),
    ] {
        let answer = get(&edge, &path, &fields).await;
        assert_eq!(header(&answer, "content-encoding"), coding, "{fields:?}");
        assert_eq!(header(&answer, "vary"), "Accept-Encoding");
    }
}

#[tokio::test]
async fn stored_answers_are_compressed_with_their_length_and_conditions_hold() {
    let app = app().await;
    let edge = edge(&app, "").await;
    for path in [
        format!("/public/x?{JSON}"),
        format!("/own/x?{JSON}&cache-control=public,max-age%3D60"),
    ] {
        let plain = get(&edge, &path, &[]).await;
        let tag = header(&plain, "etag").to_owned();
        assert!(varies(&plain), "{path}");
        for coding in CODINGS {
            for _ in 0..2 {
                let answer = get(&edge, &path, &[("accept-encoding", coding)]).await;
                let status = header(&answer, "cache-status");
                assert!(status.contains("; hit"), "{path}: {status}");
                assert_eq!(header(&answer, "content-encoding"), coding);
                assert_eq!(header(&answer, "etag"), format!("W/{tag}"));
                let length: usize = header(&answer, "content-length").parse().unwrap();
                let bytes = answer.bytes().await.unwrap();
                assert_eq!(bytes.len(), length);
                assert_eq!(decoded(coding, &bytes), text(4096));
            }
            for held in [tag.clone(), format!("W/{tag}")] {
                let fields = [("accept-encoding", coding), ("if-none-match", &*held)];
                let held = get(&edge, &path, &fields).await;
                assert_eq!(
                    (held.status().as_u16(), header(&held, "etag")),
                    (304, &*format!("W/{tag}"))
                );
                assert!(varies(&held), "{path}");
            }
        }
    }
    assert_eq!(app.asked().len(), 2);
}

#[tokio::test]
async fn the_fast_path_compresses_as_the_slow_one_does() {
    let app = app().await;
    let edge = edge(&app, "").await;
    let path = "/public/json";
    let plain = get(&edge, path, &[]).await;
    let tag = header(&plain, "etag").to_owned();
    let weak = format!("W/{tag}");
    for coding in CODINGS.iter().flat_map(|coding| [*coding; 2]) {
        let accepted = ("accept-encoding", coding);
        let answer = get(&edge, path, &[accepted]).await;
        assert!(header(&answer, "cache-status").contains("; hit"));
        assert_eq!(header(&answer, "content-encoding"), coding);
        assert_eq!(header(&answer, "etag"), weak);
        assert!(varies(&answer));
        let length = header(&answer, "content-length").to_owned();
        let bytes = answer.bytes().await.unwrap();
        assert_eq!(decoded(coding, &bytes), text(4096));
        let head = edge.request(Method::HEAD, path);
        let head = head.header("accept-encoding", coding).send().await.unwrap();
        assert_eq!(
            (header(&head, "content-encoding"), header(&head, "etag")),
            (coding, &*weak)
        );
        let said = header(&head, "content-length");
        assert!(said.is_empty() || said == length, "{said}");
        let held = get(&edge, path, &[accepted, ("if-none-match", &weak)]).await;
        assert_eq!(
            (held.status().as_u16(), header(&held, "etag")),
            (304, &*weak)
        );
    }
    assert_eq!(app.asked().len(), 1);
}

#[tokio::test]
async fn an_event_arrives_before_the_next_is_sent() {
    let may_go_on = Arc::new(Semaphore::new(0));
    let semaphore = Arc::clone(&may_go_on);
    let answer = move || {
        let semaphore = Arc::clone(&semaphore);
        async move {
            let events = stream::unfold(0, move |number| {
                let semaphore = Arc::clone(&semaphore);
                async move {
                    if number > 0 {
                        semaphore.acquire().await.unwrap().forget();
                    }
                    let event = format!("data: event {number}\n\n");
                    (number < 5).then_some((Ok::<_, std::io::Error>(event), number + 1))
                }
            });
            let mut answer = Response::new(Body::from_stream(events));
            answer
                .headers_mut()
                .insert("content-type", "text/event-stream".parse().unwrap());
            answer
        }
    };
    let app = App::serve(Router::new().fallback(answer)).await;
    let edge = edge(&app, "").await;
    for coding in CODINGS {
        let mut answer = get(&edge, "/app/x", &[("accept-encoding", coding)]).await;
        assert_eq!(header(&answer, "content-encoding"), coding);
        let mut decoder: Box<dyn Decoder> = match coding {
            "zstd" => Box::new(zstd::stream::write::Decoder::new(Vec::new()).unwrap()),
            "br" => Box::new(brotli::DecompressorWriter::new(Vec::new(), 64)),
            _ => Box::new(flate2::write::GzDecoder::new(Vec::new())),
        };
        for number in 0..5 {
            let event = format!("data: event {number}\n\n");
            while !decoder.text().contains(&event) {
                let chunk = timeout(DEADLINE, answer.chunk()).await.expect("held back");
                decoder.write_all(&chunk.unwrap().expect("more")).unwrap();
                decoder.flush().unwrap();
            }
            may_go_on.add_permits(1);
        }
        while let Some(chunk) = answer.chunk().await.unwrap() {
            decoder.write_all(&chunk).unwrap();
        }
    }
}

trait Decoder: Write {
    fn text(&self) -> String;
}

impl Decoder for zstd::stream::write::Decoder<'_, Vec<u8>> {
    fn text(&self) -> String {
        String::from_utf8(self.get_ref().clone()).unwrap()
    }
}

impl Decoder for brotli::DecompressorWriter<Vec<u8>> {
    fn text(&self) -> String {
        String::from_utf8(self.get_ref().clone()).unwrap()
    }
}

impl Decoder for flate2::write::GzDecoder<Vec<u8>> {
    fn text(&self) -> String {
        String::from_utf8(self.get_ref().clone()).unwrap()
    }
}

#[tokio::test]
async fn no_encodings_turn_it_off() {
    let app = app().await;
    let edge = edge(&app, "[compression]\nencodings = []\n").await;
    let answer = get(
        &edge,
        &format!("/app/x?{JSON}"),
        &[("accept-encoding", "gzip")],
    )
    .await;
    assert_eq!(
        (header(&answer, "content-encoding"), header(&answer, "vary")),
        ("", "")
    );
}
