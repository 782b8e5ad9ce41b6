//! Objects that were in a bucket before become those of a repository, where they are.

use http::Method;
use serde_json::{Value, json};
use tidegate::testkit::until;

use super::world::{REPOSITORY, StorageWorld, storage_command};
use crate::world::DEADLINE;

const SETTINGS: &str = "lease = \"5s\"\nsweep_interval = \"200ms\"\nsweep_after = \"100ms\"";

pub(super) async fn world() -> StorageWorld {
    StorageWorld::with(2, &[], &[], SETTINGS, 0).await
}

pub(super) async fn import(world: &StorageWorld, more: &[&str]) -> Value {
    let mut arguments = vec!["bucket", "import", "bucket-0", "--repository", REPOSITORY];
    arguments.extend(more);
    world.storage(&arguments).await
}

fn counts(added: u64, changed: u64, unchanged: u64, kept: u64, gone: u64) -> Value {
    json!({"added": added, "reattached": 0, "changed": changed, "unchanged": unchanged, "kept": kept, "gone": gone,
           "skipped": 0, "unusable": 0, "unusableKeys": []})
}

#[tokio::test]
async fn objects_of_a_bucket_are_listed_and_read_without_having_been_copied() {
    let world = world().await;
    let bodies = [("a/b c+ä.txt", "one"), ("a/%25", "two"), ("top", "three")];
    for (key, body) in bodies {
        world.buckets[0].place(key, body.as_bytes());
    }
    world.s3.put(REPOSITORY, "own", b"written here").await;
    let puts = world.buckets[0].count(&Method::PUT);
    assert_eq!(import(&world, &[]).await, counts(3, 0, 0, 0, 0));
    for (key, body) in bodies {
        assert_eq!(
            world.s3.read(REPOSITORY, key).await,
            body.as_bytes(),
            "{key}"
        );
    }
    let list = world.s3.list(REPOSITORY, &[("prefix", "a/")]).await;
    assert!(list.contains("<Key>a/b c+ä.txt</Key>"), "{list}");
    let ranged = world.s3.request(Method::GET, REPOSITORY, "top");
    let ranged = ranged.header("range", "bytes=1-2").send().await;
    assert_eq!(ranged.text().await.unwrap(), "hr");
    assert_eq!(world.buckets[0].count(&Method::PUT), puts);
    assert_eq!(
        world.bucket(0).await["heldBytes"],
        "onetwothreewritten here".len()
    );
    assert_eq!(import(&world, &[]).await, counts(0, 0, 3, 0, 0));
}

#[tokio::test]
async fn an_object_that_has_changed_is_not_read_as_another_until_it_is_imported_again() {
    let world = world().await;
    let [same, changed, gone] =
        ["same", "changed", "gone"].map(|key| world.buckets[0].place(key, b"before"));
    import(&world, &[]).await;
    std::fs::write(&changed, b"after!").unwrap();
    std::fs::remove_file(&gone).unwrap();
    let read = async |key: &str| {
        let response = world
            .s3
            .request(Method::GET, REPOSITORY, key)
            .try_send()
            .await?;
        anyhow::ensure!(response.status() == 200, "{}", response.status());
        Ok(response.bytes().await?)
    };
    assert!(read("changed").await.is_err());
    assert_eq!(read("same").await.unwrap(), &b"before"[..]);
    assert_eq!(import(&world, &[]).await, counts(0, 1, 1, 0, 1));
    assert_eq!(read("changed").await.unwrap(), &b"after!"[..]);
    assert_eq!(world.s3.get(REPOSITORY, "gone").await.status(), 404);
    assert_eq!(world.bucket(0).await["heldBytes"], 12);
    assert!(same.exists());
}

#[tokio::test]
async fn an_imported_object_outlives_its_deletion_unless_it_was_adopted() {
    let world = world().await;
    let [stays, goes, replaced] = ["stays", "adopted/goes", "adopted/replaced"]
        .map(|key| world.buckets[0].place(key, b"bytes"));
    import(&world, &[]).await;
    let adopted = import(&world, &["--prefix", "adopted/", "--adopt"]).await;
    assert_eq!(adopted, counts(0, 0, 2, 0, 0));
    for key in ["stays", "adopted/goes"] {
        world.s3.delete(REPOSITORY, key).await;
    }
    world.s3.put(REPOSITORY, "adopted/replaced", b"newer").await;
    until("what was adopted is swept", DEADLINE, async || {
        let held = world.bucket(0).await["heldBytes"].as_u64().unwrap();
        Ok((held == 5 && !goes.exists() && !replaced.exists()).then_some(()))
    })
    .await
    .unwrap();
    assert!(stays.exists());
    // What clients have stored stays.
    world.buckets[0].place("adopted/replaced", b"elsewhere");
    assert_eq!(import(&world, &[]).await, counts(1, 0, 0, 1, 0));
    assert_eq!(
        world.s3.read(REPOSITORY, "adopted/replaced").await,
        b"newer"
    );
}

#[tokio::test]
async fn an_adopted_object_that_is_another_one_by_now_is_not_deleted() {
    let world = world().await;
    let file = world.buckets[0].place("key", b"bytes");
    import(&world, &["--adopt"]).await;
    std::fs::write(&file, b"others").unwrap();
    world.s3.delete(REPOSITORY, "key").await;
    until("it is forgotten", DEADLINE, async || {
        Ok((world.bucket(0).await["heldBytes"] == 0).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), b"others");
}

#[tokio::test]
async fn imported_objects_are_moved_by_a_drain_and_stay_at_their_provider() {
    let world = world().await;
    let file = world.buckets[0].place("key", b"bytes");
    import(&world, &[]).await;
    let drained = world
        .storage(&["drain", "bucket-0", "--patience", "20s"])
        .await;
    assert_eq!(drained["success"], true);
    assert_eq!(world.buckets[1].sizes(), [5]);
    assert!(file.exists());
    let sha256 = "select sha256 <> '' from tidegate.storage_blob";
    assert_eq!(world.value(sha256).await, "t");
    assert_eq!(world.s3.read(REPOSITORY, "key").await, b"bytes");
    // The index still knows which object of the provider it was.
    assert_eq!(import(&world, &[]).await, counts(0, 0, 1, 0, 0));
    std::fs::write(&file, b"others!").unwrap();
    assert_eq!(import(&world, &[]).await, counts(0, 1, 0, 0, 0));
    assert_eq!(world.s3.read(REPOSITORY, "key").await, b"others!");
}

#[tokio::test]
async fn an_import_keeps_all_when_the_bucket_lists_nothing_until_it_is_told_to_forget() {
    let world = world().await;
    let files = ["a", "b", "c"].map(|key| world.buckets[0].place(key, b"bytes"));
    import(&world, &[]).await;
    for file in files {
        std::fs::remove_file(file).unwrap();
    }
    let arguments = ["bucket", "import", "bucket-0", "--repository", REPOSITORY];
    let command = storage_command(&world.cluster, &arguments);
    let output = command.output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && said.contains("--accept-gone"),
        "{said}"
    );
    let objects = "select count(*) from tidegate.storage_object";
    assert_eq!(world.value(objects).await, "3");
    assert_eq!(
        import(&world, &["--accept-gone"]).await,
        counts(0, 0, 0, 0, 3)
    );
}

#[tokio::test]
async fn an_import_adds_no_adopted_object_that_was_deleted_after_it_was_listed() {
    let world = world().await;
    let file = world.buckets[0].place("key", b"bytes");
    import(&world, &["--adopt"]).await;
    world.s3.delete(REPOSITORY, "key").await;
    until("it is swept and forgotten", DEADLINE, async || {
        let is_gone = world.bucket(0).await["heldBytes"] == 0 && !file.exists();
        Ok(is_gone.then_some(()))
    })
    .await
    .unwrap();
    // The page of the list is older than the deletion.
    let late = format!(
        "select added || ' ' || kept from tidegate.storage_repository r, tidegate.storage_bucket b, \
         tidegate.storage_import(r.id, b.id, '{{late}}', '{{key}}', '{{5}}', '{{etag}}', '{{0}}', true, \
         now() - interval '1 hour', interval '0 s') \
         where r.name = '{REPOSITORY}' and b.name = 'bucket-0'"
    );
    assert_eq!(world.value(&late).await, "0 1");
}

#[tokio::test]
async fn an_imported_copy_that_was_found_damaged_is_not_trusted_for_its_etag() {
    let world = world().await;
    world.buckets[0].place("key", b"bytes");
    import(&world, &[]).await;
    for sql in [
        "update tidegate.storage_blob set sha256 = 'known'",
        "update tidegate.storage_copy set state = 'suspect'",
    ] {
        world.cluster.primary.execute(sql).await.unwrap();
    }
    assert_eq!(import(&world, &[]).await, counts(0, 0, 1, 0, 0));
    let state = "select state from tidegate.storage_copy";
    assert_eq!(world.value(state).await, "suspect");
}

#[tokio::test]
async fn a_copy_that_a_restored_index_has_lost_is_given_back_to_its_object() {
    let world = world().await;
    world.s3.put(REPOSITORY, "key", b"bytes").await;
    // As of a backup before a mirror that keeps no other copy: where the bytes are now is not known.
    let lose = "delete from tidegate.storage_copy";
    world.cluster.primary.execute(lose).await.unwrap();
    let done = import(&world, &["--prefix", "tidegate"]).await;
    assert_eq!(
        (&done["reattached"], &done["added"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(world.s3.read(REPOSITORY, "key").await, b"bytes");
    assert_eq!(
        import(&world, &["--prefix", "tidegate"]).await,
        counts(0, 0, 0, 1, 0)
    );
}

#[tokio::test]
async fn a_bucket_that_is_no_member_is_not_imported() {
    let world = world().await;
    world
        .storage(&["repository", "add", "other", "--member", "bucket-1"])
        .await;
    let arguments = ["bucket", "import", "bucket-0", "--repository", "other"];
    let output = storage_command(&world.cluster, &arguments)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("not a member"), "{said}");
}

#[tokio::test]
async fn what_was_written_here_is_imported_only_when_the_index_has_lost_it() {
    let world = world().await;
    for key in ["known", "lost"] {
        world.s3.put(REPOSITORY, key, key.as_bytes()).await;
    }
    assert_eq!(import(&world, &[]).await, counts(0, 0, 0, 0, 0));
    assert_eq!(
        import(&world, &["--prefix", "tidegate"]).await,
        counts(0, 0, 0, 2, 0)
    );
    // A backup that is older than the object.
    let version = "select version from tidegate.storage_object where key = 'lost'";
    let id = "select c.id from tidegate.storage_copy c join tidegate.storage_blob b on b.id = c.blob \
         join tidegate.storage_object o on o.version = b.version where o.key = 'lost'";
    let (version, id) = (world.value(version).await, world.value(id).await);
    for sql in [
        "delete from tidegate.storage_object where key = 'lost'".to_owned(),
        format!("delete from tidegate.storage_copy where id = '{id}'"),
        format!("delete from tidegate.storage_blob where version = '{version}'"),
        format!("delete from tidegate.storage_version where id = '{version}'"),
    ] {
        world.cluster.primary.execute(&sql).await.unwrap();
    }
    assert_eq!(
        import(&world, &["--prefix", "tidegate"]).await,
        counts(1, 0, 0, 1, 0)
    );
    assert_eq!(
        world.s3.read(REPOSITORY, &format!("tidegate/{id}")).await,
        b"lost"
    );
    assert_eq!(world.s3.read(REPOSITORY, "known").await, b"known");
    // The runbook imports everything else afterwards.
    assert_eq!(import(&world, &[]).await, counts(0, 0, 0, 0, 0));
    assert_eq!(
        world.s3.read(REPOSITORY, &format!("tidegate/{id}")).await,
        b"lost"
    );
}

#[tokio::test]
async fn an_import_that_is_killed_goes_on_where_it_was() {
    const OBJECTS: u64 = 2_000;
    let world = world().await;
    for number in 0..OBJECTS {
        world.buckets[0].place(&format!("{}/{number}", number % 20), b"bytes");
    }
    let arguments = ["bucket", "import", "bucket-0", "--repository", REPOSITORY];
    let command = tokio::spawn(storage_command(&world.cluster, &arguments).output());
    let known = async || {
        let count = "select count(*) from tidegate.storage_object";
        world.value(count).await.parse::<u64>().unwrap()
    };
    until("some are imported", DEADLINE, async || {
        Ok((known().await > 0).then_some(()))
    })
    .await
    .unwrap();
    // Dropping it kills the process.
    command.abort();
    let again = import(&world, &[]).await;
    let of = |name: &str| again[name].as_u64().unwrap();
    assert_eq!(of("added") + of("unchanged"), OBJECTS, "{again}");
    assert!(of("unchanged") > 0, "{again}");
    assert_eq!(known().await, OBJECTS);
    assert_eq!(world.bucket(0).await["heldBytes"], 5 * OBJECTS);
}
