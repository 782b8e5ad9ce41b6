//! Gateways that die: no object is lost or torn, and no reservation stays.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use nix::sys::signal::Signal;
use tidegate::testkit::until;

use super::bucket_server::BucketFault;
use super::world::{REPOSITORY, StorageWorld};
use crate::world::DEADLINE;

#[tokio::test]
async fn a_gateway_killed_in_the_middle_of_a_put_leaves_the_old_version_and_no_reservation() {
    let settings = "lease = \"5s\"\nsweep_interval = \"200ms\"";
    let mut world = StorageWorld::with(1, &[], &[], settings, 0).await;
    world.s3.put(REPOSITORY, "key", b"old").await;
    // The bytes arrive, and the gateway dies before it hears of it.
    world.buckets[0].fail(Method::PUT, BucketFault::Delay(Duration::from_secs(2)));
    let s3 = world.s3.clone();
    let put = tokio::spawn(async move {
        let request = s3.request(Method::PUT, REPOSITORY, "key");
        request.body(b"newer").try_send().await
    });
    let reserved = "select count(*) from tidegate.storage_copy where state = 'reserved'";
    until("the put reserves", DEADLINE, async || {
        Ok((world.value(reserved).await == "1").then_some(()))
    })
    .await
    .unwrap();
    world.gateways[0].signal(Signal::SIGKILL);
    put.await.unwrap().unwrap_err();
    let second = world.add_gateway(settings).await;
    assert_eq!(second.read(REPOSITORY, "key").await, b"old");
    world.buckets[0].heal();
    until("the reservation is swept", DEADLINE, async || {
        Ok((world.bucket(0).await["heldBytes"] == 3).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(second.read(REPOSITORY, "key").await, b"old");
}

#[tokio::test]
async fn gateways_killed_again_and_again_lose_and_tear_nothing() {
    killed_again_and_again(4, 15).await;
}

/// Kills a gateway after so many writes, in some rounds; returns how many objects are there, all as they were
/// acknowledged.
pub(crate) async fn killed_again_and_again(rounds: usize, per_round: usize) -> usize {
    let mut world = StorageWorld::with(1, &[], &[], "", 0).await;
    let mut acknowledged = Vec::new();
    for round in 0..rounds {
        let mut writers = tokio::task::JoinSet::new();
        let count = Arc::new(AtomicUsize::new(0));
        for writer in 0..8 {
            let (s3, count) = (world.s3.clone(), Arc::clone(&count));
            writers.spawn(async move {
                let mut written = Vec::new();
                for number in 0.. {
                    let key = format!("{round}/{writer}/{number}");
                    let body = key.repeat(50);
                    let request = s3
                        .request(Method::PUT, REPOSITORY, &key)
                        .body(body.as_bytes());
                    match request.try_send().await {
                        Ok(response) if response.status() == 200 => {
                            count.fetch_add(1, Ordering::Relaxed);
                            written.push(key);
                        }
                        // While it does not know its nodes, say.
                        Ok(_refused) => {}
                        Err(_) => return written,
                    }
                }
                written
            });
        }
        until("some are written", 10 * DEADLINE, async || {
            Ok((count.load(Ordering::Relaxed) >= per_round).then_some(()))
        })
        .await
        .unwrap();
        world.gateways.last().unwrap().signal(Signal::SIGKILL);
        while let Some(written) = writers.join_next().await {
            acknowledged.extend(written.unwrap());
        }
        world.s3 = world.add_gateway("").await;
    }
    assert!(acknowledged.len() >= rounds * per_round);
    for key in &acknowledged {
        assert!(
            world.s3.read(REPOSITORY, key).await == key.repeat(50).as_bytes(),
            "{key}"
        );
    }
    acknowledged.len()
}
