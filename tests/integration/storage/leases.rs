//! Reservations hold while bytes are on their way, and end with them.

use std::time::Duration;

use http::Method;
use tidegate::testkit::until;

use super::bucket_server::BucketFault;
use super::world::{REPOSITORY, StorageWorld};
use crate::world::DEADLINE;

/// More than is sent at once, so that it goes in parts.
const LARGE: usize = 20 << 20;
const SHORT_LEASE: &str = "lease = \"5s\"\nsweep_interval = \"200ms\"";
/// Longer than the lease, and short enough for a bucket to be waited for that gets `BODY`.
const SLOW: BucketFault = BucketFault::Delay(Duration::from_secs(7));
const BODY: &[u8] = &[7; 2 << 20];

#[tokio::test]
async fn copies_of_a_body_past_the_spool_are_sent_at_the_same_time() {
    let settings = "spool_memory_max = \"1MiB\"\nspool_bytes_max = \"2MiB\"";
    let policy = ["--write", "copies:2"];
    let world = StorageWorld::with(2, &[], &policy, settings, 0).await;
    let body: Vec<u8> = (0..LARGE).map(|at| (at / 13) as u8).collect();
    let put = world.s3.put(REPOSITORY, "large", &body).await;
    assert_eq!(put.status(), 200);
    for member in ["bucket-0", "bucket-1"] {
        assert!(world.s3.read(member, "large").await == body, "{member}");
    }
}

#[tokio::test]
async fn copies_that_have_arrived_stay_reserved_while_another_is_slow() {
    let policy = ["--write", "copies:2"];
    let world = StorageWorld::with(2, &[], &policy, SHORT_LEASE, 0).await;
    world.buckets[1].fail(Method::PUT, SLOW);
    let put = world.s3.put(REPOSITORY, "key", BODY).await;
    assert_eq!(put.status(), 200);
    for member in ["bucket-0", "bucket-1"] {
        assert!(world.s3.read(member, "key").await == BODY, "{member}");
    }
}

#[tokio::test]
async fn a_copy_that_its_provider_makes_slowly_stays_reserved() {
    let world = StorageWorld::with(1, &[], &[], SHORT_LEASE, 0).await;
    world.s3.put(REPOSITORY, "from", BODY).await;
    world.buckets[0].fail(Method::PUT, SLOW);
    let copied = copy(&world).await;
    assert_eq!(copied.status(), 200);
    assert!(world.s3.read(REPOSITORY, "to").await == BODY);
}

#[tokio::test]
async fn a_copy_that_its_provider_refuses_reserves_nothing_any_more() {
    let world = StorageWorld::with(1, &[], &[], "", 0).await;
    world.s3.put(REPOSITORY, "from", b"bytes").await;
    let denied = BucketFault::Answer(403, "<Error><Code>AccessDenied</Code></Error>");
    world.buckets[0].fail(Method::PUT, denied);
    assert_eq!(copy(&world).await.status(), 503);
    assert_eq!(world.bucket(0).await["heldBytes"], 5);
}

#[tokio::test]
async fn bytes_that_arrive_after_their_reservation_was_swept_are_deleted_or_counted_until_then() {
    let settings = "sweep_interval = \"200ms\"";
    let world = StorageWorld::with(1, &[], &[], settings, 0).await;
    for is_deletable in [true, false] {
        world.buckets[0].heal();
        world.buckets[0].fail(Method::PUT, BucketFault::Delay(Duration::from_secs(3)));
        if !is_deletable {
            world.buckets[0].fail(Method::DELETE, BucketFault::Answer(403, ""));
        }
        let s3 = world.s3.clone();
        let put = tokio::spawn(async move { s3.put(REPOSITORY, "key", b"bytes").await.status() });
        let swept = "with gone as (delete from tidegate.storage_copy where state = 'reserved' \
             returning bytes), freed as (update tidegate.storage_bucket b set held = held - gone.bytes \
             from gone) select count(*) from gone";
        until("the reservation is gone", DEADLINE, async || {
            Ok((world.value(swept).await == "1").then_some(()))
        })
        .await
        .unwrap();
        assert_eq!(put.await.unwrap(), 503);
        let kept = if is_deletable { 0 } else { 5 };
        assert_eq!(world.bucket(0).await["heldBytes"], kept);
        assert_eq!(world.buckets[0].sizes().iter().sum::<u64>(), kept);
    }
    // It is said, and not held against the bucket, which still takes writes.
    world.buckets[0].fail(Method::PUT, BucketFault::Delay(Duration::ZERO));
    world.gateways[0]
        .wait_for_log("a copy could not be deleted")
        .await
        .unwrap();
    let put = world.s3.put(REPOSITORY, "other", b"x").await;
    assert_eq!(put.status(), 200);
    world.buckets[0].heal();
    let retried = "update tidegate.storage_copy set due = now() where state = 'doomed'";
    until("the bytes are gone", DEADLINE, async || {
        // Again: a deletion that was under way sets its own time when it has failed.
        world.cluster.primary.execute(retried).await?;
        Ok((world.bucket(0).await["heldBytes"] == 1).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(world.buckets[0].sizes(), [1]);
}

async fn copy(world: &StorageWorld) -> reqwest::Response {
    let request = world.s3.request(Method::PUT, REPOSITORY, "to");
    let source = format!("/{REPOSITORY}/from");
    request.header("x-amz-copy-source", &source).send().await
}
