//! Reservations hold while bytes are on their way, and end with them.

use std::time::Duration;

use http::Method;

use super::bucket_server::BucketFault;
use super::world::{REPOSITORY, StorageWorld};

/// More than is sent at once, so that it goes in parts.
const LARGE: usize = 20 << 20;
const SHORT_LEASE: &str = "lease = \"1s\"\nsweep_interval = \"200ms\"";
/// Longer than the lease, and short enough for a bucket to be waited for.
const SLOW: BucketFault = BucketFault::Delay(Duration::from_secs(3));

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
    let put = world.s3.put(REPOSITORY, "key", b"bytes").await;
    assert_eq!(put.status(), 200);
    for member in ["bucket-0", "bucket-1"] {
        assert_eq!(world.s3.read(member, "key").await, b"bytes");
    }
}

#[tokio::test]
async fn a_copy_that_its_provider_makes_slowly_stays_reserved() {
    let world = StorageWorld::with(1, &[], &[], SHORT_LEASE, 0).await;
    world.s3.put(REPOSITORY, "from", b"bytes").await;
    world.buckets[0].fail(Method::PUT, SLOW);
    let copied = copy(&world).await;
    assert_eq!(copied.status(), 200);
    assert_eq!(world.s3.read(REPOSITORY, "to").await, b"bytes");
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

async fn copy(world: &StorageWorld) -> reqwest::Response {
    let request = world.s3.request(Method::PUT, REPOSITORY, "to");
    let source = format!("/{REPOSITORY}/from");
    request.header("x-amz-copy-source", &source).send().await
}
