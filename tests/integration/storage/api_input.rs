//! Hostile input to the JSON API: refused by a problem that names the field, and nothing is reached.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::api_client::ApiClient;
use super::bucket_server::BucketFault;
use super::world::{REPOSITORY, StorageWorld};

/// A listener that must not be connected to.
struct Forbidden {
    address: SocketAddr,
    reached: Arc<AtomicUsize>,
}

impl Forbidden {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, reached) = (
            listener.local_addr().unwrap(),
            Arc::new(AtomicUsize::new(0)),
        );
        let count = Arc::clone(&reached);
        tokio::spawn(async move {
            while let Ok(_connection) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address, reached }
    }
}

/// A bucket with one field changed.
fn bucket_with(field: &str, value: Value) -> Value {
    let mut bucket = json!({
        "name": "hostile", "provider": "s3", "region": "here", "url": "https://s3.example.com/data",
        "accessKeyId": "id", "secretAccessKey": "hidden-value",
    });
    bucket[field] = value;
    bucket
}

fn repository_with(field: &str, value: Value) -> Value {
    let mut repository = json!({"name": "hostile-data", "buckets": ["bucket-0"]});
    repository[field] = value;
    repository
}

async fn refused(api: &ApiClient, path: &str, body: &Value, names: &str) {
    let (status, answer) = api.send(Method::POST, path, Some(&body.to_string())).await;
    assert_eq!(status, 400, "{body}: {answer}");
    let detail = answer["detail"].as_str().unwrap();
    assert!(
        detail.contains(names) && detail.len() < 500,
        "{body}: {detail}"
    );
    assert!(!detail.contains("hidden-value"), "{detail}");
}

async fn no_row_was_made(api: &ApiClient) {
    let (buckets, repositories) = (api.get("/bucket").await, api.get("/repo").await);
    assert_eq!(
        (&buckets["total"], &repositories["total"]),
        (&json!(2), &json!(1))
    );
}

#[tokio::test]
async fn a_name_that_is_none_is_refused_and_no_row_is_made() {
    let world = StorageWorld::start(&[], &[]).await;
    let api = ApiClient::of(&world.gateways[0]).await;
    let long = "x".repeat(100_000);
    let names = [
        "'; drop table tidegate.storage_bucket; --",
        "../../etc",
        "a/b",
        "A",
        "",
        "a\u{0}b",
        "10.0.0.1",
        &long,
    ];
    for name in names {
        refused(&api, "/bucket", &bucket_with("name", json!(name)), "name").await;
        refused(&api, "/repo", &repository_with("name", json!(name)), "name").await;
        refused(
            &api,
            "/repo",
            &repository_with("buckets", json!([name])),
            "buckets",
        )
        .await;
    }
    no_row_was_made(&api).await;
}

#[tokio::test]
async fn a_field_of_a_bucket_that_cannot_be_used_is_named_and_no_row_is_made() {
    let world = StorageWorld::start(&[], &[]).await;
    let api = ApiClient::of(&world.gateways[0]).await;
    let long = "x".repeat(100_000);
    for (field, value) in [
        ("name", json!(5)),
        ("name", json!(["a"])),
        ("provider", json!("s4")),
        ("provider", json!({"s3": 1})),
        ("region", json!("evil.example/#")),
        ("region", json!("")),
        ("url", json!("x")),
        ("url", json!("https://u:p@h/b")),
        ("url", json!("https://h/b\u{0}")),
        ("url", json!("gopher://h/b")),
        ("url", json!("https://s3.example.com/x#f")),
        ("url", json!("https://s3.example.com/x/../../y")),
        ("url", json!("https://s3.example.com/x%2f..")),
        ("url", json!(format!("https://h/{long}"))),
        ("accessKeyId", json!("a\nb")),
        ("accessKeyId", json!("ключ")),
        ("accessKeyId", json!("")),
        ("secretAccessKey", json!({"hidden-value": "hidden-value"})),
        ("secretAccessKey", json!(null)),
        ("secretAccessKey", json!("")),
        ("secretAccessKey", json!("hidden-value\u{0}")),
        ("softCap", json!("80%")),
        ("softCap", json!(1.5)),
        ("softCap", json!(-1)),
        ("credit", json!(-1)),
        ("credit", json!(1.5)),
        ("credit", json!(u64::MAX)),
        ("quota", json!("1TiB")),
        ("priceOut", json!(-0.1)),
        ("role", json!("process")),
        ("serviceAccount", json!(["a@b", "1", "hidden-value"])),
        ("writes", json!(true)),
        ("id", json!("mine")),
        ("public_only", json!(false)),
    ] {
        let named = match field {
            "secretAccessKey" if value.is_null() => "secretAccessKey",
            "role" => "credentials",
            field => field,
        };
        refused(&api, "/bucket", &bucket_with(field, value), named).await;
    }
    no_row_was_made(&api).await;
}

#[tokio::test]
async fn what_does_not_open_a_bucket_is_named() {
    let world = StorageWorld::start(&[], &[]).await;
    let api = ApiClient::of(&world.gateways[0]).await;
    let account =
        json!({"client_email": "a@b", "private_key_id": "1", "private_key": "hidden-value"});
    for (provider, url, field, value, said) in [
        (
            "gcp",
            "gs://data",
            "serviceAccount",
            account,
            "expected a private_key in PEM",
        ),
        (
            "aws",
            "s3://data",
            "role",
            json!("arn:aws:iam::123456789012:role/a"),
            "AWS_WEB_IDENTITY_TOKEN_FILE is not set",
        ),
        (
            "aws",
            "s3://data",
            "role",
            json!("arn:"),
            "the ARN of a role",
        ),
    ] {
        let mut bucket =
            json!({"name": "hostile", "provider": provider, "region": "here", "url": url});
        bucket[field] = value;
        refused(&api, "/bucket", &bucket, &format!("{field}: ")).await;
        refused(&api, "/bucket", &bucket, said).await;
    }
    no_row_was_made(&api).await;
}

#[tokio::test]
async fn a_field_of_a_repository_or_a_key_that_cannot_be_used_is_named_and_no_row_is_made() {
    let world = StorageWorld::start(&[], &[]).await;
    let api = ApiClient::of(&world.gateways[0]).await;
    for (field, value) in [
        ("buckets", json!([])),
        ("buckets", json!("bucket-0")),
        ("buckets", json!(["bucket-0", "bucket-0"])),
        ("write", json!("copies:9")),
        // There is one member.
        ("write", json!("copies:2")),
        ("read", json!("slowest")),
        ("consistency", json!("none")),
        ("redirect", json!("yes")),
        ("readSlo", json!(50)),
        ("readSlo", json!("0s")),
        ("rules", json!([{"prefix": "a", "write": "credit", "x": 1}])),
        ("rules", json!([["a", "credit", []]])),
        ("mirror", json!(["bucket-1", "1h", "7d", 0.5, true])),
        ("rules", json!([{"prefix": "a\u{0}", "write": "credit"}])),
        (
            "rules",
            json!([{"prefix": "a", "write": "credit"}, {"prefix": "a", "write": "nearest"}]),
        ),
        (
            "rules",
            json!([{"prefix": "a", "write": "credit", "members": ["bucket-9"]}]),
        ),
        ("parent", json!("x")),
    ] {
        refused(&api, "/repo", &repository_with(field, value), field).await;
    }
    let keys = format!("/repo/{REPOSITORY}/apikey");
    for body in [json!({"mode": "root"}), json!({"mode": 1}), json!({})] {
        refused(&api, &keys, &body, "mode").await;
    }
    no_row_was_made(&api).await;
}

#[tokio::test]
async fn bodies_and_paths_that_are_no_request_get_4xx() {
    let world = StorageWorld::start(&[], &[]).await;
    let api = ApiClient::of(&world.gateways[0]).await;
    // Not sent: the gateway answers, and closes, before it has read so much.
    let address = api.base.trim_start_matches("http://");
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /bucket HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{{",
        api.token,
        10 << 20
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    socket.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
    let deep = "[".repeat(100_000);
    for (body, expected) in [
        (&*deep, 400),
        ("", 400),
        ("null", 400),
        ("[]", 400),
        (
            "[\"listed\", [\"bucket-0\"], \"credit\", \"fastest\", \"strong\", false, null, null, []]",
            400,
        ),
        ("{\"name\": \"a\", \"name\": \"b\"}", 400),
        ("{\"name\": \"\\ud800\"}", 400),
        ("{}{}", 400),
    ] {
        for path in ["/bucket", "/repo"] {
            let (status, answer) = api.send(Method::POST, path, Some(body)).await;
            assert_eq!(status, expected, "{answer}");
        }
    }
    let (status, _) = api.send(Method::POST, "/bucket", None).await;
    assert_eq!(status, 415);
    for path in [
        "/bucket/..%2f..%2fetc",
        "/bucket/%00",
        "/bucket/%FF",
        "/bucket/'%20or%20'1'='1",
        "/repo/a%27%3B--/apikey",
        "/bucket/x/validate/y",
        "/admin/topology",
    ] {
        let (status, answer) = api.send(Method::GET, path, None).await;
        assert_eq!(status, 404, "{path}: {answer}");
    }
    let (status, _) = api.send(Method::PUT, "/bucket", None).await;
    assert_eq!(status, 405);
}

#[tokio::test]
async fn an_endpoint_that_is_not_public_is_refused_and_never_connected_to() {
    let mut world = StorageWorld::start(&[], &[]).await;
    let api = ApiClient::of(&world.gateways[0]).await;
    let forbidden = Forbidden::start().await;
    let port = forbidden.address.port();
    for host in [
        "127.0.0.1",
        "0x7f.1",
        "2130706433",
        "localhost",
        "LOCALHOST.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "[fd12::1]",
        "169.254.169.254",
        "[fe80::1]",
        "metadata.google.internal",
    ] {
        for provider in ["s3", "aws", "azure", "gcp"] {
            let url = format!("http://{host}:{port}/data");
            let mut bucket = bucket_with("url", json!(url));
            bucket["provider"] = json!(provider);
            refused(&api, "/bucket", &bucket, "url").await;
        }
    }
    refused(
        &api,
        "/bucket",
        &{
            let mut bucket = bucket_with("url", json!("file:///etc"));
            bucket["provider"] = json!("file");
            bucket
        },
        "accessKeyId: file takes none",
    )
    .await;

    // A name is looked up when it is connected to, and then by the same rule.
    let named = format!("http://ip6-localhost:{port}/data");
    let named = bucket_with("url", json!(named));
    api.change(Method::POST, "/bucket", &named).await;
    let (status, checked) = api
        .send(Method::POST, "/bucket/hostile/validate", None)
        .await;
    assert_eq!((status, &checked["success"]), (200, &json!(false)));
    assert_eq!(checked["latencyMs"], Value::Null);

    // Nor is one that a bucket sends the gateway to.
    world.s3 = world.add_gateway("api_endpoints = \"any\"").await;
    let api = ApiClient::of(&world.gateways[1]).await;
    let elsewhere = format!("http://{}/data", forbidden.address);
    world.buckets[0].fail_all(&BucketFault::RedirectTo(elsewhere));
    let (_, checked) = api
        .send(Method::POST, "/bucket/bucket-0/validate", None)
        .await;
    assert_eq!(checked["success"], false);
    assert_eq!(forbidden.reached.load(Ordering::SeqCst), 0);
}
