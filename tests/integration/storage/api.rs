//! Buckets, repositories and keys through the JSON API, in force at every gateway.

use http::Method;
use serde_json::{Value, json};
use tidegate::testkit::until;
use tokio::time::{Duration, Instant};

use super::api_client::{ApiClient, token};
use super::bucket_server::{BucketFault, BucketServer};
use super::s3_client::{S3Client, code};
use super::vendor::{ACCESS_KEY, SECRET_KEY};
use super::world::{REPOSITORY, StorageWorld};
use crate::world::{DEADLINE, JWT_SECRET};

/// Where the buckets of the tests are.
const ANYWHERE: &str = "api_endpoints = \"any\"";

fn bucket_at(name: &str, server: &BucketServer) -> Value {
    json!({
        "name": name, "provider": "s3", "region": "here", "url": server.url(),
        "accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY,
    })
}

#[tokio::test]
async fn what_is_declared_at_one_gateway_is_in_force_at_another_within_five_seconds() {
    let mut world = StorageWorld::with(1, &[], &[], ANYWHERE, 0).await;
    let elsewhere = world.add_gateway("").await;
    let api = ApiClient::of(&world.gateways[0]).await;
    let server = BucketServer::start().await;
    let mut declared = bucket_at("declared", &server);
    declared["softCap"] = json!(0.8);
    declared["credit"] = json!(1 << 30);
    let bucket = api.change(Method::POST, "/bucket", &declared).await;
    assert_eq!(bucket["accessKeyId"], ACCESS_KEY);
    assert_eq!(bucket["writes"], true);
    let id = bucket["id"].as_str().unwrap();
    let (status, checked) = api
        .send(Method::POST, &format!("/bucket/{id}/validate"), None)
        .await;
    assert_eq!(status, 200);
    assert_eq!(
        checked["rights"],
        json!({"write": true, "read": true, "list": true, "delete": true})
    );
    assert!(checked["latencyMs"].as_f64().unwrap() > 0.0);

    let repository = json!({
        "name": "declared-data", "buckets": ["declared"], "write": "nearest", "consistency": "session",
        "readSlo": "50ms", "rules": [{"prefix": "logs/", "write": "credit"}],
    });
    let made = api.change(Method::POST, "/repo", &repository).await;
    for (field, value) in repository.as_object().unwrap() {
        let same = field == "rules" || made[field] == *value;
        assert!(same, "{field}: {made}");
    }
    let keys = "/repo/declared-data/apikey";
    let key = api
        .change(Method::POST, keys, &json!({"mode": "write"}))
        .await;
    let s3 = S3Client::new(
        elsewhere.base.clone(),
        key["keyId"].as_str().unwrap(),
        key["secret"].as_str().unwrap(),
    );
    let since = Instant::now();
    until("it is in force", DEADLINE, async || {
        let put = s3.put("declared-data", "key", b"bytes").await;
        Ok((put.status() == 200).then_some(()))
    })
    .await
    .unwrap();
    assert!(since.elapsed() < Duration::from_secs(5));

    // A key that is removed opens nothing.
    let key_id = key["keyId"].as_str().unwrap();
    let (status, _) = api
        .send(Method::DELETE, &format!("{keys}/{key_id}"), None)
        .await;
    assert_eq!(status, 200);
    let since = Instant::now();
    until("it opens nothing", DEADLINE, async || {
        let get = s3.get("declared-data", "key").await;
        Ok((get.status() == 403).then_some(()))
    })
    .await
    .unwrap();
    assert!(since.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn what_is_changed_or_removed_through_the_api_is_what_it_shows_and_secrets_never_are() {
    let world = StorageWorld::with(2, &[], &[], ANYWHERE, 0).await;
    let api = ApiClient::of(&world.gateways[0]).await;
    let limits = json!({"softCap": 0.5, "credit": 1000, "quota": null, "priceOut": 0.09});
    let bucket = api.change(Method::PATCH, "/bucket/bucket-0", &limits).await;
    for (field, value) in limits.as_object().unwrap() {
        assert_eq!(bucket[field], *value, "{field}");
    }
    let credit = json!({"credit": null});
    let bucket = api.change(Method::PATCH, "/bucket/bucket-0", &credit).await;
    assert_eq!(
        (&bucket["credit"], &bucket["softCap"]),
        (&Value::Null, &json!(0.5))
    );

    let order = json!({"buckets": ["bucket-1", "bucket-0"], "read": "order", "readSlo": "1s"});
    let path = format!("/repo/{REPOSITORY}");
    let repository = api.change(Method::PATCH, &path, &order).await;
    assert_eq!(repository["buckets"], order["buckets"]);
    assert_eq!(
        (&repository["read"], &repository["write"]),
        (&json!("order"), &json!("credit"))
    );
    assert_eq!(
        world.s3.put(REPOSITORY, "key", b"bytes").await.status(),
        200
    );
    assert_eq!(world.s3.read("bucket-1", "key").await, b"bytes");
    let alone = json!({"buckets": ["bucket-0"], "readSlo": null});
    let repository = api.change(Method::PATCH, &path, &alone).await;
    assert_eq!(
        (&repository["buckets"], &repository["readSlo"]),
        (&alone["buckets"], &Value::Null)
    );
    // What a bucket has that is no member any more is still read.
    assert_eq!(world.s3.read(REPOSITORY, "key").await, b"bytes");

    let conflict = async |path: &str| api.send(Method::DELETE, path, None).await.0;
    assert_eq!(conflict(&path).await, 409);
    assert_eq!(conflict("/bucket/bucket-0").await, 409);
    assert_eq!(conflict("/bucket/absent").await, 404);
    world.s3.delete(REPOSITORY, "key").await;
    assert_eq!(conflict(&path).await, 200);
    assert_eq!(conflict("/bucket/bucket-0").await, 200);
    assert_eq!(api.get("/repo").await["total"], 0);
    let buckets = api.get("/bucket").await;
    assert_eq!(buckets["total"], 1);
    assert!(!buckets.to_string().contains(SECRET_KEY));
}

#[tokio::test]
async fn buckets_of_a_repository_are_given_by_their_ids_too() {
    let world = StorageWorld::with(2, &[], &[], ANYWHERE, 0).await;
    let api = ApiClient::of(&world.gateways[0]).await;
    let id = async |name: &str| {
        let bucket = api.get(&format!("/bucket/{name}")).await;
        bucket["data"]["id"].clone()
    };
    let (first, second) = (id("bucket-0").await, id("bucket-1").await);
    let given = json!({
        "name": "by-id", "buckets": [first], "mirror": {"to": second},
        "rules": [{"prefix": "a", "write": "nearest", "members": [first]}],
    });
    let made = api.change(Method::POST, "/repo", &given).await;
    assert_eq!(made["buckets"], json!(["bucket-0"]));
    assert_eq!(made["mirror"]["to"], "bucket-1");
    assert_eq!(made["rules"][0]["members"], json!(["bucket-0"]));
    let given = json!({"buckets": [second, first], "mirror": null});
    let changed = api.change(Method::PATCH, "/repo/by-id", &given).await;
    assert_eq!(changed["buckets"], json!(["bucket-1", "bucket-0"]));
}

#[tokio::test]
async fn credentials_are_checked_before_they_are_taken_over() {
    let world = StorageWorld::with(1, &[], &[], ANYWHERE, 0).await;
    let api = ApiClient::of(&world.gateways[0]).await;
    let wrong = r#"{"accessKeyId": "AKIATEST", "secretAccessKey": "another one"}"#;
    let patch = async |body: &str| {
        api.send(Method::PATCH, "/bucket/bucket-0", Some(body))
            .await
    };
    let (status, refused) = patch(wrong).await;
    let detail = refused["detail"].as_str().unwrap();
    assert_eq!(status, 400, "{refused}");
    assert!(
        detail.starts_with("credentials: the bucket does not permit write"),
        "{detail}"
    );
    assert!(!refused.to_string().contains("another one"));
    let right = json!({"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY});
    assert_eq!(patch(&right.to_string()).await.0, 200);

    // A bucket that takes no writes is enabled again.
    let spent = "<Error><Code>QuotaExceeded</Code><Message>QUOTA_EXCEEDED</Message></Error>";
    world.buckets[0].fail(Method::PUT, BucketFault::Answer(403, spent));
    assert_eq!(
        world.s3.put(REPOSITORY, "key", b"bytes").await.status(),
        403
    );
    world.buckets[0].heal();
    assert_eq!(api.get("/bucket/bucket-0").await["data"]["writes"], false);
    assert_eq!(patch(r#"{"writes": true}"#).await.0, 200);
    assert_eq!(
        world.s3.put(REPOSITORY, "key", b"bytes").await.status(),
        200
    );
}

#[tokio::test]
async fn a_key_is_rotated_through_the_api() {
    let world = StorageWorld::start(&[], &[]).await;
    let api = ApiClient::of(&world.gateways[0]).await;
    world.s3.put(REPOSITORY, "key", b"bytes").await;
    let path = format!("/repo/{REPOSITORY}/apikey/{}", world.s3.key_id);
    let begun = api
        .change(Method::PATCH, &path, &json!({"rotate": "begin"}))
        .await;
    let second = S3Client {
        secret: begun["secret"].as_str().unwrap().to_owned(),
        ..world.s3.clone()
    };
    for s3 in [&world.s3, &second] {
        assert_eq!(s3.read(REPOSITORY, "key").await, b"bytes");
    }
    let again = api
        .send(Method::PATCH, &path, Some(r#"{"rotate": "begin"}"#))
        .await;
    assert_eq!(again.0, 409);
    // The answer was lost: the second secret is given up, and another one is made.
    let cancel = async || {
        let cancel = Some(r#"{"rotate": "cancel"}"#);
        api.send(Method::PATCH, &path, cancel).await.0
    };
    assert_eq!(cancel().await, 200);
    assert_eq!(cancel().await, 409);
    let lost = code(second.get(REPOSITORY, "key").await).await;
    assert_eq!(lost, (403, "SignatureDoesNotMatch".to_owned()));
    assert_eq!(world.s3.read(REPOSITORY, "key").await, b"bytes");
    let begun = api
        .change(Method::PATCH, &path, &json!({"rotate": "begin"}))
        .await;
    let second = S3Client {
        secret: begun["secret"].as_str().unwrap().to_owned(),
        ..second
    };
    assert_eq!(second.read(REPOSITORY, "key").await, b"bytes");
    api.change(Method::PATCH, &path, &json!({"rotate": "finish"}))
        .await;
    assert_eq!(second.read(REPOSITORY, "key").await, b"bytes");
    let refused = code(world.s3.get(REPOSITORY, "key").await).await;
    assert_eq!(refused, (403, "SignatureDoesNotMatch".to_owned()));
    let listed = api.get(&format!("/repo/{REPOSITORY}/apikey")).await;
    assert_eq!(listed["data"][0]["rotating"], false);
    assert!(!listed.to_string().contains("secret"));
}

#[tokio::test]
async fn a_token_without_the_scope_opens_nothing() {
    let world = StorageWorld::start(&[], &[]).await;
    let admin = ApiClient::of(&world.gateways[0]).await;
    let with = |scope| admin.with(token(JWT_SECRET, scope));
    let post = (Method::POST, "/repo", Some("{}"));
    let get = (Method::GET, "/bucket", None);
    for (api, (method, path, body), expected) in [
        (admin.with(String::new()), get.clone(), 401),
        (admin.with("x.y.z".to_owned()), get.clone(), 401),
        (
            admin.with(token("another secret of an issuer", Some("storage:admin"))),
            get.clone(),
            401,
        ),
        (with(None), get.clone(), 403),
        (with(Some("storage")), get.clone(), 403),
        (with(Some("storage:reader")), get.clone(), 403),
        (with(Some("storage:read")), get.clone(), 200),
        (with(Some("storage:read")), post.clone(), 403),
        (with(Some("storage:admin")), get, 200),
        (with(Some("storage:admin")), post, 400),
        (
            admin.with(String::new()),
            (Method::GET, "/nowhere", None),
            401,
        ),
    ] {
        let (status, body) = api.send(method, path, body).await;
        assert_eq!(status, expected, "{body}");
    }
}
