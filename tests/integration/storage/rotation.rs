//! Keys whose secret is replaced while clients use it.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::json;
use tidegate::testkit::until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::s3_client::{S3Client, code, signature_of, stamps};
use super::world::{REPOSITORY, StorageWorld};
use crate::world::DEADLINE;

pub(super) const FORM: &str = "multipart/form-data; boundary=limit";

/// Waits until a secret opens the repository, or does not.
async fn turns(s3: &S3Client, status: u16) {
    let turned = async || {
        let read = s3.get(REPOSITORY, "key").await;
        Ok((read.status() == status).then_some(()))
    };
    until("every gateway knows", DEADLINE, turned)
        .await
        .unwrap();
}

/// Every way in which a request can be signed.
async fn is_opened(s3: &S3Client) {
    assert_eq!(s3.put(REPOSITORY, "key", b"bytes").await.status(), 200);
    let large = vec![7; 9 << 20];
    assert_eq!(s3.put(REPOSITORY, "large", &large).await.status(), 200);
    assert!(s3.read(REPOSITORY, "large").await == large);
    let chunked = s3.request(Method::PUT, REPOSITORY, "chunked");
    let chunked = chunked
        .header("content-encoding", "aws-chunked")
        .header("x-amz-decoded-content-length", "5")
        .header("x-amz-trailer", "x-amz-checksum-crc32")
        .body(b"5\r\nbytes\r\n0\r\nx-amz-checksum-crc32:sZlDzg==\r\n\r\n");
    let chunked = chunked
        .send_with_hash("STREAMING-UNSIGNED-PAYLOAD-TRAILER")
        .await;
    assert_eq!(chunked.status(), 200);
    let crc32 = ("x-amz-checksum-crc32", "sZlDzg==");
    for trailer in [None, Some(crc32)] {
        let put = s3.request(Method::PUT, REPOSITORY, "chunked");
        let put = put.body(b"bytes").send_in_chunks(3, trailer).await;
        assert_eq!(put.status(), 200, "{trailer:?}");
        assert_eq!(s3.read(REPOSITORY, "chunked").await, b"bytes");
    }
    // A digest is compared whichever secret has signed it.
    let wrong = ("x-amz-checksum-crc32", "AAAAAA==");
    let put = s3.request(Method::PUT, REPOSITORY, "chunked");
    let put = put.body(b"bytes").send_in_chunks(3, Some(wrong)).await;
    assert_eq!(code(put).await, (400, "BadDigest".to_owned()));
    for file in ["bytes", &"x".repeat(3 << 20)] {
        assert_eq!(post(s3, "form", file).await, 204);
    }
    let url = s3.request(Method::GET, REPOSITORY, "key").presigned(60);
    let read = s3.client.get(url).send().await.unwrap();
    assert_eq!(read.status(), 200);
}

/// Uploads by a form, as browsers do; its signature is in the body.
pub(super) async fn post(s3: &S3Client, key: &str, file: &str) -> u16 {
    let request = s3.client.post(format!("{}/{REPOSITORY}", s3.base));
    let request = request.header("content-type", FORM);
    let body = format!("{}\r\n--limit--\r\n", form(s3, key, file));
    request.body(body).send().await.unwrap().status().as_u16()
}

/// A form up to the end of its file.
fn form(s3: &S3Client, key: &str, file: &str) -> String {
    form_with(s3, key, &[], file)
}

/// The same with more fields.
pub(super) fn form_with(s3: &S3Client, key: &str, more: &[(&str, &str)], file: &str) -> String {
    let (date, stamp) = stamps(SystemTime::now());
    let credential = format!("{}/{date}/anywhere/s3/aws4_request", s3.key_id);
    let of_key = match key.split_once("${filename}") {
        Some((before, _)) => json!(["starts-with", "$key", before]),
        None => json!({"key": key}),
    };
    let mut policy = json!({"expiration": "2099-01-01T00:00:00Z", "conditions": [
        {"bucket": REPOSITORY}, of_key, {"x-amz-algorithm": "AWS4-HMAC-SHA256"},
        {"x-amz-credential": credential}, {"x-amz-date": stamp},
    ]});
    let conditions = policy["conditions"].as_array_mut().unwrap();
    let names = more.iter().map(|(name, _)| name.to_ascii_lowercase());
    conditions.extend(names.map(|name| json!(["starts-with", format!("${name}"), ""])));
    let policy = STANDARD.encode(policy.to_string());
    let signature = signature_of(&s3.secret, &date, &policy);
    let mut body = String::new();
    let fields = [
        ("key", key),
        ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
        ("x-amz-credential", &*credential),
        ("x-amz-date", &*stamp),
        ("policy", &*policy),
        ("x-amz-signature", &*signature),
    ];
    let file = [("file\"; filename=\"a", file)];
    for (name, value) in fields.iter().chain(more).chain(&file) {
        let head = format!("content-disposition: form-data; name=\"{name}\"");
        body += &format!("--limit\r\n{head}\r\n\r\n{value}\r\n");
    }
    body.trim_end().to_owned()
}

#[tokio::test]
async fn a_form_with_a_wrong_signature_is_refused_before_its_file_is_read() {
    let world = StorageWorld::start(&[], &[]).await;
    let first = world.s3.clone();
    let rotated = world.storage(&["key", "rotate", &first.key_id]).await;
    let second = S3Client {
        secret: rotated["secret"].as_str().unwrap().to_owned(),
        ..first.clone()
    };
    world.s3.put(REPOSITORY, "key", b"bytes").await;
    turns(&second, 200).await;
    let wrong = S3Client {
        secret: "another".to_owned(),
        ..first
    };
    let form = form(&wrong, "form", "bytes");
    let address = wrong.base.trim_start_matches("http://");
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /{REPOSITORY} HTTP/1.1\r\nhost: {address}\r\ncontent-type: {FORM}\r\n\
         content-length: {}\r\n\r\n",
        15 << 20
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(form.as_bytes()).await.unwrap();
    // The rest is not sent.
    let mut status = [0; 12];
    let answered = timeout(DEADLINE, socket.read_exact(&mut status)).await;
    answered.unwrap().unwrap();
    assert_eq!(&status, b"HTTP/1.1 403");
}

#[tokio::test]
async fn both_secrets_of_a_key_hold_until_its_rotation_is_finished() {
    let mut world = StorageWorld::start(&[], &[]).await;
    let second_gateway = world.add_gateway("").await;
    let first = world.s3.clone();
    let other = world.key("write").await;
    is_opened(&first).await;
    let rotated = world.storage(&["key", "rotate", &first.key_id]).await;
    assert_eq!(rotated["keyId"], *first.key_id);
    let second = S3Client {
        secret: rotated["secret"].as_str().unwrap().to_owned(),
        ..first.clone()
    };
    for base in [&first.base, &second_gateway.base] {
        let at = |s3: &S3Client| S3Client {
            base: base.clone(),
            ..s3.clone()
        };
        turns(&at(&second), 200).await;
        for s3 in [&first, &second, &other] {
            is_opened(&at(s3)).await;
        }
        let wrong = S3Client {
            secret: "another".to_owned(),
            ..at(&first)
        };
        let refused = code(wrong.get(REPOSITORY, "key").await).await;
        assert_eq!(refused, (403, "SignatureDoesNotMatch".to_owned()));
    }
    // A second rotation would make a third secret.
    let again = super::world::storage_command(&world.cluster, &["key", "rotate", &first.key_id]);
    assert!(!again.output().await.unwrap().status.success());
    let listed = world.storage(&["key", "list", REPOSITORY]).await;
    let mut listed = listed.as_array().unwrap().iter();
    let key = listed.find(|key| key["keyId"] == *first.key_id).unwrap();
    assert_eq!(key["rotating"], true);

    world
        .storage(&["key", "rotate", &first.key_id, "--finish"])
        .await;
    turns(&first, 403).await;
    is_opened(&second).await;
    is_opened(&other).await;
}

#[tokio::test]
async fn a_rotation_that_is_not_finished_ends_after_24_hours() {
    let world = StorageWorld::start(&[], &[]).await;
    let first = world.s3.clone();
    world.s3.put(REPOSITORY, "key", b"bytes").await;
    let rotated = world.storage(&["key", "rotate", &first.key_id]).await;
    let second = S3Client {
        secret: rotated["secret"].as_str().unwrap().to_owned(),
        ..first.clone()
    };
    turns(&second, 200).await;
    let age = |hours: u32| {
        format!(
            "update tidegate.storage_key set rotated = now() - interval '{hours} h' returning 1"
        )
    };
    world.value(&age(23)).await;
    turns(&first, 200).await;
    world.value(&age(25)).await;
    turns(&first, 403).await;
    is_opened(&second).await;
    // It can be rotated again, and sealed anew meanwhile.
    let rotated = world.storage(&["key", "rotate", &first.key_id]).await;
    let third = S3Client {
        secret: rotated["secret"].as_str().unwrap().to_owned(),
        ..first.clone()
    };
    turns(&third, 200).await;
    is_opened(&second).await;
}
