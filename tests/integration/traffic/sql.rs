//! The traffic policy orders replicas, and weakens nothing.

use tempfile::TempDir;
use tidegate::testkit::{Cluster, until};

use crate::world::{DEADLINE, World, configured, gateway_of, header, told};

const POLICY: &str = "\
region eu-west-1
region us-east-1
policy farther { prefer us-east-1 | eu-west-1 }
";

/// A gateway over a replica here and one in the region that the policy prefers.
async fn world() -> World {
    let cluster = Cluster::start(2).await.unwrap();
    let folder = TempDir::new().unwrap();
    let policy = folder.path().join("traffic.policy");
    std::fs::write(&policy, POLICY).unwrap();
    let toml = format!(
        "traffic_policy = \"{}\"\n[[topology.replica]]\nregion = \"us-east-1\"\nurl = \"{}\"\n\
         [[policy]]\npath = \"/word\"\nconsistency = \"eventual\"\n\
         [[endpoint]]\nmethod = \"GET\"\npath = \"/word\"\nsql = \"select 'x' as word\"\n",
        policy.display(),
        cluster.replicas[1].url()
    );
    let gateway = configured(&cluster, gateway_of(&cluster), &toml);
    World::over(cluster, gateway).await
}

/// Waits until a level is served in a region; returns its `Consistency-Status`.
async fn served(world: &World, level: &str, region: &str) -> String {
    let wanted = async || {
        let response = world.get_at("/word", level).await;
        let is_it = told(&response, "node-region") == region;
        Ok(is_it.then(|| header(&response, "consistency-status").to_owned()))
    };
    let what = format!("{level} is served in {region}");
    until(&what, DEADLINE, wanted).await.unwrap()
}

#[tokio::test]
async fn a_region_whose_replica_does_not_answer_is_left_and_returned_to() {
    let mut world = world().await;
    served(&world, "eventual", "us-east-1").await;
    let unreachable = "tidegate_region_state{region=\"us-east-1\",state=\"unreachable\"}";
    assert_eq!(world.metric_turns(unreachable, |_| true).await, 0.0);
    world.cluster.replicas[1].kill().await.unwrap();
    world.metric_turns(unreachable, |it| it == 1.0).await;
    let status = served(&world, "eventual", "eu-west-1").await;
    assert!(
        !status.contains("no-tunnel"),
        "it is here by decision: {status}"
    );
    world.cluster.replicas[1].start().await.unwrap();
    served(&world, "eventual", "us-east-1").await;
}

#[tokio::test]
async fn of_equal_replicas_the_one_in_the_decided_region_is_asked_and_no_level_is_weakened() {
    let world = world().await;
    let status = served(&world, "eventual", "us-east-1").await;
    let second = ", eu-west-1; policy=farther; reason=no-tunnel";
    assert!(status.ends_with(second), "{status}");
    served(&world, "bounded;max-staleness=30", "us-east-1").await;
    let strong = world.get_at("/word", "strong").await;
    assert_eq!(told(&strong, "node"), "primary");
    // The decided region's replica falls behind: it cannot honour the bound any more.
    world.cluster.replicas[1].pause_replay().await.unwrap();
    world
        .cluster
        .primary
        .execute("create table behind ()")
        .await
        .unwrap();
    served(&world, "bounded;max-staleness=1", "eu-west-1").await;
}
