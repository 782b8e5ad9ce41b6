//! Copies of objects and of parts: their conditions, what they say of the copy, and what they refuse.

use http::Method;

use super::s3_client::{S3Client, S3Request, code};
use super::uploads::begin;
use super::world::{REPOSITORY, StorageWorld};

const PAST: &str = "Thu, 01 Jan 1970 00:00:01 GMT";
const FUTURE: &str = "Fri, 01 Jan 2038 00:00:00 GMT";

fn copy(s3: &S3Client, bucket: &str, key: &str, source: &str) -> S3Request {
    let request = s3.request(Method::PUT, bucket, key);
    request.header("x-amz-copy-source", &format!("/{REPOSITORY}/{source}"))
}

#[tokio::test]
async fn a_part_or_an_object_is_copied_only_if_the_conditions_on_its_source_hold() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    let put = s3.put(REPOSITORY, "from", b"bytes").await;
    let etag = put.headers()["etag"].to_str().unwrap().to_owned();
    let upload = begin(s3, "parts").await;
    let part = || {
        let part = copy(s3, REPOSITORY, "parts", "from");
        part.query("partNumber", "1").query("uploadId", &upload)
    };
    let object = || copy(s3, REPOSITORY, "to", "from");
    let list = format!("\"other\", {etag}");
    for (condition, value, status) in [
        ("if-match", "\"nope\"", 412_u16),
        ("if-none-match", &*etag, 412),
        ("if-none-match", &*list, 412),
        ("if-modified-since", FUTURE, 412),
        ("if-unmodified-since", PAST, 412),
        ("if-match", "", 400),
        ("if-match", &*etag, 200),
        ("if-match", &*list, 200),
        ("if-none-match", "\"nope\"", 200),
        ("if-modified-since", PAST, 200),
        ("if-unmodified-since", FUTURE, 200),
    ] {
        let name = format!("x-amz-copy-source-{condition}");
        for request in [part(), object()] {
            let answer = request.header(&name, value).send().await;
            assert_eq!(answer.status(), status, "{condition}: {value}");
        }
    }
}

#[tokio::test]
async fn a_copy_that_is_asked_for_otherwise_than_it_is_made_is_refused() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    s3.put("bucket-0", "key", b"bytes").await;
    let directive = |value: &str| {
        let request = copy(s3, "bucket-1", "key", "key");
        request.header("x-amz-metadata-directive", value).send()
    };
    let refused = directive("REPLACE").await;
    assert_eq!(code(refused).await, (501, "NotImplemented".to_owned()));
    let checksum = copy(s3, "bucket-1", "key", "key");
    let checksum = checksum.header("x-amz-checksum-algorithm", "SHA256");
    assert_eq!(checksum.send().await.status(), 501);
    for unknown in ["FOO", ""] {
        let refused = directive(unknown).await;
        assert_eq!(code(refused).await, (400, "InvalidArgument".to_owned()));
    }
    assert_eq!(s3.get("bucket-1", "key").await.status(), 404);
    let range = copy(s3, REPOSITORY, "to", "key").header("x-amz-copy-source-range", "bytes=0-1");
    assert_eq!(range.send().await.status(), 501);
    let version = copy(s3, REPOSITORY, "to", "key?versionId=1");
    assert_eq!(version.send().await.status(), 501);
    assert_eq!(s3.get(REPOSITORY, "to").await.status(), 404);
    let version = copy(s3, REPOSITORY, "to", "key?versionId=null");
    assert_eq!(version.send().await.status(), 200);
    assert_eq!(directive("COPY").await.status(), 200);
    assert_eq!(s3.read("bucket-1", "key").await, b"bytes");
}

#[tokio::test]
async fn a_copy_has_the_checksum_that_was_asked_for_and_keeps_it_when_its_metadata_change() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    s3.put(REPOSITORY, "from", b"bytes").await;
    let request = copy(s3, REPOSITORY, "to", "from");
    let request = request.header("x-amz-checksum-algorithm", "CRC32");
    let answer = request.send().await.text().await.unwrap();
    let element = "<ChecksumCRC32>sZlDzg==</ChecksumCRC32>";
    assert!(answer.contains(element), "{answer}");
    let replaced = copy(s3, REPOSITORY, "to", "to");
    let replaced = replaced.header("x-amz-metadata-directive", "REPLACE");
    assert_eq!(replaced.send().await.status(), 200);
    let head = s3.request(Method::HEAD, REPOSITORY, "to");
    let head = head.header("x-amz-checksum-mode", "ENABLED").send().await;
    assert_eq!(head.headers()["x-amz-checksum-crc32"], "sZlDzg==");
    let unknown = copy(s3, REPOSITORY, "to", "from");
    let unknown = unknown.header("x-amz-checksum-algorithm", "XXHASH64");
    assert_eq!(unknown.send().await.status(), 501);
}
