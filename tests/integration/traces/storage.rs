//! Requests to object storage.

use http::Method;
use serde_json::Value;

use super::kit::{CLIENT, Collector, SERVER, assert_attributes, attribute, hex};
use crate::storage::s3_client::S3Client;
use crate::storage::world::{REPOSITORY, StorageWorld};
use crate::world::header;

/// A gateway that sends its spans to a collector, and a client of it.
async fn traced(collector: &Collector) -> (StorageWorld, S3Client) {
    let mut world = StorageWorld::start(&[], &[]).await;
    let s3 = world.add_gateway_with("", &collector.variables(&[])).await;
    (world, s3)
}

/// What the gateway has kept of the request with this answer.
async fn kept(world: &StorageWorld, answer: &reqwest::Response) -> Value {
    let id = header(answer, "x-amz-request-id");
    let url = world.gateways[1].admin_url(&format!("/admin/requests/{id}"));
    let found = world.s3.client.get(url).send().await.unwrap();
    assert_eq!(found.status(), 200, "{id}");
    found.json().await.unwrap()
}

#[tokio::test]
async fn a_request_to_object_storage_is_kept_and_its_trace_has_each_request_to_a_bucket() {
    let collector = Collector::start().await;
    let (world, s3) = traced(&collector).await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let put = s3.request(Method::PUT, REPOSITORY, "folder/an object");
    let put = put.unsigned_header("traceparent", parent).body(b"bytes");
    let put = put.send().await;
    assert_eq!(put.status(), 200);

    let trace = collector.trace("PUT /{bucket}/{key}").await;
    let server = trace.one("PUT /{bucket}/{key}");
    assert_eq!(server.kind, SERVER);
    assert_eq!(hex(&server.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&server.parent_span_id), "b7ad6b7169203331");
    assert_attributes(
        server,
        &[
            ("http.request.method", "PUT"),
            ("http.response.status_code", "200"),
            ("http.route", "/{bucket}/{key}"),
            ("url.path", &format!("/{REPOSITORY}/folder/an%20object")),
            ("rpc.system", "aws-api"),
            ("rpc.service", "S3"),
            ("rpc.method", "PutObject"),
            ("aws.s3.bucket", REPOSITORY),
            ("aws.request_id", header(&put, "x-amz-request-id")),
        ],
    );
    let sent = trace.one("bucket put");
    assert_eq!((sent.kind, &sent.parent_span_id), (CLIENT, &server.span_id));
    assert!(attribute(sent, "tidegate.bucket").starts_with("bucket-"));

    let kept = kept(&world, &put).await;
    assert_eq!(kept["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(kept["span_id"], hex(&server.span_id));
    assert_eq!(
        (&kept["method"], &kept["status"]),
        (&"PUT".into(), &200.into())
    );
    assert_eq!(kept["endpoint"], "/{bucket}/{key}");

    let id = header(&put, "x-amz-request-id");
    let line = format!("\"request_id\":\"{id}\"");
    let line = world.gateways[1].wait_for_log(&line).await.unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["target"], "tidegate::access");
    for (member, expected) in [
        ("trace_id", "0af7651916cd43dd8448eb211c80319c"),
        ("span_id", &hex(&server.span_id)),
        ("method", "PUT"),
        ("endpoint", "/{bucket}/{key}"),
        ("operation", "PutObject"),
        ("repository", REPOSITORY),
    ] {
        assert_eq!(line[member], expected, "{member}");
    }
    assert_eq!(line["status"], 200);
    assert!(line["total_ms"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn nothing_of_a_signature_or_a_key_is_kept_traced_or_logged() {
    let collector = Collector::start().await;
    let (world, s3) = traced(&collector).await;
    s3.put(REPOSITORY, "key", b"bytes").await;
    let get = || s3.request(Method::GET, REPOSITORY, "key");
    let presigned = get().presigned(60);
    let presigned = world.s3.client.get(presigned).send().await.unwrap();
    assert_eq!(presigned.status(), 200);
    let wrong = S3Client {
        secret: "another".to_owned(),
        ..s3.clone()
    };
    let refused = wrong.request(Method::GET, REPOSITORY, "key").send().await;
    assert_eq!(refused.status(), 403);
    s3.list(REPOSITORY, &[("prefix", "hidden")]).await;

    // What is not verified has no route, so that no text of a client becomes one.
    collector.trace("GET").await;
    collector.trace("GET /{bucket}").await;
    collector.trace("GET /{bucket}/{key}").await;
    let mut shown = format!("{:?}", collector.spans());
    for (answer, route) in [(&presigned, "/{bucket}/{key}"), (&refused, "unmatched")] {
        let kept = kept(&world, answer).await;
        assert_eq!(kept["endpoint"], route);
        assert_eq!(kept["status"], answer.status().as_u16());
        shown += &kept.to_string();
        let id = header(answer, "x-amz-request-id");
        shown += &world.gateways[1].wait_for_log(id).await.unwrap();
    }
    for hidden in [
        &*s3.key_id,
        &s3.secret,
        "X-Amz",
        "aws4_request",
        "hidden",
        "AWS4-",
    ] {
        assert!(!shown.contains(hidden), "{hidden}");
    }
}
