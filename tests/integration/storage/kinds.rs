//! The same behaviour whatever a bucket's provider is.

use std::sync::Arc;

use http::Method;
use tidegate::testkit::GatewayCommand;

use super::bucket_server::{BucketFault, BucketServer};
use super::s3_client::code;
use super::vendor::{Azurite, GcsStandIn};
use super::world::{REPOSITORY, StorageWorld, storage_command};
use crate::world::printed;

/// More than is sent at once, so that it goes in parts.
const LARGE: usize = 20 << 20;

#[tokio::test]
async fn a_bucket_of_s3_does_all_that_a_repository_needs() {
    does_all(BucketServer::start().await).await;
}

#[tokio::test]
async fn a_bucket_of_azure_does_all_that_a_repository_needs() {
    let Some(azurite) = Azurite::start().await else {
        eprintln!("SKIPPED: azurite is not installed, and it cannot be had from npm");
        return;
    };
    does_all(BucketServer::start_as(|_| Arc::new(azurite)).await).await;
}

#[tokio::test]
async fn a_redirect_leads_to_the_bytes_in_a_bucket_of_azure() {
    let Some(azurite) = Azurite::start().await else {
        eprintln!("SKIPPED: azurite is not installed, and it cannot be had from npm");
        return;
    };
    let server = BucketServer::start_as(|_| Arc::new(azurite)).await;
    let world = StorageWorld::over(vec![server], &[], &["--redirect"], "", 0).await;
    world.s3.put(REPOSITORY, "a key", b"bytes").await;
    let redirect = world.s3.get(REPOSITORY, "a key").await;
    assert_eq!(redirect.status(), 307);
    let location = redirect.headers()["location"].to_str().unwrap();
    assert!(location.starts_with(&world.buckets[0].url()), "{location}");
    let followed = world.s3.client.get(location).send().await.unwrap();
    assert_eq!(followed.bytes().await.unwrap(), "bytes");
    let unsigned = location.split('?').next().unwrap();
    let refused = world.s3.client.get(unsigned).send().await.unwrap();
    assert!(refused.status().is_client_error(), "{refused:?}");
}

#[tokio::test]
async fn a_bucket_of_google_does_all_that_a_repository_needs() {
    does_all(BucketServer::start_as(|directory| Arc::new(GcsStandIn::new(directory))).await).await;
}

async fn does_all(first: BucketServer) {
    let servers = vec![first, BucketServer::start().await];
    let world = StorageWorld::over(servers, &[], &[], "sweep_after = \"1ms\"", 0).await;
    let (s3, first) = (&world.s3, &world.buckets[0]);
    let checked = world.storage(&["bucket", "check", "bucket-0"]).await;
    assert_eq!(checked["success"], true, "{checked}");

    let body: Vec<u8> = (0..LARGE).map(|at| (at / 13) as u8).collect();
    for (key, body) in [
        ("small", &b"0123456789"[..]),
        ("empty", b""),
        ("large", &body),
    ] {
        let put = s3.put(REPOSITORY, key, body).await;
        assert_eq!(put.status(), 200, "{key}");
        assert!(s3.read(REPOSITORY, key).await == body, "{key}");
    }
    let range = async |key: &str, range: &str| {
        let request = s3.request(Method::GET, REPOSITORY, key);
        let response = request.header("range", range).send().await;
        assert_eq!(response.status(), 206);
        response.bytes().await.unwrap()
    };
    assert_eq!(range("small", "bytes=2-4").await, "234");
    assert!(range("large", "bytes=9000000-17999999").await == body[9_000_000..18_000_000]);

    let copy = s3.request(Method::PUT, REPOSITORY, "copied");
    let copy = copy.header("x-amz-copy-source", &format!("/{REPOSITORY}/small"));
    let copied = copy.send().await;
    assert_eq!(copied.status(), 200, "{}", copied.text().await.unwrap());
    assert_eq!(s3.read(REPOSITORY, "copied").await, b"0123456789");
    let listed = s3.list(REPOSITORY, &[]).await;
    assert!(listed.contains("<Key>copied</Key>") && listed.contains("<Key>large</Key>"));
    assert_eq!(world.buckets[1].count(&Method::PUT), 0);

    for key in ["small", "large", "never-there"] {
        assert_eq!(s3.delete(REPOSITORY, key).await.status(), 204);
    }
    assert_eq!(code(s3.get(REPOSITORY, "small").await).await.0, 404);
    let swept = world.storage(&["sweep"]).await;
    assert_eq!(
        (&swept["deleted"], &swept["failed"]),
        (&2.into(), &0.into())
    );
    assert_eq!(world.bucket(0).await["heldBytes"], 10);
    assert_eq!(s3.read(REPOSITORY, "copied").await, b"0123456789");

    first.fail(
        Method::PUT,
        BucketFault::Answer(403, "QUOTA_EXCEEDED: spent"),
    );
    let put = s3.put(REPOSITORY, "elsewhere", b"bytes").await;
    assert_eq!(put.status(), 200);
    assert_eq!(s3.read("bucket-1", "elsewhere").await, b"bytes");
    assert_eq!(world.bucket(0).await["writes"], false);
}

#[tokio::test]
async fn credentials_that_cannot_open_a_bucket_are_refused_when_it_is_added() {
    let world = StorageWorld::start(&[], &[]).await;
    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join("input");
    let account = r#"{"client_email": "a@b", "private_key_id": "1", "private_key": "MARK"}"#;
    let key = r#"{"accessKeyId": "account", "secretAccessKey": "MARK is not base64"}"#;
    for (provider, url, given, said) in [
        (
            "azure",
            "https://a.blob.core.windows.net/c",
            key,
            "secretAccessKey: expected",
        ),
        (
            "azure",
            "https://a.blob.core.windows.net/c",
            account,
            "serviceAccount: azure takes",
        ),
        ("azure", "s3://data", key, "url: expected"),
        (
            "gcp",
            "gs://data",
            account,
            "serviceAccount: expected a private_key",
        ),
        (
            "gcp",
            "gs://data",
            "MARK",
            "standard input: expected the JSON",
        ),
        ("aws", "s3://data", account, "serviceAccount: aws takes"),
        ("s3", "https://h/data", account, "serviceAccount: s3 takes"),
    ] {
        std::fs::write(&input, given).unwrap();
        let add = [
            "bucket",
            "add",
            "other",
            "--region",
            "here",
            "--credentials",
            "stdin",
        ];
        let command = storage_command(&world.cluster, &add);
        let command = command
            .arg("--provider")
            .arg(provider)
            .arg("--url")
            .arg(url);
        let error = refused(command.input(&input).unwrap()).await;
        assert!(
            error.contains(said) && !error.contains("MARK"),
            "{provider}: {error}"
        );
    }
    let buckets = world.storage(&["bucket", "list"]).await;
    assert_eq!(buckets.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_role_is_refused_where_its_token_would_be_sent_to_others() {
    let world = StorageWorld::start(&[], &[]).await;
    for (provider, url, role) in [
        ("s3", "https://h/data", ["--credentials", "role"]),
        ("azure", "https://h/data", ["--credentials", "role"]),
        ("gcp", "http://h/data", ["--credentials", "role"]),
        (
            "gcp",
            "gs://data",
            ["--role", "arn:aws:iam::123456789012:role/a"],
        ),
    ] {
        let add = [
            "bucket", "add", "other", "--region", "here", role[0], role[1],
        ];
        let command = storage_command(&world.cluster, &add);
        refused(
            command
                .arg("--provider")
                .arg(provider)
                .arg("--url")
                .arg(url),
        )
        .await;
    }
    assert_eq!(
        world
            .storage(&["bucket", "list"])
            .await
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn new_credentials_are_read_from_standard_input_and_checked() {
    let world = StorageWorld::start(&[], &[]).await;
    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join("input");
    let replace = [
        "bucket",
        "credentials",
        "bucket-0",
        "--credentials",
        "stdin",
    ];
    let wrong = r#"{"accessKeyId": "AKIATEST", "secretAccessKey": "MARK"}"#;
    std::fs::write(&input, wrong).unwrap();
    let command = storage_command(&world.cluster, &replace)
        .input(&input)
        .unwrap();
    let error = refused(command).await;
    assert!(
        error.contains("write:") && !error.contains("MARK"),
        "{error}"
    );
    let right = serde_json::json!({
        "accessKeyId": super::vendor::ACCESS_KEY,
        "secretAccessKey": super::vendor::SECRET_KEY,
    });
    std::fs::write(&input, right.to_string()).unwrap();
    printed(
        storage_command(&world.cluster, &replace)
            .input(&input)
            .unwrap(),
    )
    .await;
    world.s3.put(REPOSITORY, "key", b"bytes").await;
    assert_eq!(world.s3.read("bucket-0", "key").await, b"bytes");
}

/// What a command says that must fail.
async fn refused(command: GatewayCommand) -> String {
    let output = command.output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{said}");
    said
}
