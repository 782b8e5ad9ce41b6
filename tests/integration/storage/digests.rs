//! Digests that are not those of the body: in headers, trailers, URLs and forms, of objects and of documents.

use http::Method;

use super::rotation::{FORM, form_with};
use super::s3_client::{S3Client, code, hex};
use super::uploads::{begin, part};
use super::world::{REPOSITORY, StorageWorld};

const MD5: &str = "AAAAAAAAAAAAAAAAAAAAAA==";
/// That of `bytes`.
const CRC32: &str = "sZlDzg==";

fn bad_digest() -> (u16, String) {
    (400, "BadDigest".to_owned())
}

#[tokio::test]
async fn an_object_with_a_digest_of_any_algorithm_that_is_wrong_is_not_stored() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    let put = || s3.request(Method::PUT, REPOSITORY, "key").body(b"bytes");
    for algorithm in ["sha512", "md5"] {
        let name = format!("x-amz-checksum-{algorithm}");
        let wrong = put().header(&name, MD5).send().await;
        assert_eq!(code(wrong).await, bad_digest(), "{name}");
        let trailer = put().send_in_chunks(3, Some((&*name, MD5))).await;
        assert_eq!(code(trailer).await, bad_digest(), "{name}");
    }
    for algorithm in ["xxhash64", "foo"] {
        let name = format!("x-amz-checksum-{algorithm}");
        let unknown = put().header(&name, MD5).send().await;
        assert_eq!(unknown.status(), 501, "{name}");
    }
    // A trailer that is right does not excuse a header.
    let name = "x-amz-checksum-crc32";
    let both = put().header(name, "AAAAAA==");
    let both = both.send_in_chunks(3, Some((name, CRC32))).await;
    assert_eq!(code(both).await, bad_digest());
    let length = put().header("x-amz-decoded-content-length", "3");
    let length = length.header("content-encoding", "aws-chunked");
    let length = length.send_with_hash("UNSIGNED-PAYLOAD").await;
    assert_eq!(code(length).await, (400, "IncompleteBody".to_owned()));
    let endless = put().send_in_chunks_without_end(3).await;
    assert_eq!(code(endless).await, (400, "IncompleteBody".to_owned()));
    let presigned = async |name: &str, value: &str| {
        let request = s3.request(Method::PUT, REPOSITORY, "key");
        let url = request.query(name, value).presigned(60);
        let answer = s3.client.put(url).body("bytes").send().await.unwrap();
        answer.status().as_u16()
    };
    assert_eq!(presigned("x-amz-checksum-sha256", MD5).await, 400);
    let other = hex(&[0; 32]);
    assert_eq!(presigned("X-Amz-Content-Sha256", &other).await, 400);
    assert_eq!(presigned("x-amz-checksum-xxhash64", MD5).await, 501);
    assert_eq!(s3.get(REPOSITORY, "key").await.status(), 404);
    // What the SDK for JavaScript presigns, whatever is uploaded.
    assert_eq!(presigned(name, "AAAAAA==").await, 200);
    assert_eq!(presigned(name, CRC32).await, 200);
    let right = put().header(name, CRC32);
    let right = right.send_in_chunks(3, Some((name, CRC32))).await;
    assert_eq!(right.status(), 200);
}

#[tokio::test]
async fn the_fields_of_a_form_are_judged_as_headers_are() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    for (name, value, status) in [
        ("x-amz-checksum-crc32", "AAAAAA==", 400),
        ("x-amz-checksum-sha256", MD5, 400),
        ("x-amz-checksum-sha512", MD5, 400),
        ("Content-MD5", MD5, 400),
        ("x-amz-checksum-foo", MD5, 501),
        ("x-amz-storage-class", "GLACIER", 501),
        ("tagging", "<Tagging/>", 501),
        ("if-unmodified-since", "Thu, 01 Jan 1970 00:00:00 GMT", 501),
    ] {
        assert_eq!(post(s3, name, value).await, status, "{name}");
    }
    assert_eq!(s3.get(REPOSITORY, "form").await.status(), 404);
    assert_eq!(post(s3, "x-amz-checksum-crc32", CRC32).await, 204);
    assert_eq!(s3.read(REPOSITORY, "form").await, b"bytes");
}

async fn post(s3: &S3Client, name: &str, value: &str) -> u16 {
    let form = form_with(s3, "form", &[(name, value)], "bytes");
    let request = s3.client.post(format!("{}/{REPOSITORY}", s3.base));
    let request = request.header("content-type", FORM);
    let answer = request.body(format!("{form}\r\n--limit--\r\n")).send();
    answer.await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_document_that_is_not_what_was_declared_is_400_and_nothing_is_done() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    s3.put(REPOSITORY, "key", b"bytes").await;
    let upload = begin(s3, "parts").await;
    let etag = part(s3, "parts", &upload, 1, b"bytes").await;
    let complete = || {
        let list = format!("<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>");
        let list = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
        let request = s3.request(Method::POST, REPOSITORY, "parts");
        request.query("uploadId", &upload).body(list.as_bytes())
    };
    let delete = || {
        let request = s3.request(Method::POST, REPOSITORY, "");
        let list = b"<Delete><Object><Key>key</Key></Object></Delete>";
        request.query("delete", "").body(list)
    };
    let admin = world.key("admin").await;
    let create = || admin.request(Method::PUT, "made-so", "");
    for request in [complete(), delete(), create()] {
        let wrong = request.header("content-md5", MD5).send().await;
        assert_eq!(code(wrong).await, bad_digest());
    }
    for request in [complete(), delete()] {
        let wrong = request.send_with_hash(&hex(&[0; 32])).await;
        let mismatch = "XAmzContentSHA256Mismatch".to_owned();
        assert_eq!(code(wrong).await, (400, mismatch));
    }
    // It would be the checksum of the object.
    let of_object = complete()
        .header("x-amz-checksum-crc32", CRC32)
        .send()
        .await;
    assert_eq!(of_object.status(), 501);
    assert_eq!(s3.get(REPOSITORY, "parts").await.status(), 404);
    assert_eq!(s3.read(REPOSITORY, "key").await, b"bytes");
    assert_eq!(admin.get("made-so", "").await.status(), 404);
    for request in [complete(), delete(), create()] {
        assert_eq!(request.send().await.status(), 200);
    }
}

#[tokio::test]
async fn a_body_that_an_operation_does_not_read_is_400_and_nothing_is_done() {
    const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    s3.put(REPOSITORY, "key", b"bytes").await;
    let from = format!("/{REPOSITORY}/key");
    let requests = || {
        let copy = s3.request(Method::PUT, REPOSITORY, "copy");
        let create = s3.request(Method::POST, REPOSITORY, "parts");
        [
            copy.header("x-amz-copy-source", &from),
            create.query("uploads", ""),
            s3.request(Method::DELETE, REPOSITORY, "key"),
        ]
    };
    let invalid = (400, "InvalidRequest".to_owned());
    for request in requests() {
        let unread = request.body(b"body").send_with_hash(NOTHING).await;
        assert_eq!(code(unread).await, invalid);
    }
    for request in requests() {
        let wrong = request.header("content-md5", MD5).send().await;
        assert_eq!(code(wrong).await, bad_digest());
    }
    let unknown = s3.request(Method::POST, REPOSITORY, "parts");
    let unknown = unknown.query("uploads", "");
    let unknown = unknown.header("x-amz-checksum-algorithm", "FOO");
    assert_eq!(code(unknown.send().await).await, invalid);
    let announced = s3.request(Method::PUT, REPOSITORY, "copy").body(b"bytes");
    let announced = announced.header("x-amz-sdk-checksum-algorithm", "SHA256");
    assert_eq!(code(announced.send().await).await, invalid);
    assert_eq!(s3.get(REPOSITORY, "copy").await.status(), 404);
    assert_eq!(s3.read(REPOSITORY, "key").await, b"bytes");
    for request in requests() {
        let answer = request.send_with_hash("UNSIGNED-PAYLOAD").await;
        assert!(answer.status().is_success(), "{}", answer.status());
    }
}
