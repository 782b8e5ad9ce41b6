//! Multipart uploads, copies, and members by their own names.

use http::Method;

use super::s3_client::{S3Client, code};
use super::world::{REPOSITORY, StorageWorld};

const PART: usize = 5 << 20;

#[tokio::test]
async fn parts_become_one_object_whose_etag_is_that_of_s3() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    let upload = begin(s3, "large").await;
    let (one, two) = (vec![1; PART], vec![2; 100]);
    // Out of order, and the first one twice.
    let second = part(s3, "large", &upload, 7, &two).await;
    part(s3, "large", &upload, 2, &two).await;
    let first = part(s3, "large", &upload, 2, &one).await;
    let listed = s3
        .request(Method::GET, REPOSITORY, "large")
        .query("uploadId", &upload);
    let listed = listed.send().await.text().await.unwrap();
    assert_eq!(listed.matches("<Part>").count(), 2, "{listed}");
    let parts = [(2, first), (7, second)];
    let done = complete(s3, "large", &upload, &parts).await;
    assert_eq!(done.status(), 200);
    let got = s3.get(REPOSITORY, "large").await;
    let etag = got.headers()["etag"].to_str().unwrap().to_owned();
    assert!(etag.ends_with("-2\""), "{etag}");
    assert!(got.bytes().await.unwrap() == [one, two].concat());
    // A client that has not seen the answer asks again.
    assert_eq!(complete(s3, "large", &upload, &parts).await.status(), 200);
    let range = s3.request(Method::GET, REPOSITORY, "large");
    let range = range.header("range", &format!("bytes={}-{}", PART - 1, PART));
    assert_eq!(range.send().await.bytes().await.unwrap(), [1, 2][..]);
}

#[tokio::test]
async fn uploads_are_listed_by_common_prefixes_and_pages() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    for key in ["a", "b/1", "b/2", "c"] {
        begin(s3, key).await;
    }
    let list = async |query: &[(&str, &str)]| {
        let mut list = s3.request(Method::GET, REPOSITORY, "").query("uploads", "");
        for (name, value) in query {
            list = list.query(name, value);
        }
        list.send().await.text().await.unwrap()
    };
    let all = list(&[("delimiter", "/")]).await;
    assert_eq!(all.matches("<Upload>").count(), 2, "{all}");
    assert!(
        all.contains("<CommonPrefixes><Prefix>b/</Prefix></CommonPrefixes>"),
        "{all}"
    );
    let first = list(&[("delimiter", "/"), ("max-uploads", "2")]).await;
    assert!(
        first.contains("<NextKeyMarker>b/</NextKeyMarker>"),
        "{first}"
    );
    let rest = list(&[("delimiter", "/"), ("key-marker", "b/")]).await;
    assert!(
        rest.contains("<Key>c</Key>") && !rest.contains("<CommonPrefixes>"),
        "{rest}"
    );
    // One that says nowhere how to go on is the last page.
    let none = list(&[("max-uploads", "0")]).await;
    assert!(none.contains("<IsTruncated>false</IsTruncated>"), "{none}");
}

#[tokio::test]
async fn parts_that_are_missing_too_small_or_given_up_make_no_object() {
    let world = StorageWorld::with(1, &[], &[], "sweep_after = \"1ms\"", 0).await;
    let s3 = &world.s3;
    let upload = begin(s3, "key").await;
    let small = part(s3, "key", &upload, 1, b"small").await;
    let last = part(s3, "key", &upload, 2, b"last").await;
    let both = [(1, small.clone()), (2, last.clone())];
    assert_eq!(
        code(complete(s3, "key", &upload, &both).await).await.1,
        "EntityTooSmall"
    );
    let missing = [(1, small.clone()), (3, last)];
    assert_eq!(
        code(complete(s3, "key", &upload, &missing).await).await.1,
        "InvalidPart"
    );
    let abort = s3
        .request(Method::DELETE, REPOSITORY, "key")
        .query("uploadId", &upload);
    assert_eq!(abort.send().await.status(), 204);
    assert_eq!(
        code(complete(s3, "key", &upload, &[(1, small)]).await)
            .await
            .1,
        "NoSuchUpload"
    );
    assert_eq!(world.storage(&["sweep"]).await["deleted"], 2);
    assert_eq!(world.bucket(0).await["heldBytes"], 0);
}

#[tokio::test]
async fn parts_of_another_size_than_the_client_says_are_not_put_together() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    let upload = begin(s3, "key").await;
    let etag = part(s3, "key", &upload, 1, b"bytes").await;
    let complete = async |size: &str| {
        let list = format!("<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>");
        let list = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
        let request = s3.request(Method::POST, REPOSITORY, "key");
        let request = request.query("uploadId", &upload).body(list.as_bytes());
        let answer = request.header("x-amz-mp-object-size", size).send().await;
        answer.status().as_u16()
    };
    assert_eq!(complete("6").await, 400);
    assert_eq!(s3.get(REPOSITORY, "key").await.status(), 404);
    assert_eq!(complete("5").await, 200);
    assert_eq!(s3.read(REPOSITORY, "key").await, b"bytes");
}

#[tokio::test]
async fn an_object_is_copied_with_its_metadata_or_with_others() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    let put = s3.request(Method::PUT, REPOSITORY, "from").body(b"bytes");
    put.header("content-type", "text/plain")
        .header("x-amz-meta-a", "b")
        .send()
        .await;
    let copy = |to: &str| {
        let request = s3.request(Method::PUT, REPOSITORY, to);
        request.header("x-amz-copy-source", &format!("/{REPOSITORY}/from"))
    };
    assert_eq!(copy("to").send().await.status(), 200);
    let got = s3.get(REPOSITORY, "to").await;
    assert_eq!(got.headers()["content-type"], "text/plain");
    assert_eq!(got.headers()["x-amz-meta-a"], "b");
    assert_eq!(got.text().await.unwrap(), "bytes");
    let replaced = copy("to").header("x-amz-metadata-directive", "REPLACE");
    replaced.header("content-type", "text/html").send().await;
    assert_eq!(
        s3.get(REPOSITORY, "to").await.headers()["content-type"],
        "text/html"
    );
    assert_eq!(code(copy("from").send().await).await.1, "InvalidRequest");
}

#[tokio::test]
async fn a_member_by_its_own_name_is_read_written_and_given_a_copy() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    s3.put("bucket-1", "key", b"bytes").await;
    assert_eq!(s3.read(REPOSITORY, "key").await, b"bytes");
    assert_eq!(s3.read("bucket-1", "key").await, b"bytes");
    assert_eq!(s3.get("bucket-0", "key").await.status(), 404);
    let etag = s3.get(REPOSITORY, "key").await.headers()["etag"].clone();
    let copy = s3.request(Method::PUT, "bucket-0", "key");
    let copy = copy
        .header("x-amz-copy-source", "/bucket-1/key")
        .send()
        .await;
    assert_eq!(copy.status(), 200);
    assert_eq!(s3.read("bucket-0", "key").await, b"bytes");
    assert_eq!(s3.get("bucket-1", "key").await.headers()["etag"], etag);
    // A write to a member never goes elsewhere.
    world.buckets[0].fail(
        Method::PUT,
        super::bucket_server::BucketFault::Answer(500, ""),
    );
    assert_eq!(s3.put("bucket-0", "other", b"x").await.status(), 503);
    assert_eq!(s3.delete("bucket-0", "key").await.status(), 204);
    assert_eq!(s3.get("bucket-1", "key").await.status(), 404);
}

pub(super) async fn begin(s3: &S3Client, key: &str) -> String {
    let request = s3
        .request(Method::POST, REPOSITORY, key)
        .query("uploads", "");
    let text = request.send().await.text().await.unwrap();
    let (_, rest) = text.split_once("<UploadId>").expect(&text);
    rest.split_once('<').unwrap().0.to_owned()
}

/// Stores a part; returns its `ETag`.
pub(super) async fn part(
    s3: &S3Client,
    key: &str,
    upload: &str,
    number: u32,
    body: &[u8],
) -> String {
    let request = s3.request(Method::PUT, REPOSITORY, key).body(body);
    let request = request
        .query("partNumber", &number.to_string())
        .query("uploadId", upload);
    let response = request.send().await;
    assert_eq!(response.status(), 200);
    response.headers()["etag"].to_str().unwrap().to_owned()
}

async fn complete(
    s3: &S3Client,
    key: &str,
    upload: &str,
    parts: &[(u32, String)],
) -> reqwest::Response {
    let parts: String = parts
        .iter()
        .map(|(number, etag)| {
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
        })
        .collect();
    let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    let request = s3
        .request(Method::POST, REPOSITORY, key)
        .query("uploadId", upload);
    request.body(body.as_bytes()).send().await
}
