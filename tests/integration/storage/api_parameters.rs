//! Parameters and fields that a request to the JSON API does not have: refused, and not passed over.

use http::Method;
use serde_json::json;

use super::api_client::ApiClient;
use super::world::{REPOSITORY, StorageWorld};

#[tokio::test]
async fn a_change_with_parameters_is_refused_and_changes_nothing() {
    let world = StorageWorld::start(&[], &[]).await;
    let api = ApiClient::of(&world.gateways[0]).await;
    let (repository, key) = (format!("/repo/{REPOSITORY}"), &world.s3.key_id);
    let keys = format!("{repository}/apikey");
    let key = format!("{keys}/{key}");
    let add = json!({"name": "other-data", "buckets": ["bucket-0"]}).to_string();
    let bucket = json!({
        "name": "other", "provider": "s3", "region": "here", "url": "https://s3.example.com/data",
        "accessKeyId": "id", "secretAccessKey": "secret",
    });
    let bucket = bucket.to_string();
    for (method, path, body) in [
        (Method::POST, "/bucket", Some(&*bucket)),
        (
            Method::PATCH,
            "/bucket/bucket-0",
            Some(r#"{"softCap": 0.5}"#),
        ),
        (Method::POST, "/bucket/bucket-0/validate", None),
        (Method::DELETE, "/bucket/bucket-0", None),
        (Method::POST, "/repo", Some(&*add)),
        (Method::PATCH, &*repository, Some(r#"{"redirect": true}"#)),
        (Method::DELETE, &*repository, None),
        (Method::POST, &*keys, Some(r#"{"mode": "read"}"#)),
        (Method::PATCH, &*key, Some(r#"{"rotate": "begin"}"#)),
        (Method::DELETE, &*key, None),
        (Method::GET, "/node", None),
    ] {
        let path = format!("{path}?force=1");
        let (status, answer) = api.send(method, &path, body).await;
        assert_eq!(status, 400, "{path}: {answer}");
        assert_eq!(answer["detail"], "there are no parameters here", "{path}");
    }
    assert_eq!(api.get("/bucket").await["total"], 2);
    assert_eq!(api.get("/bucket/bucket-0").await["data"]["softCap"], 1.0);
    let shown = api.get("/repo").await;
    assert_eq!(shown["total"], 1);
    assert_eq!(shown["data"][0]["redirect"], false);
    let listed = api.get(&keys).await;
    assert_eq!(listed["total"], 1);
    assert_eq!(listed["data"][0]["rotating"], false);
    // Nor are fields passed over where there are none.
    for (method, path) in [
        (Method::POST, "/bucket/bucket-0/validate"),
        (Method::DELETE, "/bucket/bucket-0"),
        (Method::DELETE, &*repository),
        (Method::DELETE, &*key),
    ] {
        let (status, answer) = api.send(method, path, Some(r#"{"force": true}"#)).await;
        assert_eq!(status, 400, "{path}: {answer}");
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.contains("`force`"), "{path}: {detail}");
    }
    let validate = api.send(Method::POST, "/bucket/bucket-0/validate", Some("{}"));
    assert_eq!(validate.await.0, 200);
    // A path keeps its own answer for a method that it does not have.
    let (status, _) = api.send(Method::PUT, "/bucket?force=1", None).await;
    assert_eq!(status, 405);
}
