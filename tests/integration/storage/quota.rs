//! Credit and quota.

use std::sync::Arc;

use super::s3_client::code;
use super::world::{REPOSITORY, StorageWorld};

#[tokio::test]
async fn writes_move_on_at_the_soft_cap_and_return_to_the_last_with_quota_left() {
    let limits = [
        "--credit",
        "100B/month",
        "--soft-cap",
        "50%",
        "--quota",
        "90B",
    ];
    let world = StorageWorld::start(&limits, &[]).await;
    let held = async || {
        let of = async |index| world.bucket(index).await["heldBytes"].as_u64().unwrap();
        [of(0).await, of(1).await]
    };
    let put = async |key: &str| {
        world
            .s3
            .put(REPOSITORY, key, &[7; 30])
            .await
            .status()
            .as_u16()
    };
    let mut seen = Vec::new();
    for key in ["a", "b", "c", "d", "e", "f"] {
        assert_eq!(put(key).await, 200);
        seen.push(held().await);
    }
    // Two each until both are over 50 bytes; then the last one until its quota, then the first.
    assert_eq!(
        seen,
        [[30, 0], [60, 0], [60, 30], [60, 60], [60, 90], [90, 90]]
    );
    let full = world.s3.put(REPOSITORY, "g", b"x").await;
    let status = full.status();
    let text = full.text().await.unwrap();
    assert_eq!(status, 403);
    assert!(text.contains("<Code>QuotaExceeded</Code>"), "{text}");
    assert!(text.contains("<Message>QUOTA_EXCEEDED:"), "{text}");
    // Reads go on, and what is deleted and swept makes room.
    assert_eq!(world.s3.read(REPOSITORY, "a").await.len(), 30);
}

#[tokio::test]
async fn sixty_four_writers_on_two_gateways_exceed_no_quota_by_a_byte() {
    let mut world = StorageWorld::start(&["--quota", "10KB"], &[]).await;
    let second = world.add_gateway("").await;
    let clients = [world.s3.clone(), second];
    let world = Arc::new(world);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..64 {
        let s3 = clients[writer % 2].clone();
        writers.spawn(async move {
            let mut stored = 0;
            for number in 0..10 {
                let body = vec![7; 97 + writer];
                let put = s3
                    .put(REPOSITORY, &format!("{writer}/{number}"), &body)
                    .await;
                match code(put).await {
                    (200, _) => stored += body.len() as u64,
                    (403, code) => assert_eq!(code, "QuotaExceeded"),
                    other => panic!("{other:?}"),
                }
            }
            stored
        });
    }
    let mut stored = 0;
    while let Some(writer) = writers.join_next().await {
        stored += writer.unwrap();
    }
    let mut held = 0;
    for (index, bucket) in world.buckets.iter().enumerate() {
        let row = world.bucket(index).await["heldBytes"].as_u64().unwrap();
        let there = bucket
            .sizes()
            .iter()
            .filter(|size| (97..161).contains(*size))
            .sum::<u64>();
        assert!(row <= 10_000 && there <= 10_000, "{row} {there}");
        held += row;
    }
    assert_eq!(held, stored);
    assert!(held > 20_000 - 2 * 161, "{held}");
}

#[tokio::test]
async fn writers_that_choose_the_same_members_in_another_order_do_not_fail_one_another() {
    let world = StorageWorld::start(&[], &["--write", "copies:2"]).await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..16 {
        let s3 = world.s3.clone();
        writers.spawn(async move {
            for number in 0..40 {
                let key = format!("{writer}/{number}");
                let put = s3.put(REPOSITORY, &key, b"bytes").await;
                assert_eq!(code(put).await, (200, String::new()));
            }
        });
    }
    writers.join_all().await;
}
