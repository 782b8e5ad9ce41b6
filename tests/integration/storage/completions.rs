//! `CompleteMultipartUpload` that is sent again, or by two clients with different parts.

use http::Method;
use tidegate::testkit::{GatewayCommand, until};

use super::s3_client::{S3Client, S3Request, code};
use super::uploads::{begin, part};
use super::world::{REPOSITORY, StorageWorld};
use crate::world::{BINARY, DEADLINE, printed};

const MIGRATION: &str = include_str!("../../../migrations/storage/0009_part_checksums.sql");
/// Takes it back.
const OLDER: &str = "alter table tidegate.storage_blob drop column checksums; \
     drop function tidegate.storage_put_part(text, integer, text, bigint, text, text, jsonb, \
     text[], interval)";
const CHECKSUM: &str = "<ChecksumCRC32>sZlDzg==</ChecksumCRC32>";

fn complete(s3: &S3Client, upload: &str, number: u32, etag: &str) -> S3Request {
    complete_with(s3, upload, number, etag, "")
}

fn complete_with(
    s3: &S3Client,
    upload: &str,
    number: u32,
    etag: &str,
    checksum: &str,
) -> S3Request {
    let part = format!("<PartNumber>{number}</PartNumber><ETag>{etag}</ETag>{checksum}");
    let list = format!("<Part>{part}</Part>");
    let list = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
    let request = s3.request(Method::POST, REPOSITORY, "key");
    request.query("uploadId", upload).body(list.as_bytes())
}

/// Stores the first part of an upload with a checksum; returns its `ETag`.
async fn part_with_checksum(s3: &S3Client, upload: &str) -> String {
    let request = s3.request(Method::PUT, REPOSITORY, "key").body(b"bytes");
    let request = request.query("partNumber", "1").query("uploadId", upload);
    let sent = request.header("x-amz-checksum-crc32", "sZlDzg==").send();
    sent.await.headers()["etag"].to_str().unwrap().to_owned()
}

async fn listed(s3: &S3Client, upload: &str) -> String {
    let parts = s3.request(Method::GET, REPOSITORY, "key");
    let parts = parts.query("uploadId", upload).send().await;
    parts.text().await.unwrap()
}

fn no_such_upload() -> (u16, String) {
    (404, "NoSuchUpload".to_owned())
}

#[tokio::test]
async fn a_second_completion_with_other_parts_is_not_answered_as_if_it_were_done() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    let upload = begin(s3, "key").await;
    let one = part(s3, "key", &upload, 1, b"one").await;
    let two = part(s3, "key", &upload, 2, b"two").await;
    let first = complete(s3, &upload, 1, &one).send().await;
    assert_eq!(first.status(), 200);
    assert!(first.headers().contains_key("x-consistency-token"));
    let zeros = "0".repeat(32);
    for (number, etag, size) in [
        (2, &*two, "3"),
        (1, &*two, "3"),
        (1, &*zeros, "3"),
        (1, &*one, "4"),
    ] {
        let other = complete(s3, &upload, number, etag).header("x-amz-mp-object-size", size);
        let answer = code(other.send().await).await;
        assert_eq!(answer, no_such_upload(), "{number} {etag} {size}");
    }
    let again = complete(s3, &upload, 1, &one).header("x-amz-mp-object-size", "3");
    let again = again.send().await;
    assert_eq!(again.status(), 200);
    // What the client reads next includes the object, though this request has not made it.
    assert!(again.headers().contains_key("x-consistency-token"));
    assert_eq!(s3.read(REPOSITORY, "key").await, b"one");
    s3.put(REPOSITORY, "key", b"newer").await;
    let late = complete(s3, &upload, 1, &one).send().await;
    assert_eq!(code(late).await, no_such_upload());
}

#[tokio::test]
async fn of_two_completions_with_different_parts_one_is_answered_200() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    let upload = begin(s3, "key").await;
    let one = part(s3, "key", &upload, 1, b"one").await;
    let two = part(s3, "key", &upload, 2, b"two").await;
    let (first, second) = tokio::join!(
        complete(s3, &upload, 1, &one).send(),
        complete(s3, &upload, 2, &two).send(),
    );
    let (done, refused, stored) = match first.status().as_u16() {
        200 => (first, second, b"one"),
        _ => (second, first, b"two"),
    };
    assert_eq!(code(refused).await, no_such_upload());
    assert_eq!(done.status(), 200);
    let answer = done.text().await.unwrap();
    let got = s3.get(REPOSITORY, "key").await;
    let etag = got.headers()["etag"].to_str().unwrap().trim_matches('"');
    assert!(answer.contains(etag), "{answer} {etag}");
    assert_eq!(got.bytes().await.unwrap(), stored[..]);
}

#[tokio::test]
async fn a_repeated_completion_meets_no_condition_in_its_own_object() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    let completion = async |body: &[u8], name: &str, value: &str| {
        let upload = begin(s3, "key").await;
        let etag = part(s3, "key", &upload, 1, body).await;
        let send = || complete(s3, &upload, 1, &etag).header(name, value).send();
        (code(send().await).await.0, code(send().await).await.0)
    };
    assert_eq!(completion(b"one", "if-none-match", "*").await, (200, 200));
    let got = s3.get(REPOSITORY, "key").await;
    let etag = got.headers()["etag"].to_str().unwrap();
    assert_eq!(completion(b"two", "if-match", etag).await, (200, 200));
    assert_eq!(s3.read(REPOSITORY, "key").await, b"two");
    // The object of another client is none of its own.
    assert_eq!(completion(b"six", "if-none-match", "*").await, (412, 412));
    assert_eq!(completion(b"six", "if-match", etag).await, (412, 412));
    assert_eq!(s3.delete(REPOSITORY, "key").await.status(), 204);
    assert_eq!(completion(b"six", "if-match", etag).await, (404, 404));
}

#[tokio::test]
async fn parts_are_put_together_only_with_the_checksums_that_they_came_with() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    let upload = begin(s3, "key").await;
    let etag = part_with_checksum(s3, &upload).await;
    let parts = listed(s3, &upload).await;
    assert!(parts.contains(CHECKSUM), "{parts}");
    let wrong = [
        "<ChecksumCRC32>AAAAAA==</ChecksumCRC32>",
        "<ChecksumSHA1>AAAAAAAAAAAAAAAAAAAAAAAAAAA=</ChecksumSHA1>",
    ];
    let invalid = (400, "InvalidPart".to_owned());
    for checksum in wrong {
        let answer = complete_with(s3, &upload, 1, &etag, checksum).send().await;
        assert_eq!(code(answer).await, invalid, "{checksum}");
    }
    assert_eq!(s3.get(REPOSITORY, "key").await.status(), 404);
    // Again, as a client does that has not seen the answer.
    for checksum in [CHECKSUM, CHECKSUM, ""] {
        let answer = complete_with(s3, &upload, 1, &etag, checksum).send().await;
        assert_eq!(answer.status(), 200, "{checksum}");
    }
    let again = complete_with(s3, &upload, 1, &etag, wrong[0]).send().await;
    assert_eq!(code(again).await, invalid);
}

#[tokio::test]
async fn a_part_that_an_older_gateway_has_stored_is_put_together() {
    let world = StorageWorld::start(&[], &[]).await;
    let s3 = &world.s3;
    let upload = begin(s3, "key").await;
    let etag = part(s3, "key", &upload, 1, b"bytes").await;
    let unsent = complete_with(s3, &upload, 1, &etag, CHECKSUM).send().await;
    assert_eq!(unsent.status(), 400);
    world
        .value("update tidegate.storage_blob set checksums = null returning 1")
        .await;
    let unknown = complete_with(s3, &upload, 1, &etag, CHECKSUM).send().await;
    assert_eq!(unknown.status(), 200);
}

#[tokio::test]
async fn a_gateway_stores_parts_before_the_migration_and_their_checksums_after_it() {
    let mut world = StorageWorld::start(&[], &[]).await;
    let primary = world.cluster.primary.client().await.unwrap();
    primary.batch_execute(OLDER).await.unwrap();
    let s3 = &world.add_gateway("").await;
    let said = "run `tidegate migrate --only storage`";
    world.gateways[1].wait_for_log(said).await.unwrap();
    let upload = begin(s3, "key").await;
    let etag = part_with_checksum(s3, &upload).await;
    let parts = listed(s3, &upload).await;
    assert!(parts.contains("<PartNumber>1</PartNumber>"), "{parts}");
    assert!(!parts.contains("Checksum"), "{parts}");
    // Again, as a client does that has not seen the answer.
    for _ in 0..2 {
        let done = complete_with(s3, &upload, 1, &etag, CHECKSUM).send().await;
        assert_eq!(done.status(), 200);
    }
    assert_eq!(s3.read(REPOSITORY, "key").await, b"bytes");
    primary.batch_execute(MIGRATION).await.unwrap();
    let upload = begin(s3, "key").await;
    until("checksums of parts are kept", DEADLINE, async || {
        part_with_checksum(s3, &upload).await;
        let parts = listed(s3, &upload).await;
        Ok(parts.contains(CHECKSUM).then_some(()))
    })
    .await
    .unwrap();
    let gone = "alter schema tidegate rename to elsewhere";
    primary.batch_execute(gone).await.unwrap();
    let said = "`tidegate migrate --only storage` been run?";
    world.gateways[1].wait_for_log(said).await.unwrap();
}

#[tokio::test]
async fn a_migration_gives_way_to_a_long_read_and_can_be_run_again() {
    let world = StorageWorld::start(&[], &[]).await;
    let primary = world.cluster.primary.client().await.unwrap();
    primary.batch_execute(OLDER).await.unwrap();
    let unapplied = "delete from tidegate.storage_migrations where version = 9";
    primary.batch_execute(unapplied).await.unwrap();
    let read = "begin; select 1 from tidegate.storage_blob";
    primary.batch_execute(read).await.unwrap();
    let migrate = || {
        let command = GatewayCommand::new(BINARY, "migrate");
        let command = command.env("DATABASE_URL", world.cluster.primary.url());
        command.arg("--only").arg("storage")
    };
    let refused = migrate().output().await.unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("run it again"), "{said}");
    primary.batch_execute("commit").await.unwrap();
    printed(migrate()).await;
    let kept = "select count(checksums) from tidegate.storage_blob";
    assert_eq!(world.value(kept).await, "0");
}
