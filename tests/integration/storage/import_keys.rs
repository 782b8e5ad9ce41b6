//! Keys of existing objects that cannot be asked for.

use http::Method;
use serde_json::json;

use super::bucket_server::BucketFault;
use super::import::{import, world};
use super::world::{REPOSITORY, storage_command};

/// Keys that S3 allows, as a provider lists them.
const LIST: &str = "<ListBucketResult><Name>bucket</Name><IsTruncated>false</IsTruncated>\
    <Contents><Key>/slash</Key><Size>3</Size><ETag>\"1\"</ETag><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>\
    <Contents><Key>a/</Key><Size>0</Size><ETag>\"2\"</ETag><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>\
    <Contents><Key>a/../b</Key><Size>3</Size><ETag>\"3\"</ETag><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>\
    <Contents><Key>a//b&#x1b;</Key><Size>3</Size><ETag>\"4\"</ETag><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>\
    <Contents><Key>full/</Key><Size>3</Size><ETag>\"5\"</ETag><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>\
    <Contents><Key>slash</Key><Size>3</Size><ETag>\"6\"</ETag><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>\
    </ListBucketResult>";

#[tokio::test]
async fn keys_that_cannot_be_asked_for_are_named_and_hold_no_others_up() {
    let world = world().await;
    world.buckets[0].fail(Method::GET, BucketFault::Answer(200, LIST));
    let done = import(&world, &[]).await;
    assert_eq!(
        done["unusableKeys"],
        json!(["/slash", "a/../b", "a//b\u{1b}", "full/"])
    );
    assert_eq!(
        (&done["added"], &done["unusable"], &done["skipped"]),
        (&json!(1), &json!(4), &json!(1))
    );
    // None of them has become another key.
    let keys = "select string_agg(key || ' ' || vendor_etag, ',') from tidegate.storage_object o \
         join tidegate.storage_version v on v.id = o.version";
    assert_eq!(world.value(keys).await, "slash \"6\"");
    let arguments = ["bucket", "import", "bucket-0", "--repository", REPOSITORY];
    let output = storage_command(&world.cluster, &arguments)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(r#"not imported: "a//b\u{1b}""#), "{said}");
    for prefix in ["/", "/a", "a//", "a/../b"] {
        let arguments = [&arguments[..], &["--prefix", prefix]].concat();
        let output = storage_command(&world.cluster, &arguments)
            .output()
            .await
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{prefix}");
    }
}

#[tokio::test]
async fn a_bucket_that_refuses_is_said_to_with_its_answer_once() {
    let world = world().await;
    let refusal = "<Error><Code>AccessDenied</Code><Message>not yours</Message></Error>";
    world.buckets[0].fail_all(&BucketFault::Answer(403, refusal));
    let import = ["bucket", "import", "bucket-0", "--repository", REPOSITORY];
    let check = ["bucket", "check", "bucket-0"];
    for (arguments, requests) in [(&import[..], 1), (&check[..], 4)] {
        let output = storage_command(&world.cluster, arguments)
            .output()
            .await
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        let times = said.matches("AccessDenied").count();
        assert!((1..=requests).contains(&times), "{said}");
    }
}

#[tokio::test]
async fn the_command_line_takes_what_the_api_takes() {
    let world = world().await;
    let bucket = [
        "bucket",
        "add",
        "role",
        "--provider",
        "aws",
        "--region",
        "here",
    ];
    let bucket = [&bucket[..], &["--url", "s3://data", "--role", "foo"]].concat();
    let mut refused = vec![(bucket, "ARN")];
    for slo in ["0ms", "100s", "x"] {
        let repository = ["repository", "add", "slow", "--member", "bucket-0"];
        let repository = [&repository[..], &["--read-slo", slo]].concat();
        refused.push((repository, "from 1ms to 60s"));
    }
    for (arguments, expected) in refused {
        let output = storage_command(&world.cluster, &arguments)
            .output()
            .await
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}
