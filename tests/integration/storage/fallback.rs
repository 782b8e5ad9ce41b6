//! Members that fail: the next one gets the write, and another copy gives the bytes.

use std::time::Duration;

use http::Method;
use tidegate::testkit::until;
use tokio::time::Instant;

use super::bucket_server::BucketFault;
use super::s3_client::code;
use super::world::{REPOSITORY, StorageWorld};
use crate::world::DEADLINE;

/// More than is sent at once, so that it goes in parts.
const LARGE: usize = 20 << 20;

#[tokio::test]
async fn a_write_that_a_member_refuses_lands_at_the_next_in_the_same_request() {
    let world = StorageWorld::start(&[], &[]).await;
    let first = &world.buckets[0];
    let faults = [
        BucketFault::Answer(429, ""),
        BucketFault::Answer(503, "<Error><Code>SlowDown</Code></Error>"),
        BucketFault::Answer(500, ""),
        BucketFault::Reset,
        BucketFault::Answer(403, "QUOTA_EXCEEDED: the credit is spent"),
    ];
    for (index, fault) in faults.into_iter().enumerate() {
        first.fail(Method::PUT, fault.clone());
        let key = format!("key-{index}");
        let put = world.s3.put(REPOSITORY, &key, b"bytes").await;
        assert_eq!(put.status(), 200, "{fault:?}");
        assert_eq!(world.s3.read(REPOSITORY, &key).await, b"bytes");
    }
    assert_eq!(
        world.buckets[1]
            .sizes()
            .iter()
            .filter(|size| **size == 5)
            .count(),
        5
    );
    let metrics = world.s3.client.get(world.gateways[0].admin_url("/metrics"));
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    for reason in ["throttled", "server", "connection", "quota"] {
        let series =
            format!("tidegate_storage_fallbacks_total{{bucket=\"bucket-0\",reason=\"{reason}\"}}");
        assert!(metrics.contains(&series), "{series}");
    }
}

#[tokio::test]
async fn a_member_that_names_a_quota_gets_no_more_writes_until_it_is_enabled() {
    let world = StorageWorld::start(&[], &[]).await;
    let first = &world.buckets[0];
    first.fail(Method::PUT, BucketFault::Answer(403, "QUOTA_EXCEEDED"));
    world.s3.put(REPOSITORY, "one", b"x").await;
    first.heal();
    let before = first.count(&Method::PUT);
    world.s3.put(REPOSITORY, "two", b"x").await;
    assert_eq!(first.count(&Method::PUT), before);
    assert_eq!(world.bucket(0).await["writes"], false);
    world.storage(&["bucket", "enable", "bucket-0"]).await;
    assert_eq!(world.bucket(0).await["writes"], true);
}

#[tokio::test]
async fn a_member_that_refuses_its_credentials_is_passed_over_and_said() {
    let world = StorageWorld::start(&[], &[]).await;
    let denied = "<Error><Code>AccessDenied</Code></Error>";
    world.buckets[0].fail_all(&BucketFault::Answer(403, denied));
    for key in ["one", "two"] {
        assert_eq!(world.s3.put(REPOSITORY, key, b"x").await.status(), 200);
    }
    assert_eq!(world.buckets[0].count(&Method::PUT), 1);
    assert_eq!(world.bucket(0).await["writes"], true);
    let said = "a bucket refuses its credentials";
    world.gateways[0].wait_for_log(said).await.unwrap();
    world.buckets[0].heal();
    let used_again = async || {
        world.s3.put(REPOSITORY, "three", b"x").await;
        Ok((world.buckets[0].count(&Method::PUT) > 1).then_some(()))
    };
    until("it is used again", DEADLINE, used_again)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_large_body_is_sent_again_to_the_next_member_when_one_dies_in_the_middle() {
    let world = StorageWorld::with(2, &[], &[], "spool_memory_max = \"1MiB\"", 0).await;
    let body: Vec<u8> = (0..LARGE).map(|at| (at / 7) as u8).collect();
    world.buckets[0].fail(Method::PUT, BucketFault::Reset);
    let put = world.s3.put(REPOSITORY, "large", &body).await;
    assert_eq!(put.status(), 200);
    assert!(world.s3.read(REPOSITORY, "large").await == body);
}

#[tokio::test]
async fn a_body_past_the_spool_is_answered_503_and_nothing_is_stored() {
    let settings = "spool_memory_max = \"1MiB\"\nspool_bytes_max = \"2MiB\"";
    let world = StorageWorld::with(2, &[], &[], settings, 0).await;
    world.buckets[0].fail(Method::PUT, BucketFault::Reset);
    let put = world.s3.put(REPOSITORY, "large", &vec![7; LARGE]).await;
    assert_eq!(put.headers()["retry-after"], "1");
    assert_eq!(code(put).await.0, 503);
    let gone = world.s3.get(REPOSITORY, "large").await;
    assert_eq!(gone.status(), 404);
}

#[tokio::test]
async fn a_copy_that_breaks_off_is_continued_at_the_next_one() {
    let world = StorageWorld::start(&[], &["--write", "copies:2", "--read", "order"]).await;
    let body: Vec<u8> = (0..LARGE).map(|at| (at / 11) as u8).collect();
    world.s3.put(REPOSITORY, "large", &body).await;
    world.buckets[0].fail(Method::GET, BucketFault::Truncate(5 << 20));
    assert!(world.s3.read(REPOSITORY, "large").await == body);
    assert!(world.buckets[1].count(&Method::GET) > 0);
}

#[tokio::test]
async fn a_copy_that_gives_too_many_bytes_is_continued_at_the_next_one() {
    let world = StorageWorld::start(&[], &["--write", "copies:2", "--read", "order"]).await;
    let body: Vec<u8> = (0..2 << 20).map(|at| (at / 13) as u8).collect();
    for key in ["whole", "part"] {
        assert_eq!(world.s3.put(REPOSITORY, key, &body).await.status(), 200);
    }
    world.s3.put(REPOSITORY, "small", b"bytes").await;
    world.buckets[0].fail(Method::GET, BucketFault::Lengthen(1));
    assert!(world.s3.read(REPOSITORY, "whole").await == body);
    // Of a range, no bytes are compared.
    let part = world.s3.request(Method::GET, REPOSITORY, "part");
    let part = part.header("range", "bytes=7-2000006").send().await;
    assert_eq!(part.status(), 206);
    assert!(part.bytes().await.unwrap() == body[7..2_000_007]);
    assert_eq!(world.s3.read(REPOSITORY, "small").await, b"bytes");
    assert!(world.buckets[0].count(&Method::GET) > 0);
}

#[tokio::test]
async fn bytes_that_were_changed_at_a_provider_never_reach_the_client_whole() {
    let world = StorageWorld::start(&[], &["--write", "copies:2", "--read", "order"]).await;
    let put = world.s3.put(REPOSITORY, "small", b"right").await;
    assert_eq!(code(put).await, (200, String::new()));
    world.buckets[0].fail(Method::GET, BucketFault::Corrupt);
    let suspects = "select count(*) from tidegate.storage_copy where state = 'suspect'";
    // A slow answer of the first is not awaited, and then nothing is known of it.
    until("the copy is suspect", DEADLINE, async || {
        assert_eq!(world.s3.read(REPOSITORY, "small").await, b"right");
        Ok((world.value(suspects).await == "1").then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_frozen_member_costs_reads_no_error_and_little_time() {
    let world = StorageWorld::start(&[], &["--write", "copies:2", "--read", "order"]).await;
    world.s3.put(REPOSITORY, "key", b"bytes").await;
    world.buckets[0].fail_all(&BucketFault::Freeze);
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let started = Instant::now();
        assert_eq!(world.s3.read(REPOSITORY, "key").await, b"bytes");
        slowest = slowest.max(started.elapsed());
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    // The next write passes it over.
    let put = world.s3.put(REPOSITORY, "other", b"bytes").await;
    assert_eq!(
        put.status(),
        503,
        "two copies are not possible with one bucket"
    );
}

#[tokio::test]
async fn with_no_member_left_a_write_is_503_and_a_read_of_a_lost_copy_too() {
    let world = StorageWorld::start(&[], &[]).await;
    world.s3.put(REPOSITORY, "key", b"bytes").await;
    for bucket in &world.buckets {
        bucket.fail_all(&BucketFault::Reset);
    }
    assert_eq!(
        code(world.s3.put(REPOSITORY, "x", b"y").await).await.1,
        "ServiceUnavailable"
    );
    assert_eq!(
        code(world.s3.get(REPOSITORY, "key").await).await.1,
        "ServiceUnavailable"
    );
}
