//! Object storage: the fastest member is frozen, a member names its quota, a member dies in the middle of
//! bodies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use tokio::task::JoinSet;

use super::drill::{Length, Row, ms};
use super::scene::pass;
use super::traffic::Traffic;
use crate::storage::bucket_server::BucketFault;
use crate::storage::crash::killed_again_and_again;
use crate::storage::world::{REPOSITORY, StorageWorld};

/// Long enough for a presigned URL of any drill.
const VALID_SECONDS: u64 = 600;
const GETS_PER_SECOND: u32 = 100;
const PUTS_PER_SECOND: u32 = 20;
/// Of a machine that does nothing else; the suite has to tell it from the seconds that a frozen member is
/// waited for alone.
fn p99_max(length: Length) -> Duration {
    match length {
        Length::Full => Duration::from_millis(300),
        Length::Short => Duration::from_millis(1_500),
    }
}

/// More than a member is asked for at once.
const BODY_BYTES: usize = 8 << 20;
const READERS: usize = 2;

fn half(length: Length) -> Duration {
    match length {
        // 1,500 reads in both halves together.
        Length::Full => Duration::from_millis(7_500),
        Length::Short => Duration::from_secs(2),
    }
}

pub(super) async fn fastest_frozen(length: Length) -> Row {
    let mut row = Row::new("storage: the fastest member is frozen");
    let world = StorageWorld::start(&[], &["--write", "copies:2"]).await;
    // So that it is known which one is the fastest.
    let slower = BucketFault::Delay(Duration::from_millis(15));
    world.buckets[1].fail_all(&slower);
    world.s3.put(REPOSITORY, "key", &[7; 4096]).await;
    let request = world.s3.request(Method::GET, REPOSITORY, "key");
    let (client, url) = (world.s3.client.clone(), request.presigned(VALID_SECONDS));
    let traffic = Traffic::start(GETS_PER_SECOND, move |_| client.get(&url));
    pass(half(length)).await;
    world.buckets[0].fail_all(&BucketFault::Freeze);
    pass(half(length)).await;
    let answers = traffic.stop().await;
    let failed = answers.failed();
    row.show(
        format!("{failed} of {} reads failed", answers.count()),
        failed == 0,
    );
    let p99 = answers.quantile(0.99);
    row.show(format!("p99 {}", ms(p99)), p99 <= p99_max(length));
    row.show(format!("slowest {}", ms(answers.slowest())), true);
    row
}

pub(super) async fn quota_breached(length: Length) -> Row {
    let mut row = Row::new("storage: a member names its quota");
    let world = StorageWorld::start(&[], &[]).await;
    let (s3, client) = (world.s3.clone(), world.s3.client.clone());
    let traffic = Traffic::start(PUTS_PER_SECOND, move |number| {
        let request = s3.request(Method::PUT, REPOSITORY, &format!("key-{number}"));
        client
            .put(request.presigned(VALID_SECONDS))
            .body(vec![7; 4096])
    });
    pass(half(length)).await;
    let spent = "<Error><Code>QuotaExceeded</Code><Message>QUOTA_EXCEEDED</Message></Error>";
    world.buckets[0].fail(Method::PUT, BucketFault::Answer(403, spent));
    pass(half(length)).await;
    let answers = traffic.stop().await;
    let failed = answers.failed();
    row.show(
        format!("{failed} of {} writes failed", answers.count()),
        failed == 0,
    );
    let count = |index: usize| world.buckets[index].sizes().len();
    let (first, second) = (count(0), count(1));
    row.show(
        format!("{first} objects at the first member, {second} at the next"),
        first > 0 && second > 0 && first + second == answers.count(),
    );
    row.show(
        "it takes no more writes",
        world.bucket(0).await["writes"] == false,
    );
    row
}

pub(super) async fn killed_in_a_body(length: Length) -> Row {
    let mut row = Row::new("storage: a member dies in the middle of bodies");
    let policy = ["--write", "copies:2", "--read", "order"];
    let world = StorageWorld::start(&[], &policy).await;
    let body: Arc<Vec<u8>> = Arc::new((0..BODY_BYTES).map(|at| (at / 29) as u8).collect());
    world.s3.put(REPOSITORY, "large", &body).await;
    let stopped = Arc::new(AtomicBool::new(false));
    let (read, wrong) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let (s3, body, stopped) = (world.s3.clone(), Arc::clone(&body), Arc::clone(&stopped));
        let (read, wrong) = (Arc::clone(&read), Arc::clone(&wrong));
        readers.spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let response = s3
                    .request(Method::GET, REPOSITORY, "large")
                    .try_send()
                    .await;
                let whole = async { response?.bytes().await.map_err(anyhow::Error::from) };
                let is_right = whole.await.is_ok_and(|bytes| bytes[..] == body[..]);
                read.fetch_add(1, Ordering::Relaxed);
                wrong.fetch_add(usize::from(!is_right), Ordering::Relaxed);
            }
        });
    }
    pass(half(length)).await;
    let cut = BucketFault::Truncate(BODY_BYTES / 2);
    world.buckets[0].fail(Method::GET, cut);
    pass(half(length) / 2).await;
    world.buckets[0].fail_all(&BucketFault::Reset);
    pass(half(length) / 2).await;
    stopped.store(true, Ordering::Relaxed);
    readers.join_all().await;
    let (read, wrong) = (read.load(Ordering::Relaxed), wrong.load(Ordering::Relaxed));
    row.show(
        format!("{wrong} of {read} bodies were cut off or wrong"),
        wrong == 0 && read > 0,
    );
    row
}

/// The short form is a test of the suite.
pub(super) async fn gateways_killed() -> Row {
    const ROUNDS: usize = 20;
    const PER_ROUND: usize = 500;
    let mut row = Row::new("storage: gateways are killed again and again");
    let written = killed_again_and_again(ROUNDS, PER_ROUND).await;
    let text = format!("none of {written} objects is lost or torn, {ROUNDS} kills");
    row.show(text, written >= 10_000);
    row
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_member_of_a_repository_costs_no_read() {
    fastest_frozen(Length::Short).await.verdict();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_names_its_quota_costs_no_write() {
    quota_breached(Length::Short).await.verdict();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_dies_in_the_middle_of_bodies_tears_none() {
    killed_in_a_body(Length::Short).await.verdict();
}
