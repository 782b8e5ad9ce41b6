//! Statistics of a gateway that is killed: nothing counts twice, and only what was not written yet is lost.

use nix::sys::signal::Signal;
use tidegate::testkit::until;

use super::world::{REPOSITORY, StorageWorld};
use crate::world::DEADLINE;

const OFTEN: &str = "statistics_interval = \"1s\"";
const BYTES: usize = 1_000;

#[tokio::test]
async fn a_gateway_that_is_killed_counts_nothing_twice_and_loses_one_interval_at_most() {
    const PER_ROUND: usize = 30;
    const ROUNDS: usize = 3;
    let mut world = StorageWorld::with(1, &[], &[], OFTEN, 0).await;
    let sum =
        |table: &str| format!("select coalesce(sum(uploaded), 0)::text from tidegate.{table}");
    let (minutes, days) = (sum("storage_use_minute"), sum("storage_use_day"));
    let mut known = 0;
    for round in 0..ROUNDS {
        for number in 0..PER_ROUND {
            let put = world
                .s3
                .put(REPOSITORY, &format!("{round}/{number}"), &[7; BYTES])
                .await;
            assert_eq!(put.status(), 200);
        }
        let expected = known + PER_ROUND * BYTES;
        // What is written before the kill stays.
        until("it is counted", DEADLINE, async || {
            let counted = world.value(&minutes).await;
            Ok((counted == expected.to_string()).then_some(()))
        })
        .await
        .unwrap();
        // In the middle of an interval.
        for number in 0..PER_ROUND {
            world
                .s3
                .put(REPOSITORY, &format!("{round}/late/{number}"), &[7; BYTES])
                .await;
        }
        world.gateways[round].signal(Signal::SIGKILL);
        world.gateways[round].wait().await.unwrap();
        known = world.value(&minutes).await.parse().unwrap();
        let range = expected..=expected + PER_ROUND * BYTES;
        assert!(
            range.contains(&known) && known % BYTES == 0,
            "{known} is not in {range:?}"
        );
        assert_eq!(world.value(&days).await, known.to_string());
        world.s3 = world.add_gateway(OFTEN).await;
    }
}
