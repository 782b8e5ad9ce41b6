//! Conditions that are judged, or refused before anything is done.

use http::Method;

use super::world::{REPOSITORY, StorageWorld};

const PAST: &str = "Thu, 01 Jan 1970 00:00:00 GMT";

#[tokio::test]
async fn an_empty_condition_of_a_read_is_400() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    s3.put(REPOSITORY, "key", b"bytes").await;
    for name in [
        "if-match",
        "if-none-match",
        "if-modified-since",
        "if-unmodified-since",
    ] {
        for method in [Method::GET, Method::HEAD] {
            let request = s3.request(method.clone(), REPOSITORY, "key");
            let answer = request.header(name, "").send().await;
            assert_eq!(answer.status(), 400, "{method} {name}");
        }
    }
}

#[tokio::test]
async fn a_write_whose_condition_is_not_judged_is_refused_and_changes_nothing() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    let put = s3.put(REPOSITORY, "key", b"bytes").await;
    let etag = put.headers()["etag"].to_str().unwrap().to_owned();
    let list = format!("\"other\", {etag}");
    for (method, name, value, status) in [
        (Method::DELETE, "if-none-match", "*", 501_u16),
        (Method::DELETE, "if-unmodified-since", PAST, 501),
        (Method::DELETE, "if-modified-since", PAST, 501),
        (Method::DELETE, "if-match", "", 400),
        (Method::DELETE, "if-match", "\"other\"", 412),
        (Method::DELETE, "x-amz-if-match-size", "4", 412),
        (Method::DELETE, "x-amz-if-match-size", "5x", 400),
        (
            Method::DELETE,
            "x-amz-if-match-last-modified-time",
            PAST,
            412,
        ),
        (Method::PUT, "if-unmodified-since", PAST, 501),
        (Method::PUT, "if-none-match", &*list, 501),
        (Method::PUT, "if-match", &*list, 501),
        (Method::PUT, "if-match", "", 400),
        (Method::PUT, "if-none-match", &*etag, 412),
        (Method::PUT, "x-amz-if-match-size", "5", 501),
    ] {
        let body: &[u8] = if method == Method::PUT { b"other" } else { b"" };
        let request = s3.request(method.clone(), REPOSITORY, "key").body(body);
        let answer = request.header(name, value).send().await;
        assert_eq!(answer.status(), status, "{method} {name}: {value}");
    }
    assert_eq!(s3.read(REPOSITORY, "key").await, b"bytes");
    // A read finds the object's ETag in a list.
    for (name, status) in [("if-none-match", 304_u16), ("if-match", 200)] {
        let request = s3.request(Method::GET, REPOSITORY, "key");
        let answer = request.header(name, &list).send().await;
        assert_eq!(answer.status(), status, "{name}");
    }
    let delete = s3.request(Method::DELETE, REPOSITORY, "key");
    let delete = delete.header("x-amz-if-match-size", "5").send().await;
    assert_eq!(delete.status(), 204);
}
