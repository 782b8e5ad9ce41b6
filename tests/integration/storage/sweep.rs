//! What is deleted: what crashes have left, bucket by bucket.

use std::time::Duration;

use http::Method;
use nix::sys::signal::Signal;
use tidegate::testkit::until;
use tokio::time::Instant;

use super::bucket_server::BucketFault;
use super::world::{REPOSITORY, StorageWorld};
use crate::world::DEADLINE;

#[tokio::test]
async fn the_parts_of_a_large_body_whose_gateway_was_killed_are_given_up() {
    let settings = "lease = \"5s\"\nsweep_interval = \"200ms\"";
    let mut world = StorageWorld::with(1, &[], &[], settings, 0).await;
    world.buckets[0].fail(Method::PUT, BucketFault::Delay(Duration::from_secs(1)));
    let s3 = world.s3.clone();
    let put = tokio::spawn(async move {
        let request = s3.request(Method::PUT, REPOSITORY, "large");
        request.body(&vec![7; 40 << 20]).try_send().await
    });
    until("a part is there", DEADLINE, async || {
        Ok((world.buckets[0].unfinished() > 0).then_some(()))
    })
    .await
    .unwrap();
    world.gateways[0].signal(Signal::SIGKILL);
    put.await.unwrap().unwrap_err();
    assert!(world.buckets[0].unfinished() > 0);
    world.add_gateway(settings).await;
    until("nothing is left", DEADLINE, async || {
        let is_held = world.bucket(0).await["heldBytes"] != 0;
        Ok((!is_held && world.buckets[0].unfinished() == 0).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_member_that_fails_in_the_middle_of_a_large_body_keeps_no_parts() {
    let world = StorageWorld::start(&[], &[]).await;
    let body = vec![7; 20 << 20];
    // The first part arrives, the others do not.
    world.buckets[0].fail_after(1, Method::PUT, BucketFault::Answer(429, ""));
    assert_eq!(world.s3.put(REPOSITORY, "large", &body).await.status(), 200);
    until("its parts are gone", DEADLINE, async || {
        let is_held = world.bucket(0).await["heldBytes"] != 0;
        Ok((!is_held && world.buckets[0].unfinished() == 0).then_some(()))
    })
    .await
    .unwrap();
    assert!(world.s3.read("bucket-1", "large").await == body);
}

#[tokio::test]
async fn a_bucket_that_does_not_answer_holds_the_sweep_of_no_other_up() {
    let settings = "sweep_interval = \"1h\"\nsweep_after = \"1ms\"";
    let world = StorageWorld::with(2, &[], &[], settings, 0).await;
    world.s3.put("bucket-1", "key", b"bytes").await;
    world.s3.delete(REPOSITORY, "key").await;
    let older = "insert into tidegate.storage_copy (id, bucket, bytes, state, due) \
         select 'gone-' || n, b.id, 0, 'doomed', now() - interval '1 day' \
         from tidegate.storage_bucket b, generate_series(1, 150) n where b.name = 'bucket-0'";
    world.cluster.primary.execute(older).await.unwrap();
    world.buckets[0].fail_all(&BucketFault::Freeze);
    let started = Instant::now();
    let swept = world.storage(&["sweep"]).await;
    assert_eq!(swept["deleted"], 1, "{swept}");
    assert!(started.elapsed() < Duration::from_secs(15));
    assert!(world.buckets[1].sizes().is_empty());
}
