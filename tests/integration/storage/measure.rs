//! `bucket check --measure`.

use http::Method;
use tokio::time::timeout;

use super::bucket_server::BucketFault;
use super::world::{StorageWorld, storage_command};
use crate::world::DEADLINE;

#[tokio::test]
async fn a_measured_bucket_shows_percentiles_of_four_kinds_of_requests_and_keeps_nothing() {
    let world = StorageWorld::start(&[], &[]).await;
    let check = ["bucket", "check", "bucket-0", "--measure"];
    let before = world.buckets[0].count(&Method::PUT);
    let shown = world.storage(&check).await;
    assert_eq!(shown["success"], true);
    for method in ["head", "put", "get", "delete"] {
        let [p50, p99] =
            ["p50Ms", "p99Ms"].map(|it| shown["measured"][method][it].as_f64().unwrap());
        assert!(p50 > 0.0 && p50 <= p99, "{method}: {shown}");
    }
    assert_eq!(world.buckets[0].count(&Method::PUT), before + 51);
    assert!(world.buckets[0].sizes().is_empty());

    let table = storage_command(&world.cluster, &check)
        .output()
        .await
        .unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    for word in ["p50 ms", "HEAD", "PUT", "GET", "DELETE"] {
        assert!(table.contains(word), "{table}");
    }
    // One that fails in the middle keeps nothing either.
    let fault = BucketFault::Answer(500, "");
    world.buckets[0].fail_after(20, Method::GET, fault);
    let failed = storage_command(&world.cluster, &check)
        .output()
        .await
        .unwrap();
    assert!(!failed.status.success());
    assert!(world.buckets[0].sizes().is_empty());
}

#[tokio::test]
async fn a_check_does_not_wait_for_a_body_that_trickles_in() {
    let world = StorageWorld::start(&[], &[]).await;
    // Eight bytes in a second: each comes in time, 4 KiB do not.
    world.buckets[0].fail(Method::GET, BucketFault::Trickle(8));
    let check = ["bucket", "check", "bucket-0", "--measure"];
    let checked = storage_command(&world.cluster, &check).output();
    let checked = timeout(DEADLINE, checked).await.unwrap();
    assert!(!checked.unwrap().status.success());
    assert!(world.buckets[0].sizes().is_empty());
}
