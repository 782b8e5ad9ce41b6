//! Bodies and keys that are wrong, members that are slow or lead elsewhere, and a commit that is cut off.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body_util::Full;
use nix::sys::signal::Signal;
use ring::digest::{SHA256, digest};
use tidegate::testkit::until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::bucket_server::{BucketFault, BucketServer};
use super::rotation::{FORM, form_with, post};
use super::s3_client::{code, hex};
use super::world::{REPOSITORY, StorageWorld};
use crate::world::DEADLINE;

/// More than is sent at once, so that it goes in parts.
const LARGE: usize = 20 << 20;

#[tokio::test]
async fn a_body_of_another_length_than_declared_is_400_and_nothing_is_visible() {
    let world = StorageWorld::start(&[], &[]).await;
    for declared in [4, 6] {
        let put = world.s3.request(Method::PUT, REPOSITORY, "key");
        let put = put
            .header("content-encoding", "aws-chunked")
            .header("x-amz-decoded-content-length", &declared.to_string())
            .header("x-amz-trailer", "x-amz-checksum-crc32")
            .body(b"5\r\nbytes\r\n0\r\nx-amz-checksum-crc32:sZlDzg==\r\n\r\n");
        let put = put
            .send_with_hash("STREAMING-UNSIGNED-PAYLOAD-TRAILER")
            .await;
        assert_eq!(
            code(put).await,
            (400, "IncompleteBody".to_owned()),
            "{declared}"
        );
    }
    // One that the client breaks off has no answer that it would read.
    let put = world
        .s3
        .request(Method::PUT, REPOSITORY, "key")
        .body(b"bytes");
    let mut socket = begin(&put.signed(), "content-length: 5\r\n").await;
    socket.write_all(b"byt").await.unwrap();
    socket.shutdown().await.unwrap();
    let _answer = socket.read_to_end(&mut Vec::new()).await;
    assert_eq!(world.s3.get(REPOSITORY, "key").await.status(), 404);
    assert!(world.buckets.iter().all(|bucket| bucket.sizes().is_empty()));
}

/// Sends the head of a request, in which lines say what its body is.
async fn begin(request: &http::Request<Full<Bytes>>, framing: &str) -> TcpStream {
    let (method, uri) = (request.method(), request.uri());
    let target = uri.path_and_query().unwrap();
    let mut head = format!("{method} {target} HTTP/1.1\r\n{framing}");
    for (name, value) in request.headers() {
        head += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    let address = uri.authority().unwrap().as_str();
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket
        .write_all(format!("{head}\r\n").as_bytes())
        .await
        .unwrap();
    socket
}

#[tokio::test]
async fn a_body_without_a_length_is_411_and_replaces_nothing() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    s3.put(REPOSITORY, "key", b"bytes").await;
    let empty = hex(digest(&SHA256, b"").as_ref());
    let put = || s3.request(Method::PUT, REPOSITORY, "key");
    let part = || put().query("partNumber", "1").query("uploadId", "any");
    let delete = s3.request(Method::POST, REPOSITORY, "").query("delete", "");
    for (request, hash) in [
        (put(), &*empty),
        (put(), "UNSIGNED-PAYLOAD"),
        (part(), &*empty),
        (part(), "UNSIGNED-PAYLOAD"),
        (delete, &*empty),
    ] {
        let request = request.signed_with_hash(hash);
        let shown = format!("{} {} {hash}", request.method(), request.uri());
        let mut socket = begin(&request, "connection: close\r\n").await;
        let mut answer = String::new();
        let read = timeout(DEADLINE, socket.read_to_string(&mut answer)).await;
        read.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 411 "), "{shown}: {answer}");
        let code = "<Code>MissingContentLength</Code>";
        assert!(answer.contains(code), "{shown}: {answer}");
    }
    assert_eq!(s3.read(REPOSITORY, "key").await, b"bytes");
    assert_eq!(s3.put(REPOSITORY, "key", b"").await.status(), 200);
    assert_eq!(s3.read(REPOSITORY, "key").await, b"");
}

#[tokio::test]
async fn a_wrong_digest_is_not_acknowledged_after_a_member_has_failed() {
    let world = StorageWorld::start(&[], &[]).await;
    world.buckets[0].fail(Method::PUT, BucketFault::Answer(500, ""));
    let put = world.s3.request(Method::PUT, REPOSITORY, "large");
    let put = put.header("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==");
    let put = put.body(&vec![7; LARGE]).send().await;
    assert_eq!(code(put).await, (400, "BadDigest".to_owned()));
    assert_eq!(world.s3.get(REPOSITORY, "large").await.status(), 404);
    until("no part is left", DEADLINE, async || {
        let left: usize = world.buckets.iter().map(BucketServer::unfinished).sum();
        Ok((left == 0).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_key_that_is_not_utf_8_is_400() {
    let world = StorageWorld::start(&[], &[]).await;
    for path in ["%FF", "a%C3", "%ED%A0%80"] {
        let put = world.s3.request(Method::PUT, REPOSITORY, "").below(path);
        assert_eq!(put.body(b"x").send().await.status(), 400, "{path}");
    }
}

#[tokio::test]
async fn keys_that_nobody_could_read_are_400_wherever_they_are_named() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    for key in ["", "a\0b", &"x".repeat(1_025)] {
        assert_eq!(post(s3, key, "bytes").await, 400, "{key:?}");
    }
    assert_eq!(post(s3, "readable", "bytes").await, 204);
    let listed = s3.list(REPOSITORY, &[]).await;
    assert_eq!(listed.matches("<Key>").count(), 1, "{listed}");
    for (name, value) in [
        ("prefix", "\0"),
        ("start-after", "a\0"),
        ("continuation-token", "AA"),
    ] {
        let list = s3.request(Method::GET, REPOSITORY, "");
        let list = list.query("list-type", "2").query(name, value);
        let refused = code(list.send().await).await;
        assert_eq!(refused, (400, "InvalidArgument".to_owned()), "{name}");
    }
    let copy = s3.request(Method::PUT, REPOSITORY, "copy");
    let copy = copy.header("x-amz-copy-source", &format!("/{REPOSITORY}/a%00"));
    let refused = code(copy.send().await).await;
    assert_eq!(refused, (400, "InvalidArgument".to_owned()));
}

#[tokio::test]
async fn a_member_that_is_slow_costs_no_error() {
    let policy = ["--write", "copies:2", "--read", "order"];
    let world = StorageWorld::start(&[], &policy).await;
    let body: Vec<u8> = (0..2 << 20).map(|at| (at / 23) as u8).collect();
    world.s3.put(REPOSITORY, "key", &body).await;
    // Half of the pace that a member must have.
    world.buckets[0].fail(Method::GET, BucketFault::Trickle(128 << 10));
    let started = Instant::now();
    assert!(world.s3.read(REPOSITORY, "key").await == body);
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(world.buckets[1].count(&Method::GET) > 0);
    // A write is not waited for longer than it may take.
    world.buckets[0].fail(Method::PUT, BucketFault::Delay(Duration::from_secs(7)));
    world
        .storage(&[
            "repository",
            "add",
            "one-copy",
            "--member",
            "bucket-0",
            "--member",
            "bucket-1",
        ])
        .await;
    let s3 = world.key_of("one-copy", "write").await;
    assert_eq!(s3.put("one-copy", "key", b"bytes").await.status(), 200);
    assert_eq!(s3.read("bucket-1", "key").await, b"bytes");
}

#[tokio::test]
async fn a_member_that_sends_requests_elsewhere_is_not_followed() {
    let world = StorageWorld::start(&[], &[]).await;
    world.buckets[0].fail_all(&BucketFault::RedirectTo(world.buckets[1].url()));
    let before = world.buckets[1].count(&Method::PUT);
    assert_eq!(
        world.s3.put("bucket-0", "key", b"bytes").await.status(),
        503
    );
    assert_eq!(world.buckets[1].count(&Method::PUT), before);
}

#[tokio::test]
async fn a_form_names_its_object_after_its_file_before_the_policy_is_judged() {
    let world = StorageWorld::start(&[], &[]).await;
    let put = async |key: &str| post(&world.s3, key, "bytes").await;
    assert_eq!(put("f/${filename}").await, 204);
    assert_eq!(world.s3.read(REPOSITORY, "f/a").await, b"bytes");
    assert_eq!(put("f/$filename").await, 204);
    assert_eq!(world.s3.read(REPOSITORY, "f/$filename").await, b"bytes");
    let objects = "select string_agg(key, ' ' order by key) from tidegate.storage_object";
    assert_eq!(world.value(objects).await, "f/$filename f/a");
}

#[tokio::test]
async fn a_form_that_its_policy_does_not_allow_is_access_denied() {
    let world = StorageWorld::start(&[], &[]).await;
    let post = async |form: String| {
        let request = world
            .s3
            .client
            .post(format!("{}/{REPOSITORY}", world.s3.base));
        let request = request.header("content-type", FORM);
        let answer = request.body(format!("{form}\r\n--limit--\r\n")).send();
        answer.await.unwrap()
    };
    let status = [("success_action_status", "201")];
    let form = form_with(&world.s3, "form", &status, "bytes");
    let other = form.replace("\r\n\r\nform\r\n", "\r\n\r\nother\r\n");
    assert_ne!(form, other);
    let denied = (403, "AccessDenied".to_owned());
    assert_eq!(code(post(other).await).await, denied);
    assert_eq!(world.s3.get(REPOSITORY, "other").await.status(), 404);
    let made = post(form).await;
    assert_eq!(made.status(), 201);
    let text = made.text().await.unwrap();
    assert!(text.contains("<ETag>&quot;"), "{text}");
}

#[tokio::test]
async fn a_gateway_killed_in_the_middle_of_a_commit_leaves_one_version_whole() {
    let settings = "lease = \"5s\"\nsweep_interval = \"200ms\"\nsweep_after = \"1ms\"";
    let mut world = StorageWorld::with(1, &[], &[], settings, 0).await;
    world.s3.put(REPOSITORY, "key", b"old").await;
    // The commit waits for the key's row.
    let lock = "begin; lock table tidegate.storage_object in share mode";
    let primary = world.cluster.primary.client().await.unwrap();
    primary.batch_execute(lock).await.unwrap();
    let s3 = world.s3.clone();
    let put = tokio::spawn(async move {
        let request = s3.request(Method::PUT, REPOSITORY, "key");
        request.body(b"newer").try_send().await
    });
    let waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%storage_put%'";
    until("the commit waits", DEADLINE, async || {
        Ok((world.value(waits).await == "1").then_some(()))
    })
    .await
    .unwrap();
    world.gateways[0].signal(Signal::SIGKILL);
    put.await.unwrap().unwrap_err();
    primary.batch_execute("commit").await.unwrap();
    world.s3 = world.add_gateway(settings).await;
    until("no reservation is left", DEADLINE, async || {
        let left = "select count(*) from tidegate.storage_copy where state <> 'stored'";
        Ok((world.value(left).await == "0").then_some(()))
    })
    .await
    .unwrap();
    let read = world.s3.read(REPOSITORY, "key").await;
    assert!(read == b"old" || read == b"newer", "{read:?}");
    let held = world.bucket(0).await["heldBytes"].as_u64().unwrap();
    assert_eq!(held, read.len() as u64);
    assert_eq!(world.buckets[0].sizes(), [held]);
}
