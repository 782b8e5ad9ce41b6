//! Buckets that are given up while clients write and read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tidegate::testkit::until;

use super::bucket_server::{BucketFault, BucketServer};
use super::world::{REPOSITORY, StorageWorld, add_bucket, storage_command};
use crate::world::DEADLINE;

const SETTINGS: &str = "lease = \"5s\"\nsweep_interval = \"200ms\"\nsweep_after = \"1s\"";

fn body_of(number: usize) -> Vec<u8> {
    format!("{number}/").repeat(40 + number).into_bytes()
}

#[tokio::test]
async fn a_drain_under_writes_ends_with_nothing_on_the_bucket_and_fails_no_read() {
    const BEFORE: usize = 40;
    let world = StorageWorld::with(2, &[], &[], SETTINGS, 0).await;
    for number in 0..BEFORE {
        let key = format!("before/{number}");
        world.s3.put(REPOSITORY, &key, &body_of(number)).await;
    }
    let large: Vec<u8> = (0..20 << 20).map(|at| (at / 19) as u8).collect();
    world.s3.put(REPOSITORY, "large", &large).await;
    let (ended, read) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let (s3, is_over, count) = (world.s3.clone(), Arc::clone(&ended), Arc::clone(&read));
    let reader = tokio::spawn(async move {
        while !is_over.load(Ordering::Relaxed) {
            let number = count.fetch_add(1, Ordering::Relaxed) % BEFORE;
            let key = format!("before/{number}");
            assert_eq!(s3.read(REPOSITORY, &key).await, body_of(number));
        }
    });
    let (s3, is_over) = (world.s3.clone(), Arc::clone(&ended));
    let writer = tokio::spawn(async move {
        let mut written = 0;
        while !is_over.load(Ordering::Relaxed) {
            let key = format!("during/{written}");
            let put = s3.put(REPOSITORY, &key, &body_of(written)).await;
            assert_eq!(put.status(), 200);
            written += 1;
        }
        written
    });
    let drained = world
        .storage(&["drain", "bucket-0", "--patience", "20s"])
        .await;
    assert_eq!(drained["success"], true);
    assert!(world.buckets[0].objects().is_empty());
    let bucket = world.bucket(0).await;
    assert_eq!(bucket["heldBytes"], 0);
    assert_eq!(
        (&bucket["draining"], &bucket["writes"]),
        (&true.into(), &false.into())
    );
    ended.store(true, Ordering::Relaxed);
    reader.await.unwrap();
    let written = writer.await.unwrap();
    assert!(written > 0 && read.load(Ordering::Relaxed) > BEFORE);
    for number in 0..written {
        let key = format!("during/{number}");
        assert_eq!(world.s3.read(REPOSITORY, &key).await, body_of(number));
    }
    assert!(world.s3.read(REPOSITORY, "large").await == large);
    // It is used again as soon as an operator says so.
    world.storage(&["bucket", "enable", "bucket-0"]).await;
    until("it takes writes", DEADLINE, async || {
        world.s3.put(REPOSITORY, "after", b"x").await;
        Ok((!world.buckets[0].objects().is_empty()).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_drain_whose_command_and_gateway_are_killed_goes_on_where_it_was() {
    const OBJECTS: usize = 30;
    let mut world = StorageWorld::with(2, &[], &[], SETTINGS, 0).await;
    for number in 0..OBJECTS {
        let key = format!("key-{number}");
        world.s3.put(REPOSITORY, &key, &body_of(number)).await;
    }
    world.buckets[1].fail(Method::PUT, BucketFault::Delay(Duration::from_millis(300)));
    let command = storage_command(&world.cluster, &["drain", "bucket-0"]);
    let command = tokio::spawn(command.output());
    until("some are moved", DEADLINE, async || {
        let moved = world.buckets[1].sizes().len();
        anyhow::ensure!(moved < OBJECTS, "{moved} are moved already");
        Ok((moved > 3).then_some(()))
    })
    .await
    .unwrap();
    world.gateways[0].signal(Signal::SIGKILL);
    // Dropping it kills the process.
    command.abort();
    world.buckets[1].heal();
    let left = world.bucket(0).await["heldBytes"].as_u64().unwrap();
    assert!(left > 0);
    world.s3 = world.add_gateway(SETTINGS).await;
    let drained = world
        .storage(&["drain", "bucket-0", "--patience", "20s"])
        .await;
    assert_eq!(drained["success"], true);
    assert!(world.buckets[0].objects().is_empty());
    for number in 0..OBJECTS {
        let key = format!("key-{number}");
        assert_eq!(world.s3.read(REPOSITORY, &key).await, body_of(number));
    }
    until("what the crash has left is swept", DEADLINE, async || {
        Ok((world.buckets[1].sizes().len() == OBJECTS).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_drain_says_what_blocks_it_and_deletes_nothing() {
    let policy = ["--write", "copies:2"];
    let world = StorageWorld::with(2, &[], &policy, SETTINGS, 0).await;
    world.s3.put(REPOSITORY, "key", b"bytes").await;
    let command = storage_command(
        &world.cluster,
        &["drain", "bucket-0", "--patience", "3s", "--json"],
    );
    let output = command.output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    let said: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let blocked = &said["left"]["blocked"][0];
    assert_eq!(blocked["key"], "key", "{said}");
    assert_eq!(
        said["objects"],
        json!([{"repository": REPOSITORY, "key": "key"}])
    );
    let error = blocked["error"].as_str().unwrap();
    assert!(error.contains("no other member"), "{error}");
    assert!(
        text.contains("1 copies left") && text.contains(error),
        "{text}"
    );
    assert_eq!(world.buckets[0].objects().len(), 1);
    assert_eq!(world.s3.read("bucket-0", "key").await, b"bytes");
}

#[tokio::test]
async fn a_blocked_drain_names_every_object_and_goes_on_as_soon_as_there_is_another_member() {
    let policy = ["--write", "copies:2"];
    let world = StorageWorld::with(2, &[], &policy, SETTINGS, 0).await;
    for key in ["a\u{7}", "b"] {
        assert_eq!(world.s3.put(REPOSITORY, key, b"bytes").await.status(), 200);
    }
    let id = world.bucket(0).await["id"].as_str().unwrap().to_owned();
    let drain = ["drain", &id, "--patience", "5s"];
    let output = storage_command(&world.cluster, &drain).output().await;
    let text = String::from_utf8(output.unwrap().stderr).unwrap();
    for line in ["a\\u{7}", "b"] {
        let line = format!("not moved: {REPOSITORY}/{line}\n");
        assert!(text.contains(&line), "{text}");
    }
    // As after many attempts.
    let later = "update tidegate.storage_task set failures = 9, due = now() + interval '10 min'";
    world.cluster.primary.execute(later).await.unwrap();
    let third = BucketServer::start().await;
    add_bucket(&world.cluster, "third", &third, &[]).await;
    let mut change = vec!["repository", "change", REPOSITORY];
    for member in ["bucket-0", "bucket-1", "third"] {
        change.extend(["--member", member]);
    }
    world.storage(&change).await;
    until("they are moved", DEADLINE, async || {
        Ok((third.objects().len() == 2).then_some(()))
    })
    .await
    .unwrap();
    let drain = ["drain", &id, "--patience", "20s"];
    assert_eq!(world.storage(&drain).await["success"], true);
    world.storage(&["bucket", "enable", &id]).await;
    assert_eq!(world.bucket(0).await["draining"], false);
}

#[tokio::test]
async fn a_bucket_that_is_gone_is_drained_from_other_copies_and_forgotten() {
    const OBJECTS: usize = 6;
    let policy = ["--write", "copies:2"];
    let world = StorageWorld::with(3, &[], &policy, SETTINGS, 0).await;
    for number in 0..OBJECTS {
        let key = format!("key-{number}");
        let put = world.s3.put(REPOSITORY, &key, &body_of(number)).await;
        assert_eq!(put.status(), 200);
    }
    let gone = (0..3).find(|index| !world.buckets[*index].objects().is_empty());
    let gone = gone.unwrap();
    world.buckets[gone].fail_all(&BucketFault::Reset);
    let name = format!("bucket-{gone}");
    let arguments = ["drain", &name, "--forget", "--patience", "25s"];
    let drained = world.storage(&arguments).await;
    assert_eq!(drained["success"], true);
    assert_eq!(world.bucket(gone).await["heldBytes"], 0);
    let elsewhere = (0..3).filter(|index| *index != gone);
    let elsewhere = elsewhere.map(|index| world.buckets[index].objects().len());
    assert_eq!(elsewhere.sum::<usize>(), 2 * OBJECTS);
    for number in 0..OBJECTS {
        let key = format!("key-{number}");
        assert_eq!(world.s3.read(REPOSITORY, &key).await, body_of(number));
    }
}

#[tokio::test]
async fn everything_moves_to_another_provider_and_the_old_bucket_can_be_removed() {
    let world = StorageWorld::with(2, &[], &[], SETTINGS, 0).await;
    let members = |all: &[&'static str]| {
        let change = ["repository", "change", REPOSITORY].into_iter();
        let members = all.iter().flat_map(|it| ["--member", *it]);
        change.chain(members).collect::<Vec<_>>()
    };
    world.storage(&members(&["bucket-0"])).await;
    world.s3.put(REPOSITORY, "key", b"bytes").await;
    assert_eq!(world.buckets[0].sizes(), [5]);
    world.storage(&members(&["bucket-1", "bucket-0"])).await;
    world
        .storage(&["drain", "bucket-0", "--patience", "20s"])
        .await;
    assert_eq!(world.s3.read(REPOSITORY, "key").await, b"bytes");
    world.storage(&members(&["bucket-1"])).await;
    world.storage(&["bucket", "remove", "bucket-0"]).await;
    assert_eq!(world.s3.read(REPOSITORY, "key").await, b"bytes");
    let all = world.storage(&["bucket", "list"]).await;
    assert_eq!(all.as_array().unwrap().len(), 1);
}
