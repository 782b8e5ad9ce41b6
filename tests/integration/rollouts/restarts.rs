//! What a gateway goes on with, before and without the store.

use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tidegate::testkit::{GatewayProcess, until};
use tidegate_rollout::{SavedPolicy, StoredRevision};

use super::kit::{EU, LOCAL, Scene, TO_US, in_force, metric};
use crate::handing_on::kit::FleetScene;
use crate::world::{DEADLINE, client, wait_ready};

/// A state file of another database, where a revision with another text is in force.
fn of_another_database(folder: &Path, (revision, floor): (u32, u32)) {
    let saved = SavedPolicy {
        fleet: "default".to_owned(),
        system: Some(1),
        timeline: 9,
        rollout: 50,
        floor_accepted: floor,
        ..SavedPolicy::of(&StoredRevision::unsigned(revision, TO_US))
    };
    let file = folder.join("traffic-policy.json");
    std::fs::write(file, saved.write().unwrap()).unwrap();
}

/// A disk of four pages, which is full as soon as it is filled.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// Nothing where tests may not mount.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", "size=16k", "none"]);
        let output = mount.arg(folder.path()).output();
        let is_mounted = output.is_ok_and(|output| output.status.success());
        is_mounted.then(|| Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn fill(&self) {
        let filled = std::fs::write(self.path().join("filler"), [0; 1 << 16]);
        assert_eq!(filled.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    }

    fn names(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.path()).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _kept = Command::new("umount").arg(self.path()).output();
    }
}

/// The text in force.
pub(crate) async fn text(gateway: &GatewayProcess) -> String {
    let url = gateway.admin_url("/admin/traffic-policy");
    let answer = client().get(url).send().await.unwrap();
    answer.text().await.unwrap()
}

#[tokio::test]
async fn a_state_file_of_another_database_gives_neither_its_text_nor_its_floor_once_there_is_one() {
    let mut scene = Scene::prepared(1).await;
    scene.push(LOCAL).await;
    scene.roll_out_by_hand("1").await;
    // A different text under the same number; a floor above all numbers of this database.
    for of in [(1, 0), (9, 9)] {
        let folder = tempfile::tempdir().unwrap();
        of_another_database(folder.path(), of);
        let more = format!("[fleet]\nstate_dir = \"{}\"\n", folder.path().display());
        scene.gateways.clear();
        scene.start_gateway(scene.command(EU, &more)).await;
        let gateway = &scene.gateways[0];
        until("the database's text is in force", DEADLINE, async || {
            Ok((text(gateway).await == LOCAL).then_some(()))
        })
        .await
        .unwrap_or_else(|error| panic!("{of:?}: {error:#}\n{}", gateway.log()));
        assert_eq!(scene.served_by(0, "/app/x").await, "near");
        let ignored = "tidegate_traffic_state_file_total{outcome=\"ignored\"}";
        assert_eq!(metric(gateway, ignored).await, 1.0, "{}", gateway.log());
        let reasons = "tidegate_traffic_revision_refused_total{reason=\"floor\"}";
        assert_eq!(metric(gateway, reasons).await, 0.0);
        let file = folder.path().join("traffic-policy.json");
        until("the file is of this database", DEADLINE, async || {
            let read = SavedPolicy::read(&std::fs::read_to_string(&file)?, "default")?;
            Ok((read.system != Some(1) && read.floor_accepted == 0).then_some(()))
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn a_state_file_of_another_database_of_the_same_cluster_does_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let more = format!("[fleet]\nstate_dir = \"{}\"\n", folder.path().display());
    let mut scene = Scene::prepared(1).await;
    scene.push(LOCAL).await;
    scene.roll_out_by_hand("1").await;
    scene.start_gateway(scene.command(EU, &more)).await;
    let file = folder.path().join("traffic-policy.json");
    let read = || -> anyhow::Result<SavedPolicy> {
        let text = std::fs::read_to_string(&file)?;
        Ok(SavedPolicy::read(&text, "default")?)
    };
    let own = until("the file is there", DEADLINE, async || Ok(read().ok()));
    let own: SavedPolicy = own.await.unwrap();
    assert!(own.database.is_some(), "{own:?}");
    scene.gateways.clear();
    let other = SavedPolicy {
        fleet: own.fleet.clone(),
        system: own.system,
        database: Some(1),
        timeline: own.timeline,
        rollout: 50,
        ..SavedPolicy::of(&StoredRevision::unsigned(9, TO_US))
    };
    std::fs::write(&file, other.write().unwrap()).unwrap();
    scene.start_gateway(scene.command(EU, &more)).await;
    let gateway = &scene.gateways[0];
    scene.follows(gateway, "1", DEADLINE).await;
    assert_eq!(text(gateway).await, LOCAL);
    let reason = "it is of another database";
    gateway.wait_for_log(reason).await.unwrap();
    until("the file is of this database", DEADLINE, async || {
        Ok((read()?.database == own.database).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_gateway_that_ends_takes_its_report_back_so_that_a_rollback_does_not_wait_for_it() {
    let mut scene = Scene::start("").await;
    scene.push(LOCAL).await;
    scene.put_in_force("1").await;
    let follows = |it: &serde_json::Value| it["state"] == "in-force" && it["revision"] == 1;
    scene.until_reported("both report it", follows).await;
    let mut ended = scene.gateways.remove(1);
    ended.signal(Signal::SIGTERM);
    assert!(ended.wait().await.unwrap().success(), "{}", ended.log());
    let status = scene.status().await;
    let gateways = status["gateways"].as_array().unwrap();
    let regions: Vec<_> = gateways.iter().map(|it| &it["region"]).collect();
    assert_eq!(regions, [EU], "{status}");
    let back = scene.done(&["rollback"]).await;
    assert_eq!(back, "the built-in policy is in force");

    // The leader counts what it says, and does not pass over a region whose gateway is about to start anew.
    let open = "insert into tidegate.traffic_rollout (kind, revision, base, regions, leader, by, renewed_at) \
        values ('rollout', 1, 0, '{eu-west-1}', 'x', 'ada', now() + interval '1 min')";
    scene.cluster.primary.execute(open).await.unwrap();
    let loaded = |it: &serde_json::Value| it["state"] == "loaded";
    scene.until_reported("it has loaded it", loaded).await;
    let mut ended = scene.gateways.remove(0);
    ended.signal(Signal::SIGTERM);
    assert!(ended.wait().await.unwrap().success(), "{}", ended.log());
    let status = scene.status().await;
    assert_eq!(status["gateways"][0]["alive"], true, "{status}");
}

#[tokio::test]
async fn a_full_disk_keeps_the_last_state_file_whole_and_the_new_policy_in_force() {
    let Some(disk) = SmallDisk::mount() else {
        println!("SKIPPED: no file system can be mounted");
        return;
    };
    let more = format!("[fleet]\nstate_dir = \"{}\"\n", disk.path().display());
    let mut scene = Scene::prepared(1).await;
    scene.start_gateway(scene.command(EU, &more)).await;
    scene.push(TO_US).await;
    scene.put_in_force("1").await;
    let file = disk.path().join("traffic-policy.json");
    let saved = || {
        let text = std::fs::read_to_string(&file)?;
        anyhow::Ok(SavedPolicy::read(&text, "default")?.revision)
    };
    until("the first revision is saved", DEADLINE, async || {
        Ok((saved().ok() == Some(1)).then_some(()))
    })
    .await
    .unwrap();
    disk.fill();
    scene.push(LOCAL).await;
    scene.put_in_force("2").await;
    let gateway = &scene.gateways[0];
    let cannot = "the state file cannot be written";
    gateway.wait_for_log(cannot).await.unwrap();
    assert_eq!(saved().unwrap(), 1);
    assert_eq!(disk.names(), ["filler", "traffic-policy.json"]);
    assert_eq!(scene.served_by(0, "/app/x").await, "near");

    // Without a database it is what a gateway starts with, and there is still no room.
    scene.gateways.clear();
    let nowhere = "postgres://app@127.0.0.1:1/app";
    let alone = scene.command(EU, &more).env("DATABASE_URL", nowhere);
    let alone = alone.env("DATABASE_READ_REPLICA_URL", nowhere);
    let gateway = alone.start().await.unwrap();
    scene.follows(&gateway, "1", DEADLINE).await;
}

#[tokio::test]
async fn while_the_database_and_the_peers_are_gone_a_gateway_that_starts_answers_without_errors() {
    let folder = tempfile::tempdir().unwrap();
    let more = format!("[fleet]\nstate_dir = \"{}\"\n", folder.path().display());
    let mut scene = Scene::prepared(1).await;
    scene.start_gateway(scene.command(EU, &more)).await;
    scene.push(TO_US).await;
    scene.put_in_force("1").await;
    let file = folder.path().join("traffic-policy.json");
    until("the state file is there", DEADLINE, async || {
        Ok(file.exists().then_some(()))
    })
    .await
    .unwrap();
    scene.cluster.primary.kill().await.unwrap();
    scene.cluster.replicas[0].kill().await.unwrap();
    for start in ["it runs", "it was started again"] {
        for request in 0..100 {
            let served = scene.served_by(0, &format!("/app/{request}")).await;
            assert_eq!(served, "far", "{start}");
        }
        assert_eq!(in_force(&scene.gateways[0]).await, "1", "{start}");
        scene.gateways.clear();
        let again = scene.command(EU, &more).start().await.unwrap();
        scene.follows(&again, "1", DEADLINE).await;
        scene.gateways.push(again);
    }
    scene.cluster.primary.start().await.unwrap();
    scene.cluster.replicas[0].start().await.unwrap();
    wait_ready(&client(), &scene.gateways[0]).await;
    scene.push(LOCAL).await;
    scene.put_in_force("2").await;
}

#[tokio::test]
async fn before_the_store_was_ever_read_requests_are_served_here_and_a_log_line_says_so() {
    let mut scene = FleetScene::start(2, "policy p { prefer local }\n").await;
    std::fs::remove_file(scene.file("traffic.policy")).unwrap();
    scene.start_one(0).await;
    scene.until_all_are(0, "well").await;
    let gateway = scene.gateway(0);
    let unread = "the policy store was not read yet: requests are served here";
    gateway.wait_for_log(unread).await.unwrap();
    assert_eq!(in_force(gateway).await, "0");
    let answer = scene.get("/app/x").await;
    assert_eq!(answer.text().await.unwrap(), EU);
    // The built-in policy would hand requests on where this region is ill.
    let url = gateway.admin_url("/admin/traffic-policy");
    let answer = client().get(url).send().await.unwrap();
    assert_eq!(answer.status(), 404, "{}", gateway.log());
}
