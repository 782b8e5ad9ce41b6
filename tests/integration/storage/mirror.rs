//! Cold mirrors: every object arrives there and is read back, whatever fails or is killed.

use std::fs;
use std::time::Duration;

use http::Method;
use nix::sys::signal::Signal;
use tidegate::testkit::until;

use super::bucket_server::{BucketFault, BucketServer};
use super::world::{MIRRORED, StorageWorld};
use crate::world::DEADLINE;

const SETTINGS: &str = "lease = \"5s\"\nsweep_interval = \"200ms\"\nsweep_after = \"100ms\"";
const AT_ONCE: &str = r#"{"to": "cold", "after": "0s"}"#;
const WITHOUT_HOT: &str = r#"{"to": "cold", "after": "0s", "keepHot": false}"#;
const BODY: &[u8] = b"the right bytes";

async fn world(mirror: &str) -> (StorageWorld, BucketServer) {
    let mut world = StorageWorld::with(1, &[], &[], SETTINGS, 0).await;
    let cold = world.mirrored(mirror, &[]).await;
    (world, cold)
}

/// Waits until all tasks are done.
async fn done(world: &StorageWorld) {
    let open = "select count(*) from tidegate.storage_task";
    until("all is mirrored", DEADLINE, async || {
        let open = world.value(open).await;
        anyhow::ensure!(open == "0", "{open} tasks");
        Ok(Some(()))
    })
    .await
    .unwrap();
}

fn contents(bucket: &BucketServer) -> Vec<Vec<u8>> {
    let mut all: Vec<_> = bucket
        .objects()
        .iter()
        .filter_map(|it| fs::read(it).ok())
        .collect();
    all.sort();
    all
}

#[tokio::test]
async fn every_object_is_copied_to_the_mirror_and_read_back_and_stays_where_it_was() {
    let (world, cold) = world(AT_ONCE).await;
    let large: Vec<u8> = (0..20 << 20).map(|at| (at / 11) as u8).collect();
    for (key, body) in [("a", BODY), ("large", &large), ("empty", b"")] {
        assert_eq!(world.s3.put(MIRRORED, key, body).await.status(), 200);
    }
    done(&world).await;
    assert!(contents(&cold) == contents(&world.buckets[0]));
    let verified = "select count(*) from tidegate.storage_copy where verified is not null";
    assert_eq!(world.value(verified).await, "3");
    let restored = "tidegate_storage_restores_total{bucket=\"cold\",outcome=\"restored\"} 3";
    let backlog = "tidegate_storage_mirror_backlog{bucket=\"cold\"} 0";
    let late = "tidegate_storage_mirror_late_seconds{bucket=\"cold\"} 0";
    until("it is seen", DEADLINE, async || {
        let metrics = world.metrics().await;
        let is_there = |series: &&str| metrics.contains(*series);
        Ok([restored, backlog, late].iter().all(is_there).then_some(()))
    })
    .await
    .unwrap();
    // What is replaced leaves the mirror too.
    world.s3.put(MIRRORED, "large", BODY).await;
    until("the old version is swept", DEADLINE, async || {
        let [mut hot, mut cold] = [world.buckets[0].sizes(), cold.sizes()];
        hot.sort_unstable();
        cold.sort_unstable();
        let expected = [0, BODY.len() as u64, BODY.len() as u64];
        Ok((hot == expected && cold == expected).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn existing_objects_are_mirrored_when_the_policy_gets_a_mirror() {
    let (world, cold) = world(AT_ONCE).await;
    let change = ["repository", "change", MIRRORED];
    world
        .storage(&[&change[..], &["--no-mirror"]].concat())
        .await;
    world.s3.put(MIRRORED, "key", BODY).await;
    done(&world).await;
    assert!(cold.objects().is_empty());
    world
        .storage(&[&change[..], &["--mirror", AT_ONCE]].concat())
        .await;
    until("it is mirrored", DEADLINE, async || {
        Ok((contents(&cold) == [BODY]).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn hot_copies_stay_when_the_policy_changes_while_the_cold_one_is_read_back() {
    let (world, cold) = world(WITHOUT_HOT).await;
    cold.fail(Method::GET, BucketFault::Delay(Duration::from_secs(3)));
    world.s3.put(MIRRORED, "key", BODY).await;
    until("it is read back", DEADLINE, async || {
        Ok((cold.count(&Method::GET) > 0).then_some(()))
    })
    .await
    .unwrap();
    let change = ["repository", "change", MIRRORED, "--mirror", AT_ONCE];
    world.storage(&change).await;
    done(&world).await;
    let doomed = "select count(*) from tidegate.storage_copy where state = 'doomed'";
    assert_eq!(world.value(doomed).await, "0");
    assert_eq!(contents(&world.buckets[0]), [BODY]);
    assert_eq!(contents(&cold), [BODY]);
}

#[tokio::test]
async fn a_task_that_another_gateway_has_claimed_adds_no_second_copy() {
    let (world, cold) = world(AT_ONCE).await;
    cold.fail(Method::GET, BucketFault::Delay(Duration::from_secs(2)));
    world.s3.put(MIRRORED, "key", BODY).await;
    until("it is read back", DEADLINE, async || {
        Ok((cold.count(&Method::GET) > 0).then_some(()))
    })
    .await
    .unwrap();
    let taken = "update tidegate.storage_task set claim = 'another', due = now() + interval '1 h'";
    world.cluster.primary.execute(taken).await.unwrap();
    until("its bytes are swept", DEADLINE, async || {
        Ok(cold.objects().is_empty().then_some(()))
    })
    .await
    .unwrap();
    let task = "select claim from tidegate.storage_task";
    assert_eq!(world.value(task).await, "another");
}

#[tokio::test]
async fn a_mirror_that_is_changed_is_not_read_again_and_its_next_sample_is_in_time() {
    let (world, cold) = world(AT_ONCE).await;
    world.s3.put(MIRRORED, "key", BODY).await;
    done(&world).await;
    let reads = cold.count(&Method::GET);
    for mirror in [
        r#"{"to": "cold", "after": "0s", "verify": "3d"}"#,
        r#"{"to": "cold", "after": "1ms", "verify": "3d"}"#,
    ] {
        let change = ["repository", "change", MIRRORED, "--mirror", mirror];
        world.storage(&change).await;
        let is_queued = "select bool_and(mirror_after is null) from tidegate.storage_repository";
        until("existing objects are looked at", DEADLINE, async || {
            Ok((world.value(is_queued).await == "t").then_some(()))
        })
        .await
        .unwrap();
        done(&world).await;
    }
    assert_eq!(cold.count(&Method::GET), reads);
    let in_time = "select restores_due < now() + interval '4 days' from tidegate.storage_repository \
         where policy ? 'mirror'";
    assert_eq!(world.value(in_time).await, "t");
}

#[tokio::test]
async fn tasks_of_a_mirror_that_is_removed_are_dropped_and_nothing_is_late_any_more() {
    let (world, cold) = world(AT_ONCE).await;
    cold.fail_all(&BucketFault::Answer(503, ""));
    world.s3.put(MIRRORED, "key", BODY).await;
    let backlog = async |blobs: u32| {
        let series = format!("tidegate_storage_mirror_backlog{{bucket=\"cold\"}} {blobs}");
        until("it is shown", DEADLINE, async || {
            Ok(world.metrics().await.contains(&series).then_some(()))
        })
        .await
        .unwrap();
    };
    backlog(1).await;
    let change = ["repository", "change", MIRRORED, "--no-mirror"];
    world.storage(&change).await;
    backlog(0).await;
    done(&world).await;
}

#[tokio::test]
async fn imported_bytes_are_read_twice_before_the_mirror_replaces_them() {
    let (world, cold) = world(WITHOUT_HOT).await;
    world.buckets[0].place("key", BODY);
    let import = ["bucket", "import", "bucket-0", "--repository", MIRRORED];
    // The list is a GET too, and must not be the one that is damaged.
    cold.fail(Method::PUT, BucketFault::Answer(503, ""));
    world.storage(&import).await;
    world.buckets[0].fail_every(1000, Method::GET, BucketFault::Corrupt);
    cold.heal();
    done(&world).await;
    assert_eq!(contents(&cold), [BODY]);
    assert_eq!(world.s3.read(MIRRORED, "key").await, BODY);
}

#[tokio::test]
async fn a_hot_copy_is_deleted_only_after_the_cold_one_was_read_back() {
    let (world, cold) = world(WITHOUT_HOT).await;
    cold.fail(Method::GET, BucketFault::Corrupt);
    world.s3.put(MIRRORED, "key", BODY).await;
    let failures = "select coalesce(max(failures), 0) from tidegate.storage_task";
    until("it was tried twice", DEADLINE, async || {
        Ok((world.value(failures).await.as_str() >= "2").then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(contents(&world.buckets[0]), [BODY]);
    let failed = "tidegate_storage_restores_total{bucket=\"cold\",outcome=\"failed\"}";
    assert!(world.metrics().await.contains(failed));
    cold.heal();
    done(&world).await;
    until("the hot copy is gone", DEADLINE, async || {
        Ok((world.buckets[0].objects().is_empty() && contents(&cold) == [BODY]).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(world.s3.read(MIRRORED, "key").await, BODY);
}

#[tokio::test]
async fn a_cold_copy_that_is_damaged_is_found_by_a_sample_recorded_and_repaired() {
    let mirror = r#"{"to": "cold", "after": "0s", "verify": "1s", "share": 1}"#;
    let (world, cold) = world(mirror).await;
    world.s3.put(MIRRORED, "key", BODY).await;
    done(&world).await;
    let file = cold.objects().remove(0);
    fs::write(&file, b"some wrong text").unwrap();
    until("it is repaired", DEADLINE, async || {
        Ok((fs::read(&file).unwrap() == BODY).then_some(()))
    })
    .await
    .unwrap();
    let failed = world.storage(&["restores"]).await;
    assert_eq!(failed[0]["repository"], MIRRORED);
    assert_eq!(failed[0]["key"], "key");
    assert_eq!(failed[0]["bucket"], "cold");
    let failed = "tidegate_storage_restores_total{bucket=\"cold\",outcome=\"failed\"} 1";
    assert!(world.metrics().await.contains(failed));
    // Samples are read again and again.
    let verified = "select max(verified) from tidegate.storage_copy";
    let before = world.value(verified).await;
    until("it is read back again", DEADLINE, async || {
        Ok((world.value(verified).await > before).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_gateway_killed_in_the_middle_of_a_mirror_loses_nothing_and_the_next_one_goes_on() {
    let (mut world, cold) = world(WITHOUT_HOT).await;
    cold.fail(Method::PUT, BucketFault::Delay(Duration::from_secs(1)));
    let body: Vec<u8> = (0..20 << 20).map(|at| (at / 17) as u8).collect();
    world.s3.put(MIRRORED, "large", &body).await;
    until("a part is there", DEADLINE, async || {
        Ok((cold.unfinished() > 0).then_some(()))
    })
    .await
    .unwrap();
    world.gateways[0].signal(Signal::SIGKILL);
    assert!(contents(&world.buckets[0]) == [body.clone()]);
    cold.heal();
    world.s3 = world.add_gateway(SETTINGS).await;
    done(&world).await;
    until("what the crash has left is swept", DEADLINE, async || {
        let is_moved = world.buckets[0].objects().is_empty() && cold.sizes() == [body.len() as u64];
        Ok((is_moved && cold.unfinished() == 0).then_some(()))
    })
    .await
    .unwrap();
    assert!(world.s3.read(MIRRORED, "large").await == body);
}

#[tokio::test]
async fn a_mirror_keeps_its_bucket_and_must_not_be_a_member() {
    let (world, _cold) = world(AT_ONCE).await;
    let failed = async |arguments: &[&str]| {
        let command = super::world::storage_command(&world.cluster, arguments);
        let output = command.output().await.unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let said = failed(&["bucket", "remove", "cold"]).await;
    assert!(said.contains("mirror"), "{said}");
    let said = failed(&["drain", "cold"]).await;
    assert!(said.contains(MIRRORED), "{said}");
    let mirror = r#"{"to": "bucket-0"}"#;
    let arguments = [
        "repository",
        "add",
        "other",
        "--member",
        "bucket-0",
        "--mirror",
        mirror,
    ];
    let said = failed(&arguments).await;
    assert!(said.contains("is a member"), "{said}");
}
