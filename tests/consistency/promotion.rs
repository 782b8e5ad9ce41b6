//! Promotions: a replica takes the primary's place, and the arena is restored afterwards.

use std::time::Duration;

use tidegate::testkit::{PostgresServer, until};
use tidegate_model::{Lsn, Timeline};

use super::arena::Arena;
use super::client::Round;
use super::fault::{Fault, Placed};
use super::history::Promotion;

const DEADLINE: Duration = Duration::from_secs(30);
const REPLAYED: &str = "select pg_last_wal_replay_lsn()";
const RECEIVED: &str = "select greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())";

/// Promotes the replica of the fault's region, which then is the arena's primary.
pub(super) async fn begin(placed: Placed, arena: &mut Arena, round: &Round) -> Promotion {
    if placed.fault == Fault::PromotedWithLoss {
        lose_something(placed, arena).await;
    }
    // Writes stop while the replicas catch up, until there is no primary to write to.
    let no_writes = match placed.fault {
        Fault::PromotedWithoutLoss => Some(round.writes.write().await),
        _ => None,
    };
    if no_writes.is_some() {
        catch_up(arena).await;
    }
    match placed.fault {
        Fault::PromotedBeside => arena.posts[1].cut_replicas(true),
        _ => arena.cluster.primary.kill().await.unwrap(),
    }
    drop(no_writes);
    let at = round.start.elapsed();
    arena.cluster.promote_replica(placed.region).await.unwrap();
    for post in &arena.posts {
        let sees_it = placed.fault != Fault::PromotedBeside || post.region == 0;
        if placed.url_follows && sees_it {
            post.lead_to_primary(&arena.cluster);
        }
    }
    let (timeline, switch) = switch_point(&arena.cluster.primary).await;
    Promotion {
        at,
        timeline,
        switch,
        may_lose: placed.fault != Fault::PromotedWithoutLoss,
    }
}

/// Restores the arena around another primary.
pub(super) async fn end(placed: Placed, arena: &mut Arena) {
    let Arena { cluster, posts, .. } = arena;
    for post in &*posts {
        post.lead_to_primary(cluster);
        // Its name leads nowhere until there is a replica again.
        post.lines[1 + placed.region].cut(true);
    }
    let reset = "alter system reset primary_conninfo";
    cluster.primary.execute(reset).await.unwrap();
    // In the place of the promoted replica is the former primary.
    cluster.replace_replica(placed.region).await.unwrap();
    let other = 1 - placed.region;
    let (_, switch) = switch_point(&cluster.primary).await;
    match lsn(&cluster.replicas[other], RECEIVED).await <= switch {
        true => follow(&cluster.replicas[other], &cluster.primary).await,
        false => cluster.replace_replica(other).await.unwrap(),
    }
    for post in &*posts {
        post.lead_to_replicas(cluster);
        post.cut_replicas(false);
    }
}

/// Lets a replica follow the promoted server. A role without privileges can see that only after its
/// next restart point, which would otherwise come within minutes.
async fn follow(replica: &PostgresServer, promoted: &PostgresServer) {
    replica.stream_from(promoted).await.unwrap();
    promoted.execute("checkpoint").await.unwrap();
    let position = promoted.flushed().await.unwrap();
    replica.wait_for_replay(position).await.unwrap();
    replica.execute("checkpoint").await.unwrap();
}

/// Disconnects the replica, and the other one too unless it should be ahead, until the primary has
/// acknowledged what they lack.
async fn lose_something(placed: Placed, arena: &Arena) {
    let replicas = &arena.cluster.replicas;
    let promoted = &replicas[placed.region];
    if !placed.other_is_ahead {
        replicas[1 - placed.region].cut_stream().await.unwrap();
    }
    promoted.cut_stream().await.unwrap();
    let entries = "select count(*) from ledger";
    let known = promoted.value(entries).await.unwrap();
    let known: u64 = known.unwrap().parse().unwrap();
    let more = format!("count(*) > {known} + 20 from ledger");
    arena.cluster.primary.wait_until(&more).await.unwrap();
}

/// Waits until both replicas have whatever the primary has.
async fn catch_up(arena: &Arena) {
    until("the replicas have everything", DEADLINE, async || {
        let inserted = "select pg_current_wal_insert_lsn()";
        let inserted = lsn(&arena.cluster.primary, inserted)
            .await
            .reachable_by_replay();
        for replica in &arena.cluster.replicas {
            if lsn(replica, REPLAYED).await < inserted {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await
    .unwrap();
}

/// A promoted server's timeline, and where it left the one before.
async fn switch_point(promoted: &PostgresServer) -> (Timeline, Lsn) {
    let name = "select pg_walfile_name(pg_current_wal_insert_lsn())";
    let name = promoted.value(name).await.unwrap().unwrap();
    let history = format!("select pg_read_file('pg_wal/{}.history')", &name[..8]);
    let history = promoted.value(&history).await.unwrap().unwrap();
    let last = history.lines().rfind(|line| !line.is_empty());
    let switch = last.unwrap().split_whitespace().nth(1).unwrap();
    let timeline = u32::from_str_radix(&name[..8], 16).unwrap();
    (Timeline(timeline), switch.parse().unwrap())
}

async fn lsn(server: &PostgresServer, sql: &str) -> Lsn {
    server.value(sql).await.unwrap().unwrap().parse().unwrap()
}
