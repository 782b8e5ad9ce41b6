//! Mirrors: what counts as an attempt, whose turn it is, and how much is counted.

use std::fs;
use std::time::Duration;

use http::Method;
use tidegate::testkit::until;

use super::bucket_server::{BucketFault, BucketServer};
use super::world::{MIRRORED, REPOSITORY, StorageWorld, storage_command};
use crate::world::DEADLINE;

const SETTINGS: &str = "lease = \"5s\"\nsweep_interval = \"200ms\"\nsweep_after = \"100ms\"";
const AT_ONCE: &str = r#"{"to": "cold", "after": "0s"}"#;
const SAMPLED: &str = r#"{"to": "cold", "after": "0s", "verify": "1s", "share": 1}"#;
const BODY: &[u8] = b"the right bytes";

async fn world(mirror: &str) -> (StorageWorld, BucketServer) {
    let mut world = StorageWorld::with(1, &[], &[], SETTINGS, 0).await;
    let cold = world.mirrored(mirror, &[]).await;
    (world, cold)
}

/// Waits until a query has a value.
async fn turns(world: &StorageWorld, sql: &str, expected: &str) {
    until(sql, DEADLINE, async || {
        let value = world.value(sql).await;
        anyhow::ensure!(value == expected, "{value}");
        Ok(Some(()))
    })
    .await
    .unwrap();
}

const VERIFIED: &str = "select count(*) from tidegate.storage_copy c join tidegate.storage_bucket b on b.id = c.bucket \
     where b.name = 'cold' and c.state = 'stored' and c.verified is not null";

#[tokio::test]
async fn a_copy_that_was_replaced_while_it_was_read_back_counts_as_no_failed_restore() {
    let (world, cold) = world(SAMPLED).await;
    world.s3.put(MIRRORED, "key", BODY).await;
    turns(&world, VERIFIED, "1").await;
    let reads = cold.count(&Method::GET);
    cold.fail(Method::GET, BucketFault::Delay(Duration::from_secs(2)));
    until("a sample is read back", DEADLINE, async || {
        Ok((cold.count(&Method::GET) > reads).then_some(()))
    })
    .await
    .unwrap();
    // Its bytes are swept before they are sent.
    let old = cold.objects();
    world.s3.put(MIRRORED, "key", b"newer").await;
    until("they are swept", DEADLINE, async || {
        Ok(old.iter().all(|file| !file.exists()).then_some(()))
    })
    .await
    .unwrap();
    turns(&world, VERIFIED, "1").await;
    cold.heal();
    let verified = "select max(verified)::text from tidegate.storage_copy";
    let before = world.value(verified).await;
    until("the newer one is read back again", DEADLINE, async || {
        Ok((world.value(verified).await > before).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(world.storage(&["restores"]).await, serde_json::json!([]));
    let failed = "tidegate_storage_restores_total{bucket=\"cold\",outcome=\"failed\"} 0";
    assert!(world.metrics().await.contains(failed));
    assert_eq!(world.s3.read(MIRRORED, "key").await, b"newer");
}

#[tokio::test]
async fn an_object_whose_copy_was_given_up_while_it_was_read_back_is_mirrored_all_the_same() {
    let (world, cold) = world(AT_ONCE).await;
    cold.fail(Method::GET, BucketFault::Delay(Duration::from_secs(1)));
    world.s3.put(MIRRORED, "key", BODY).await;
    until("it is read back", DEADLINE, async || {
        Ok((cold.count(&Method::GET) > 0).then_some(()))
    })
    .await
    .unwrap();
    // As the sweeper does when a lease has expired.
    let expired = "update tidegate.storage_copy set state = 'doomed', due = now() + interval '1 h' \
         where state = 'reserved' returning 1";
    assert_eq!(world.value(expired).await, "1");
    cold.heal();
    turns(&world, VERIFIED, "1").await;
    let failures = "select count(*) from tidegate.storage_failed_restore";
    assert_eq!(world.value(failures).await, "0");
    let there = cold
        .objects()
        .into_iter()
        .filter_map(|file| fs::read(file).ok());
    assert!(there.into_iter().any(|bytes| bytes == BODY));
}

#[tokio::test]
async fn a_repository_does_not_wait_for_all_that_another_one_has() {
    let (world, cold) = world(AT_ONCE).await;
    let add = [
        "repository",
        "add",
        "small-data",
        "--member",
        "bucket-0",
        "--mirror",
        AT_ONCE,
    ];
    world.storage(&add).await;
    cold.fail(Method::PUT, BucketFault::Answer(429, ""));
    for number in 0..80 {
        world.s3.put(MIRRORED, &format!("key-{number}"), BODY).await;
    }
    let small = world.key_of("small-data", "write").await;
    small.put("small-data", "key", BODY).await;
    // All are due, and the small one is the youngest.
    let due = "update tidegate.storage_task t set failures = 0, claim = null, due = now() - interval '1 h' \
         * (case when r.name = 'small-data' then 1 else 2 end) \
         from tidegate.storage_repository r where r.id = t.repository";
    world.cluster.primary.execute(due).await.unwrap();
    cold.fail(Method::PUT, BucketFault::Delay(Duration::from_millis(300)));
    let left = "select count(*) filter (where r.name = 'small-data') || ' ' || (count(*) > 10) \
         from tidegate.storage_task t join tidegate.storage_repository r on r.id = t.repository";
    turns(&world, left, "0 true").await;
    cold.heal();
    turns(&world, "select count(*) from tidegate.storage_task", "0").await;
}

#[tokio::test]
async fn a_backlog_is_counted_up_to_a_bound_and_a_sample_is_chosen_in_batches() {
    let (world, _cold) = world(AT_ONCE).await;
    // More than is counted; far from due, so that no gateway begins.
    for sql in [
        "insert into tidegate.storage_version (id, size, etag, meta) \
         select 'v' || n, 1, 'e', '{}' from generate_series(1, 120000) n",
        "insert into tidegate.storage_blob (id, version, number, size, sha256, etag) \
         select 'v' || n, 'v' || n, 1, 1, 's', 'e' from generate_series(1, 120000) n",
        "insert into tidegate.storage_object (repository, key, version) \
         select r.id, 'key-' || n, 'v' || n from generate_series(1, 120000) n, tidegate.storage_repository r \
         where r.policy ? 'mirror'",
        "insert into tidegate.storage_task (bucket, kind, blob, wanted, due) \
         select b.id, 'mirror', 'v' || n, now() - interval '1 h', now() + interval '1 day' \
         from generate_series(1, 120000) n, tidegate.storage_bucket b where b.name = 'cold'",
        "insert into tidegate.storage_copy (id, blob, bucket, bytes, state) \
         select 'c' || n, 'v' || n, b.id, 1, 'stored' from generate_series(1, 120000) n, tidegate.storage_bucket b \
         where b.name = 'cold'",
        "analyze tidegate.storage_task, tidegate.storage_copy, tidegate.storage_object, tidegate.storage_blob",
    ] {
        world.cluster.primary.execute(sql).await.unwrap();
    }
    let backlog = "tidegate_storage_mirror_backlog{bucket=\"cold\"} 100000";
    until("it is shown", DEADLINE, async || {
        Ok(world.metrics().await.contains(backlog).then_some(()))
    })
    .await
    .unwrap();
    // Whose turn it is takes one step of an index for each repository.
    let explained = world.explained(
        "with recursive those (repository) as ((select t.repository from tidegate.storage_task t \
         where t.bucket = 'x' order by t.repository limit 1) union all select (select t.repository \
         from tidegate.storage_task t where t.bucket = 'x' and t.repository > those.repository \
         order by t.repository limit 1) from those where those.repository is not null) select * from those",
    );
    let explained = explained.await;
    assert!(
        explained.contains("storage_task_due") && !explained.contains("Seq Scan on storage_task"),
        "{explained}"
    );
    // One batch of a sample, of which one at least is chosen.
    let sample = "select tidegate.storage_sample(r.id, b.id, interval '7 days', 0.0001, 2000)::text \
         from tidegate.storage_repository r, tidegate.storage_bucket b where r.policy ? 'mirror' and b.name = 'cold'";
    let begin = "update tidegate.storage_repository set restores_due = now(), restores_after = null, \
         restores_chosen = false where policy ? 'mirror'";
    world.cluster.primary.execute(begin).await.unwrap();
    world.value(sample).await;
    let chosen = "select (count(*) >= 1)::text from tidegate.storage_task where kind = 'restore'";
    let is_chosen = world.value(chosen).await;
    let failed = "select count(*) from tidegate.storage_failed_restore";
    // A gateway may have read it already, and has not found it.
    assert!(is_chosen == "true" || world.value(failed).await != "0");
    let walk = "select (restores_after is null)::text from tidegate.storage_repository where policy ? 'mirror'";
    until("the sample ends", DEADLINE, async || {
        // Most of the walk is as the first batch.
        let near_the_end = "update tidegate.storage_repository set restores_after = 'key-99' \
             where policy ? 'mirror' and restores_after < 'key-99'";
        world.cluster.primary.execute(near_the_end).await?;
        Ok((world.value(walk).await == "true").then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(world.s3.put(MIRRORED, "key", BODY).await.status(), 200);
    assert_eq!(
        world
            .key_of(REPOSITORY, "read")
            .await
            .get(REPOSITORY, "none")
            .await
            .status(),
        404
    );
}

#[tokio::test]
async fn keys_that_clients_have_chosen_do_not_reach_a_terminal_as_they_are() {
    let world = StorageWorld::with(1, &[], &[], "", 0).await;
    let failed = "insert into tidegate.storage_failed_restore (repository, key, bucket, copy, error) \
         values ('app-data', e'\\x1b[2Jkey\\nnext', 'bucket-0', 'c', 'damaged')";
    world.cluster.primary.execute(failed).await.unwrap();
    let output = storage_command(&world.cluster, &["restores"])
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("app-data/\\u{1b}[2Jkey\\nnext"), "{said}");
    assert_eq!(said.lines().count(), 1);
    let shown = world.storage(&["restores"]).await;
    assert_eq!(shown[0]["key"], "\u{1b}[2Jkey\nnext");
}
