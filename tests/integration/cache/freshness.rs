//! How old an answer may be, and the age that it states.

use std::time::Duration;

use tidegate::testkit::{Shutdown, until};
use tokio::time::{Instant, timeout};

use super::{Gate, begin, held, said, ttl, turns, word, world};
use crate::world::{DEADLINE, header, told};

fn staleness(response: &reqwest::Response) -> f64 {
    told(response, "staleness").parse().unwrap()
}

fn age(response: &reqwest::Response) -> f64 {
    header(response, "age").parse().unwrap()
}

#[tokio::test]
async fn a_kept_answer_ages_from_the_staleness_of_its_node() {
    let world = world("").await;
    let first = world.get("/fresh/1").await;
    assert_eq!(age(&first), staleness(&first).ceil());
    let asked = Instant::now();
    let hit = world.get("/fresh/1").await;
    let old = until("a second has passed", DEADLINE, async || {
        let later = world.get("/fresh/1").await;
        Ok((staleness(&later) > staleness(&hit) + 1.0).then_some(later))
    })
    .await
    .unwrap();
    let passed = asked.elapsed().as_secs_f64();
    assert!(passed >= 0.9 && staleness(&old) >= staleness(&first) + 0.9);
    assert!(staleness(&old) <= staleness(&hit) + passed + 0.1);
    for response in [&hit, &old] {
        assert_eq!(age(response), staleness(response).ceil());
        assert_eq!(ttl(response), (600.0 - staleness(response)).floor() as i64);
    }
}

#[tokio::test]
async fn what_a_lagging_replica_says_is_kept_for_so_much_less() {
    let mut world = world("[replication]\nmax_lag = \"1h\"").await;
    world.replica().pause_replay().await.unwrap();
    let unseen = "update words set word = 'newer' where id = 2";
    world.cluster.primary.execute(unseen).await.unwrap();
    let late = until("the replica is stale", DEADLINE, async || {
        let response = world.get_at("/short/2", "eventual").await;
        Ok((staleness(&response) > 2.0).then_some(response))
    });
    late.await.unwrap();
    for _ in 0..2 {
        let response = world.get("/short/2").await;
        assert_eq!(told(&response, "node"), "replica");
        assert_eq!(said(&response), "fwd=miss", "it has already expired");
        assert!(age(&response) > 2.0);
        assert_eq!(header(&response, "cache-control"), "public, max-age=2");
    }
    let kept = world.get("/fresh/2").await;
    assert_eq!(said(&kept), "fwd=miss; stored");
    let kept = world.get("/fresh/2").await;
    assert!(ttl(&kept) < 598, "{}", ttl(&kept));
    world.replica().resume_replay().await.unwrap();
    let stored = async || {
        let response = world.get("/short/2").await;
        Ok((said(&response) == "fwd=miss; stored").then_some(()))
    };
    until("the replica is fresh", DEADLINE, stored)
        .await
        .unwrap();
    let expired = async || {
        let response = world.get("/short/2").await;
        if said(&response) == "hit" {
            assert!(staleness(&response) <= 2.0);
            return Ok(None);
        }
        assert_eq!(said(&response), "fwd=stale; stored");
        Ok(Some(()))
    };
    until("the answer expires", DEADLINE, expired)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_stale_answer_is_served_at_once_while_one_refresh_runs() {
    let world = world("").await;
    assert_eq!(said(&world.get("/revalidated/3").await), "fwd=miss; stored");
    world.change(3, "newer").await;
    let gate = Gate::shut(&world.cluster.replicas[0]).await;
    let stale: Vec<_> = (0..50)
        .map(|_| begin(&world.client, world.gateway.url("/revalidated/3")))
        .collect();
    for response in stale {
        let response = timeout(DEADLINE, response).await.unwrap().unwrap();
        assert_eq!(said(&response), "hit");
        assert!(ttl(&response) < 0 && age(&response) > 0.0);
        assert_eq!(word(response).await, "word 3");
    }
    held(&world.cluster.replicas[0], 1).await;
    assert_eq!(world.asked(3), 2, "one miss and one refresh");
    drop(gate);
    turns(&world, "/revalidated/3", "newer").await;
    let series = "tidegate_cache_requests_total{result=\"stale\"}";
    world.metric_turns(series, |count| count >= 51.0).await;
}

#[tokio::test]
async fn a_kept_answer_serves_when_no_node_can_and_gives_way_when_one_can_again() {
    let mut world = world("").await;
    assert_eq!(said(&world.get("/kept/4").await), "fwd=miss; stored");
    world.change(4, "newer").await;
    let renewed = world.get("/kept/4").await;
    assert_eq!(
        said(&renewed),
        "fwd=stale; stored",
        "not used while a node answers"
    );
    assert_eq!(word(renewed).await, "newer");
    world.cluster.primary.kill().await.unwrap();
    world.replica().kill().await.unwrap();
    let first = world.get("/kept/4").await;
    let kept = "fwd=stale; fwd-status=503; detail=stale-if-error";
    assert_eq!(said(&first), kept);
    assert_eq!(word(first).await, "newer");
    world
        .gateway
        .wait_for_log("a stored answer could not be renewed")
        .await
        .unwrap();
    let before = Instant::now();
    let next = world.get("/kept/4").await;
    assert_eq!(said(&next), "hit", "the failure is remembered");
    assert!(ttl(&next) < 0 && before.elapsed() < Duration::from_secs(1));
    let never_seen = world.get("/kept/5").await;
    assert_eq!(never_seen.status(), 503);
    let series = "tidegate_cache_requests_total{result=\"stale-if-error\"}";
    world.metric_turns(series, |count| count == 2.0).await;

    world.cluster.primary.start().await.unwrap();
    world.replica().start().await.unwrap();
    world.change(4, "newest").await;
    turns(&world, "/kept/4", "newest").await;
    world
        .cluster
        .primary
        .execute("delete from words where id = 4")
        .await
        .unwrap();
    world.cluster.wait_for_replicas().await.unwrap();
    until("what is gone is gone", DEADLINE, async || {
        Ok((world.get("/kept/4").await.status() == 404).then_some(()))
    })
    .await
    .unwrap();
    world.cluster.primary.stop(Shutdown::Fast).await.unwrap();
    world.replica().stop(Shutdown::Fast).await.unwrap();
    assert_eq!(
        world.get("/kept/4").await.status(),
        503,
        "and it was removed"
    );
}
