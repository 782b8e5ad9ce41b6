//! Object storage: objects that are mirrored while members fail and gateways are killed, and a bucket that is
//! imported twice.

use std::collections::BTreeSet;

use http::Method;
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::time::Instant;

use super::drill::{Length, Row};
use super::storage_objects::{PATIENCE, body_of, hashes, reached, sha256_of, write};
use crate::storage::bucket_server::{BucketFault, BucketServer};
use crate::storage::world::{MIRRORED, REPOSITORY, StorageWorld};

const KILLS: usize = 10;
pub(super) const SETTINGS: &str =
    "lease = \"5s\"\nsweep_interval = \"500ms\"\nsweep_after = \"100ms\"";
const WITHOUT_HOT: &str = r#"{"to": "cold", "after": "0s", "keepHot": false}"#;

/// How many blobs lack one of their hot copies without a cold one that was read back.
const UNPROVEN: &str = "select count(*) from tidegate.storage_blob b where 2 > \
     (select count(*) from tidegate.storage_copy c join tidegate.storage_bucket k on k.id = c.bucket \
     where c.blob = b.id and k.name <> 'cold' and c.state in ('stored', 'suspect')) \
     and not exists (select from tidegate.storage_copy c where c.blob = b.id and c.verified is not null)";

fn objects(length: Length) -> usize {
    match length {
        Length::Full => 100_000,
        Length::Short => 500,
    }
}

fn existing(length: Length) -> usize {
    match length {
        Length::Full => 50_000,
        Length::Short => 500,
    }
}

pub(super) async fn mirrored_while_killed(length: Length) -> Row {
    let mut row = Row::new("storage: mirrored while members fail and gateways are killed");
    let count = objects(length);
    let mut world = StorageWorld::with(2, &[], &[], SETTINGS, 0).await;
    let cold = world.mirrored(WITHOUT_HOT, &["--write", "copies:2"]).await;
    // Nothing is copied before all are there: only then the kills meet it in the middle.
    cold.fail(Method::PUT, BucketFault::Answer(429, ""));
    write(&world.s3, MIRRORED, count).await;
    let expected: BTreeSet<_> = (0..count).map(|it| sha256_of(&body_of(it))).collect();
    let started = Instant::now();
    fail_now_and_then(&world, &cold);
    let mut deleted_too_early = 0;
    for kill in 1..=KILLS {
        let wanted = count * kill / (KILLS + 1);
        let there = async || cold.objects().len();
        reached("in the mirror", length, wanted, there).await;
        world.gateways.last().unwrap().signal(Signal::SIGKILL);
        world.gateways.last_mut().unwrap().wait().await.unwrap();
        deleted_too_early += nowhere(&expected, &world, &cold);
        let unproven = world.value(UNPROVEN).await;
        deleted_too_early += unproven.parse::<usize>().unwrap();
        world.s3 = world.add_gateway(SETTINGS).await;
    }
    let open = "select count(*) from tidegate.storage_task";
    reached("mirrored", length, count, async || {
        let open: usize = world.value(open).await.parse().unwrap();
        count.saturating_sub(open)
    })
    .await;
    let took = started.elapsed();
    for server in world.buckets.iter().chain([&cold]) {
        server.heal();
    }
    // What was left over in the mirror, too.
    reached("hot copies swept", length, 2 * count, async || {
        let hot: usize = world.buckets.iter().map(|it| it.objects().len()).sum();
        let beside = cold.objects().len().abs_diff(count);
        (2 * count).saturating_sub(hot + beside)
    })
    .await;
    let arrived = expected.intersection(&hashes(&cold)).count();
    let verified = "select count(*) from tidegate.storage_copy where state = 'stored' and verified is not null";
    let verified = world.value(verified).await;
    row.show(
        format!("{arrived} of {count} in the mirror by SHA-256"),
        arrived == count,
    );
    row.show(
        format!("{verified} read back in full"),
        verified == count.to_string(),
    );
    row.show(
        format!("{deleted_too_early} deleted hot before that"),
        deleted_too_early == 0,
    );
    row.show(format!("{KILLS} kills, {} s", took.as_secs()), true);
    row
}

/// Makes members fail one request in some, and the mirror too.
fn fail_now_and_then(world: &StorageWorld, cold: &BucketServer) {
    for server in &world.buckets {
        server.fail_every(20, Method::GET, BucketFault::Answer(500, ""));
    }
    cold.heal();
    cold.fail_every(30, Method::PUT, BucketFault::Answer(503, ""));
    cold.fail_every(40, Method::GET, BucketFault::Reset);
}

/// How many objects are neither at a member nor, with the right bytes, in the mirror.
fn nowhere(expected: &BTreeSet<String>, world: &StorageWorld, cold: &BucketServer) -> usize {
    let hot: BTreeSet<_> = world.buckets.iter().flat_map(hashes).collect();
    let proven = hashes(cold);
    let gone = expected.difference(&hot);
    gone.filter(|it| !proven.contains(*it)).count()
}

pub(super) async fn imported_twice(length: Length) -> Row {
    let mut row = Row::new("storage: a bucket is imported twice, half of it changed between");
    let count = existing(length);
    let world = StorageWorld::with(1, &[], &[], SETTINGS, 0).await;
    let key = |number: usize| format!("{}/{number}", number % 500);
    for number in 0..count {
        world.buckets[0].place(&key(number), &body_of(number));
    }
    let arguments = ["bucket", "import", "bucket-0", "--repository", REPOSITORY];
    let mut imported = Vec::new();
    let started = Instant::now();
    imported.push(world.storage_within(&arguments, PATIENCE).await);
    let first = started.elapsed();
    for number in (0..count).step_by(2) {
        world.buckets[0].place(&key(number), &body_of(number + 1));
    }
    let started = Instant::now();
    imported.push(world.storage_within(&arguments, PATIENCE).await);
    let second = started.elapsed();
    let counts = |added: usize, changed: usize, unchanged: usize| {
        json!({"added": added, "changed": changed, "unchanged": unchanged,
               "kept": 0, "reattached": 0, "gone": 0, "skipped": 0,
               "unusable": 0, "unusableKeys": []})
    };
    row.show(
        format!(
            "{} s and {} s for {count} objects",
            first.as_secs(),
            second.as_secs()
        ),
        imported == [counts(count, 0, 0), counts(0, count / 2, count / 2)],
    );
    let mut wrong = 0;
    for number in (0..count).step_by(count / 100) {
        for number in [number, number + 1] {
            let body = body_of(number + (number + 1) % 2);
            wrong += usize::from(world.s3.read(REPOSITORY, &key(number)).await != body);
        }
    }
    row.show(format!("{wrong} of 200 reads wrong"), wrong == 0);
    let swept = world.storage_within(&["sweep"], PATIENCE).await;
    let (puts, deletes) = (
        world.buckets[0].count(&Method::PUT),
        world.buckets[0].count(&Method::DELETE),
    );
    row.show(
        format!("{puts} copied, {deletes} deleted"),
        puts == 0 && deletes == 0 && swept["failed"] == 0,
    );
    row.show(
        format!(
            "{} objects at the provider",
            world.buckets[0].objects().len()
        ),
        world.buckets[0].objects().len() == count,
    );
    row
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_mirrored_while_members_fail_and_gateways_are_killed() {
    mirrored_while_killed(Length::Short).await.verdict();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_is_imported_twice_with_half_of_it_changed_between() {
    imported_twice(Length::Short).await.verdict();
}
