//! The polling clients of the guides choose the gateway that is on line, and the bucket that has credit.

use std::process::Stdio;

use serde_json::{Value, json};
use tidegate::testkit::until;
use tokio::process::Command;

use super::api_client::ApiClient;
use super::world::{REPOSITORY, StorageWorld};
use crate::world::DEADLINE;
use crate::world::tool;

const CLIENTS: &str = include_str!("polling.cjs");

#[tokio::test]
async fn clients_of_the_guides_choose_a_gateway_and_a_bucket_by_what_they_poll() {
    let Some(node) = tool("node") else {
        eprintln!("SKIPPED: Node.js is not installed, and it cannot be had from PyPI");
        return;
    };
    let credit = ["--credit", "1000B/month"];
    let settings = "statistics_interval = \"1s\"";
    let mut world = StorageWorld::with(2, &credit, &[], settings, 0).await;
    // A gateway that has gone is still listed, and not chosen.
    let _client = world.add_gateway(settings).await;
    let api = ApiClient::of(&world.gateways[0]).await;
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("polling.cjs");
    std::fs::write(&script, CLIENTS).unwrap();
    let chosen = async || {
        let mut command = Command::new(&node);
        command.arg(&script).stdin(Stdio::null());
        command
            .env("STORAGE_API", &api.base)
            .env("FB_JWT", &api.token);
        command.env("FB_REPO_ID", REPOSITORY);
        let output = command.output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    until("both gateways have written", DEADLINE, async || {
        let nodes = api.get("/node").await;
        let stats = api.get("/stats/nodes/minute").await;
        let rows = stats["data"].as_array().unwrap();
        let of = |at: usize| {
            rows.iter()
                .any(|row| row["nodeId"] == nodes["data"][at]["nodeId"])
        };
        Ok((nodes["total"] == 2 && of(0) && of(1)).then_some(()))
    })
    .await
    .unwrap();
    drop(world.gateways.remove(1));
    let own = &world.s3.base;
    let gone = format!(
        "update tidegate.storage_gateway set renewed = renewed - interval '1 min' \
         where url <> '{own}' returning 1"
    );
    world.value(&gone).await;
    let before = chosen().await;
    assert_eq!(
        (&before["endpoint"], &before["write"]),
        (&json!(own), &json!("bucket-0"))
    );
    world.s3.put(REPOSITORY, "key", &[7; 900]).await;
    until("the use is counted", DEADLINE, async || {
        let uploaded = chosen().await["uploaded"] == "900";
        Ok(uploaded.then_some(()))
    })
    .await
    .unwrap();
    let after = chosen().await;
    assert_eq!(after["write"], "bucket-1", "{after}");
    for kind in ["daily", "minute"] {
        assert!(after[kind].as_u64() > Some(0), "{after}");
    }
}
