//! Copies that are damaged at their provider, or missing, are made good again from others.

use std::fs;
use std::time::Duration;

use http::Method;
use nix::sys::signal::Signal;
use tidegate::testkit::until;

use super::bucket_server::BucketFault;
use super::world::{REPOSITORY, StorageWorld};
use crate::world::DEADLINE;

const POLICY: [&str; 4] = ["--write", "copies:2", "--read", "order"];
const SETTINGS: &str = "lease = \"5s\"\nsweep_interval = \"200ms\"";
const BODY: &[u8] = b"the right bytes";

#[tokio::test]
async fn a_copy_that_is_damaged_cut_or_missing_is_made_anew_from_a_good_one() {
    let world = StorageWorld::with(2, &[], &POLICY, SETTINGS, 0).await;
    world.s3.put(REPOSITORY, "key", BODY).await;
    let file = world.buckets[0].objects().remove(0);
    let damages: [&dyn Fn(); 4] = [
        &|| fs::write(&file, b"some wrong text").unwrap(),
        &|| fs::write(&file, b"the right").unwrap(),
        &|| fs::write(&file, b"").unwrap(),
        &|| fs::remove_file(&file).unwrap(),
    ];
    for (index, damage) in damages.into_iter().enumerate() {
        damage();
        until("it is good again", DEADLINE, async || {
            assert_eq!(world.s3.read(REPOSITORY, "key").await, BODY, "{index}");
            let is_right = fs::read(&file).is_ok_and(|bytes| bytes == BODY);
            Ok((is_right && stored(&world).await == "2").then_some(()))
        })
        .await
        .unwrap();
        assert_eq!(world.s3.read("bucket-0", "key").await, BODY);
    }
    assert_eq!(world.bucket(0).await["heldBytes"], BODY.len());
}

#[tokio::test]
async fn a_copy_of_another_size_gives_no_byte_and_is_not_asked_again() {
    let world = StorageWorld::with(2, &[], &POLICY, "", 0).await;
    world.s3.put(REPOSITORY, "key", BODY).await;
    let file = world.buckets[0].objects().remove(0);
    fs::write(&file, b"foreign bytes, and more of them").unwrap();
    let asked = || world.buckets[0].count(&Method::GET);
    let before = asked();
    for _ in 0..3 {
        let range = world.s3.request(Method::GET, REPOSITORY, "key");
        let range = range.header("range", "bytes=4-8").send().await;
        assert_eq!(range.status(), 206);
        assert_eq!(range.bytes().await.unwrap(), BODY[4..9]);
        assert_eq!(world.s3.read(REPOSITORY, "key").await, BODY);
    }
    assert_eq!(asked(), before + 1);
}

#[tokio::test]
async fn a_copy_that_was_damaged_only_on_the_way_is_read_again_and_not_written() {
    let world = StorageWorld::with(2, &[], &POLICY, SETTINGS, 0).await;
    world.s3.put(REPOSITORY, "key", BODY).await;
    let before = world.buckets[0].objects().remove(0).metadata().unwrap();
    // As long as it looks damaged it is written, which is refused.
    world.buckets[0].fail(Method::PUT, BucketFault::Answer(429, ""));
    world.buckets[0].fail(Method::GET, BucketFault::Corrupt);
    until("it is suspect", DEADLINE, async || {
        assert_eq!(world.s3.read(REPOSITORY, "key").await, BODY);
        Ok((stored(&world).await == "1").then_some(()))
    })
    .await
    .unwrap();
    world.buckets[0].heal_only(&Method::GET);
    until("it is trusted", DEADLINE, async || {
        Ok((stored(&world).await == "2").then_some(()))
    })
    .await
    .unwrap();
    let after = world.buckets[0].objects().remove(0).metadata().unwrap();
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());
}

#[tokio::test]
async fn the_last_copy_is_neither_distrusted_nor_deleted() {
    let world = StorageWorld::with(2, &[], &POLICY, SETTINGS, 0).await;
    world.s3.put(REPOSITORY, "key", BODY).await;
    let [first, second] = [0, 1].map(|index| world.buckets[index].objects().remove(0));
    fs::write(&first, b"some wrong text").unwrap();
    fs::write(&second, b"more wrong text").unwrap();
    let failed = world.s3.request(Method::GET, REPOSITORY, "key").try_send();
    let failed = failed.await.unwrap();
    assert!(failed.status() != 200 || failed.bytes().await.is_err());
    world.gateways[0]
        .wait_for_log("a copy cannot be repaired")
        .await
        .unwrap();
    assert_eq!(stored(&world).await, "1");
    assert!(first.exists() && second.exists());
    // What an operator has restored is found to be good.
    fs::write(&second, BODY).unwrap();
    until("both are good", DEADLINE, async || {
        let _reader = world.s3.get(REPOSITORY, "key").await.bytes().await;
        let are_right = [&first, &second].map(|file| fs::read(file).unwrap() == BODY);
        Ok((are_right == [true; 2] && stored(&world).await == "2").then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_gateway_killed_in_the_middle_of_a_repair_leaves_the_good_copy_and_the_next_one_repairs()
{
    let mut world = StorageWorld::with(2, &[], &POLICY, SETTINGS, 0).await;
    // In parts, of which the first is there when the gateway dies.
    let body: Vec<u8> = (0..20 << 20).map(|at| (at / 17) as u8).collect();
    world.s3.put(REPOSITORY, "large", &body).await;
    let [file, good] = [0, 1].map(|index| world.buckets[index].objects().remove(0));
    world.buckets[0].fail(Method::PUT, BucketFault::Delay(Duration::from_secs(1)));
    fs::remove_file(&file).unwrap();
    assert!(world.s3.read(REPOSITORY, "large").await == body);
    until("the repair has begun", DEADLINE, async || {
        Ok((world.buckets[0].unfinished() > 0).then_some(()))
    })
    .await
    .unwrap();
    world.gateways[0].signal(Signal::SIGKILL);
    assert!(fs::read(&good).unwrap() == body);
    world.s3 = world.add_gateway(SETTINGS).await;
    assert!(world.s3.read(REPOSITORY, "large").await == body);
    world.buckets[0].heal();
    until("it is good again", DEADLINE, async || {
        Ok((stored(&world).await == "2").then_some(()))
    })
    .await
    .unwrap();
    assert!(world.s3.read("bucket-0", "large").await == body);
    assert_eq!(world.buckets[0].unfinished(), 0);
}

#[tokio::test]
async fn a_suspect_copy_is_the_last_resort_of_a_read_whose_bytes_can_be_compared() {
    let world = StorageWorld::with(2, &[], &POLICY, "sweep_interval = \"1h\"", 0).await;
    world.s3.put(REPOSITORY, "key", BODY).await;
    let suspect = "update tidegate.storage_copy set state = 'suspect' \
         where bucket = (select id from tidegate.storage_bucket where name = 'bucket-0')";
    world.cluster.primary.execute(suspect).await.unwrap();
    let reads = || world.buckets[0].count(&Method::GET);
    let before = reads();
    assert_eq!(world.s3.read(REPOSITORY, "key").await, BODY);
    assert_eq!(reads(), before);
    world.buckets[1].fail_all(&BucketFault::Reset);
    assert_eq!(world.s3.read(REPOSITORY, "key").await, BODY);
    assert_eq!(reads(), before + 1);
    let range = world.s3.request(Method::GET, REPOSITORY, "key");
    let range = range.header("range", "bytes=1-2").send().await;
    assert_eq!(range.status(), 503);
}

#[tokio::test]
async fn a_bucket_that_trickles_during_its_repair_stays_suspect_and_holds_no_read_up() {
    let world = StorageWorld::with(2, &[], &POLICY, SETTINGS, 0).await;
    world.s3.put(REPOSITORY, "key", BODY).await;
    let [file, good] = [0, 1].map(|index| world.buckets[index].objects().remove(0));
    // A byte in a second: slower than a repair waits, and never silent.
    world.buckets[0].fail(Method::GET, BucketFault::Trickle(8));
    fs::write(&file, b"some wrong text").unwrap();
    distrust(&world, "bucket-0").await;
    until("the repair has failed", DEADLINE, async || {
        assert_eq!(world.s3.read(REPOSITORY, "key").await, BODY);
        let failed = world.gateways[0]
            .log()
            .contains("a copy cannot be repaired");
        Ok((failed || stored(&world).await == "2").then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(fs::read(&good).unwrap(), BODY);
    world.buckets[0].heal();
    until("it is good again", DEADLINE, async || {
        Ok((stored(&world).await == "2").then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(fs::read(&file).unwrap(), BODY);
}

#[tokio::test]
async fn a_repair_goes_on_with_another_copy_when_its_source_trickles() {
    let policy = ["--write", "copies:3", "--read", "order"];
    let world = StorageWorld::with(3, &[], &policy, SETTINGS, 0).await;
    let body = [7; 100];
    world.s3.put(REPOSITORY, "key", &body).await;
    let file = world.buckets[0].objects().remove(0);
    // Longer than a repair waits for a source.
    world.buckets[1].fail(Method::GET, BucketFault::Trickle(8));
    fs::remove_file(&file).unwrap();
    distrust(&world, "bucket-0").await;
    until("it is good again", DEADLINE, async || {
        Ok((stored(&world).await == "3").then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(fs::read(&file).unwrap(), body);
}

#[tokio::test]
async fn a_repair_that_meets_a_providers_quota_takes_the_bucket_out_of_writes_and_tries_again() {
    let world = StorageWorld::with(2, &[], &POLICY, SETTINGS, 0).await;
    world.s3.put(REPOSITORY, "key", BODY).await;
    let [file, good] = [0, 1].map(|index| world.buckets[index].objects().remove(0));
    let refusal = BucketFault::Answer(403, "QUOTA_EXCEEDED: the credit is spent");
    world.buckets[0].fail(Method::PUT, refusal);
    fs::remove_file(&file).unwrap();
    distrust(&world, "bucket-0").await;
    until("it takes no writes", DEADLINE, async || {
        Ok((world.bucket(0).await["writes"] == false).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(world.s3.read(REPOSITORY, "key").await, BODY);
    assert_eq!(fs::read(&good).unwrap(), BODY);
    world.buckets[0].heal();
    until("it is good again", DEADLINE, async || {
        Ok((stored(&world).await == "2").then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(world.bucket(0).await["heldBytes"], BODY.len());
}

#[tokio::test]
async fn a_repair_needs_no_more_of_the_quota_than_the_copy_has() {
    let world = StorageWorld::with(2, &["--quota", "15B"], &POLICY, SETTINGS, 0).await;
    assert_eq!(BODY.len(), 15);
    world.s3.put(REPOSITORY, "key", BODY).await;
    let file = world.buckets[0].objects().remove(0);
    fs::write(&file, b"some wrong text").unwrap();
    distrust(&world, "bucket-0").await;
    until("it is good again", DEADLINE, async || {
        Ok((stored(&world).await == "2").then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(fs::read(&file).unwrap(), BODY);
    assert_eq!(world.bucket(0).await["heldBytes"], 15);
}

/// Has the copies of a bucket repaired.
async fn distrust(world: &StorageWorld, bucket: &str) {
    let suspect = format!(
        "update tidegate.storage_copy set state = 'suspect', due = now() \
         where bucket = (select id from tidegate.storage_bucket where name = '{bucket}')"
    );
    world.cluster.primary.execute(&suspect).await.unwrap();
}

async fn stored(world: &StorageWorld) -> String {
    let stored = "select count(*) from tidegate.storage_copy where state = 'stored'";
    world.value(stored).await
}
