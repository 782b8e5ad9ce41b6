//! Importing again what gateways have written: bytes belong to one copy.

use serde_json::{Value, json};
use tidegate::testkit::until;

use super::import::{import, world};
use super::world::{MIRRORED, REPOSITORY, StorageWorld};
use crate::world::DEADLINE;

const OWN: [&str; 2] = ["--prefix", "tidegate"];

/// Waits until a query has a result.
async fn until_value(world: &StorageWorld, sql: &str, expected: &str) {
    until(sql, DEADLINE, async || {
        let value = world.value(sql).await;
        anyhow::ensure!(value == expected, "{value}");
        Ok(Some(()))
    })
    .await
    .unwrap();
}

fn is_unchanged(done: &Value, unchanged: u64) {
    let counts = ["added", "reattached", "unchanged", "gone"].map(|name| done[name].clone());
    assert_eq!(json!(counts), json!([0, 0, unchanged, 0]), "{done}");
}

#[tokio::test]
async fn an_imported_object_is_not_given_to_another_one_with_the_same_bytes() {
    let world = world().await;
    let file = world.buckets[0].place("tidegate/first", b"bytes");
    world.buckets[0].place("tidegate/other", b"others");
    assert_eq!(import(&world, &OWN).await["added"], 2);
    assert_eq!(
        world.s3.put("bucket-1", "again", b"bytes").await.status(),
        200
    );
    is_unchanged(&import(&world, &OWN).await, 2);
    assert_eq!(world.bucket(0).await["heldBytes"], "bytesothers".len());
    world.s3.delete(REPOSITORY, "again").await;
    until_value(&world, "select count(*) from tidegate.storage_copy", "2").await;
    assert!(file.exists() && world.buckets[1].objects().is_empty());
    assert_eq!(world.s3.read(REPOSITORY, "tidegate/first").await, b"bytes");
}

#[tokio::test]
async fn the_copies_of_a_lost_object_stay_apart_when_they_are_mirrored_and_imported_again() {
    let mut world = world().await;
    let _cold = world
        .mirrored(r#"{"to": "cold", "after": "0s"}"#, &[])
        .await;
    let files = ["one", "two"].map(|id| format!("tidegate/{id}"));
    let placed = [0, 1].map(|at| world.buckets[at].place(&files[at], b"bytes"));
    let import = async |bucket: &str| {
        let arguments = ["bucket", "import", bucket, "--repository", MIRRORED];
        world.storage(&[&arguments[..], &OWN].concat()).await
    };
    for bucket in ["bucket-0", "bucket-1"] {
        assert_eq!(import(bucket).await["added"], 1);
    }
    let mirrored = "select count(*) from tidegate.storage_blob where sha256 <> ''";
    until_value(&world, mirrored, "2").await;
    for bucket in ["bucket-0", "bucket-1"] {
        is_unchanged(&import(bucket).await, 1);
    }
    world.s3.delete(MIRRORED, &files[1]).await;
    let doomed = "select count(*) from tidegate.storage_copy where state = 'doomed'";
    until_value(&world, doomed, "0").await;
    assert!(placed.iter().all(|it| it.exists()));
    assert_eq!(world.s3.read(MIRRORED, &files[0]).await, b"bytes");
}

#[tokio::test]
async fn the_sweeper_spares_bytes_that_are_also_those_of_another_copy() {
    let world = world().await;
    let file = world.buckets[0].place("tidegate/first", b"bytes");
    import(&world, &OWN).await;
    // As imports have left it before.
    let second = "insert into tidegate.storage_copy (id, bucket, bytes, state, due) \
         select 'first', bucket, 0, 'doomed', now() from tidegate.storage_copy";
    world.cluster.primary.execute(second).await.unwrap();
    until_value(&world, "select count(*) from tidegate.storage_copy", "1").await;
    assert!(file.exists());
    // The other way round: the imported copy was adopted, and the bytes are also those of an own one.
    for sql in [
        "insert into tidegate.storage_copy (id, blob, bucket, bytes, state) \
         select 'first', blob, bucket, 0, 'stored' from tidegate.storage_copy",
        "update tidegate.storage_copy set adopted = true, state = 'doomed', due = now() \
         where vendor_key is not null",
    ] {
        world.cluster.primary.execute(sql).await.unwrap();
    }
    let left = "select string_agg(id, ',') from tidegate.storage_copy";
    until_value(&world, left, "first").await;
    assert!(file.exists());
}

#[tokio::test]
async fn what_a_check_of_a_bucket_has_left_is_not_imported() {
    let world = world().await;
    let id = "0198f3f0aaaa7bbb8ccc0123456789ab";
    for key in [format!("check-{id}"), format!("check-{id}-7")] {
        world.buckets[0].place(&format!("tidegate/{key}"), b"bytes");
    }
    world.buckets[0].place("tidegate/check-list", b"bytes");
    let done = import(&world, &OWN).await;
    assert_eq!((&done["added"], &done["skipped"]), (&json!(1), &json!(2)));
}
