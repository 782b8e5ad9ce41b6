//! What the drills of object storage have in common: many objects that are written, counted, and compared.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use tidegate::testkit::until;
use tokio::task::JoinSet;

use super::drill::{Length, progress};
use super::scene::pass;
use crate::storage::bucket_server::BucketServer;
use crate::storage::s3_client::{S3Client, hex};

/// Clients that write or read at the same time.
const CLIENTS: usize = 32;
/// Threads that compare files.
const READERS: usize = 4;
/// The progress of a drill is printed each time that so many objects are done.
const SAID_EVERY: usize = 10_000;
/// Far more than anything takes, also on a machine that has other things to do.
pub(super) const PATIENCE: Duration = Duration::from_secs(3_600);

/// The key of an object.
pub(super) fn key(number: usize) -> String {
    format!("{}/{number}", number % 100)
}

/// Its bytes.
pub(super) fn body_of(number: usize) -> Vec<u8> {
    format!("object {number}, ")
        .repeat(3 + number % 50)
        .into_bytes()
}

pub(super) fn sha256_of(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

/// The hashes of what a bucket has. Files of which another thread has just removed one are left out.
pub(super) fn hashes(bucket: &BucketServer) -> BTreeSet<String> {
    let files = bucket.objects();
    let share = files.len().div_ceil(READERS).max(1);
    thread::scope(|scope| {
        let readers: Vec<_> = files
            .chunks(share)
            .map(|files| {
                scope.spawn(move || {
                    let read = files.iter().filter_map(|file| fs::read(file).ok());
                    read.map(|bytes| sha256_of(&bytes)).collect::<Vec<_>>()
                })
            })
            .collect();
        let hashes = readers.into_iter().flat_map(|it| it.join().unwrap());
        hashes.collect()
    })
}

/// Writes objects with many clients.
pub(super) async fn write(s3: &S3Client, repository: &'static str, count: usize) {
    let done = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (s3, done) = (s3.clone(), Arc::clone(&done));
        clients.spawn(async move {
            for number in (client..count).step_by(CLIENTS) {
                let put = s3.put(repository, &key(number), &body_of(number)).await;
                assert_eq!(put.status(), 200);
                say("written", done.fetch_add(1, Ordering::Relaxed));
            }
        });
    }
    clients.join_all().await;
}

/// Reads the objects with many clients; returns how many are not what was written.
pub(super) async fn wrong(s3: &S3Client, repository: &'static str, count: usize) -> usize {
    let done = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (s3, done) = (s3.clone(), Arc::clone(&done));
        clients.spawn(async move {
            let mut wrong = 0;
            for number in (client..count).step_by(CLIENTS) {
                let read = s3.read(repository, &key(number)).await;
                wrong += usize::from(read != body_of(number));
                say("compared", done.fetch_add(1, Ordering::Relaxed));
            }
            wrong
        });
    }
    clients.join_all().await.into_iter().sum()
}

/// Waits until as many are there, and prints its progress. At full length they are counted once a second: to count
/// many takes long.
pub(super) async fn reached(
    what: &str,
    length: Length,
    wanted: usize,
    mut count: impl AsyncFnMut() -> usize,
) {
    let mut said = 0;
    until(what, PATIENCE, async || {
        let there = count().await;
        if there / SAID_EVERY > said {
            said = there / SAID_EVERY;
            progress(format_args!("{what}: {there}"));
        }
        if there >= wanted {
            return Ok(Some(()));
        }
        if length == Length::Full {
            pass(Duration::from_secs(1)).await;
        }
        Ok(None)
    })
    .await
    .unwrap();
}

fn say(what: &str, before: usize) {
    let done = before + 1;
    if done.is_multiple_of(SAID_EVERY) {
        progress(format_args!("{what}: {done}"));
    }
}
