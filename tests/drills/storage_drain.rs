//! Object storage: a bucket is drained under reads and writes, and what drains it is killed in the middle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::Method;
use nix::sys::signal::Signal;
use tidegate::testkit::until;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::drill::{Length, Row};
use super::storage_moves::SETTINGS;
use super::storage_objects::{PATIENCE, body_of, key, reached, write, wrong};
use crate::storage::bucket_server::BucketFault;
use crate::storage::s3_client::S3Client;
use crate::storage::world::{REPOSITORY, StorageWorld, storage_command};

const CLIENTS: usize = 2;
/// Copies of any state in the bucket that is drained.
const LEFT: &str = "select count(*) from tidegate.storage_copy c join tidegate.storage_bucket b on b.id = c.bucket \
     where b.name = 'bucket-0'";

fn objects(length: Length) -> usize {
    match length {
        Length::Full => 10_000,
        Length::Short => 200,
    }
}

/// What clients have seen.
#[derive(Default)]
struct Seen {
    is_over: AtomicBool,
    read: AtomicUsize,
    written: AtomicUsize,
    failed_reads: AtomicUsize,
    failed_writes: AtomicUsize,
}

pub(super) async fn drained_while_killed(length: Length) -> Row {
    let mut row = Row::new("storage: a bucket is drained under writes, gateway and command killed");
    let count = objects(length);
    // A write that the second one fails has a third to go to.
    let mut world = StorageWorld::with(3, &[], &[], SETTINGS, 0).await;
    let first = world.s3.clone();
    write(&first, REPOSITORY, count).await;
    // Clients use a gateway that lives; the other one is killed.
    world.s3 = world.add_gateway(SETTINGS).await;
    let seen = Arc::new(Seen::default());
    let clients = clients(&world.s3, count, &seen);
    world.buckets[1].fail_every(50, Method::PUT, BucketFault::Answer(503, ""));
    let started = Instant::now();
    let command = storage_command(&world.cluster, &["drain", "bucket-0"]);
    let command = tokio::spawn(command.output_within(PATIENCE));
    reached("moved", length, count / 3 + 1, async || {
        world.buckets[1].objects().len() + world.buckets[2].objects().len()
    })
    .await;
    let left = world.buckets[0].objects().len();
    world.gateways[0].signal(Signal::SIGKILL);
    // Dropping it kills the process.
    command.abort();
    // Nobody waits for it any more: what is left of the gateways goes on.
    until("nothing is left on it", PATIENCE, async || {
        Ok((world.value(LEFT).await == "0").then_some(()))
    })
    .await
    .unwrap();
    let drained = world.storage_within(&["drain", "bucket-0"], PATIENCE).await;
    let took = started.elapsed();
    let on_it = world.buckets[0].objects().len();
    seen.is_over.store(true, Ordering::Relaxed);
    clients.join_all().await;
    let get = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    row.show(
        format!(
            "{count} objects in {} s, killed with {left} left",
            took.as_secs()
        ),
        drained["success"] == true && left > 0,
    );
    let held = world.bucket(0).await["heldBytes"].clone();
    row.show(
        format!("{on_it} objects and {held} B on it"),
        on_it == 0 && held == 0,
    );
    let (failed, read) = (get(&seen.failed_reads), get(&seen.read));
    row.show(
        format!("{failed} of {read} reads failed"),
        failed == 0 && read > 0,
    );
    let (failed, written) = (get(&seen.failed_writes), get(&seen.written));
    row.show(
        format!("{failed} of {written} writes failed"),
        failed == 0 && written > 0,
    );
    let wrong = wrong(&world.s3, REPOSITORY, count).await;
    row.show(format!("{wrong} of {count} wrong afterwards"), wrong == 0);
    row
}

/// Reads what was there before and writes new objects, until it is over.
fn clients(s3: &S3Client, count: usize, seen: &Arc<Seen>) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (s3, seen) = (s3.clone(), Arc::clone(seen));
        clients.spawn(async move {
            for turn in (client..).step_by(CLIENTS) {
                if seen.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let number = turn % count;
                let get = s3.request(Method::GET, REPOSITORY, &key(number));
                let read = async {
                    get.try_send()
                        .await?
                        .bytes()
                        .await
                        .map_err(anyhow::Error::from)
                };
                let is_right = read.await.is_ok_and(|bytes| bytes == body_of(number));
                seen.read.fetch_add(1, Ordering::Relaxed);
                seen.failed_reads
                    .fetch_add(usize::from(!is_right), Ordering::Relaxed);
                let put = s3
                    .put(REPOSITORY, &format!("during/{turn}"), &body_of(number))
                    .await;
                seen.written.fetch_add(1, Ordering::Relaxed);
                seen.failed_writes
                    .fetch_add(usize::from(put.status() != 200), Ordering::Relaxed);
            }
        });
    }
    clients
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_is_drained_under_writes_while_its_gateway_and_command_are_killed() {
    drained_while_killed(Length::Short).await.verdict();
}
