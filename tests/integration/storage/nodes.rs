//! Gateways as clients find them.

use serde_json::{Value, json};
use tidegate::testkit::GatewayProcess;

use super::api_client::ApiClient;
use super::statistics::{OFTEN, turns};
use super::world::StorageWorld;

#[tokio::test]
async fn a_gateway_on_all_addresses_is_shown_by_one_that_can_be_reached() {
    let mut world = StorageWorld::with(1, &[], &[], OFTEN, 0).await;
    for address in ["0.0.0.0:0", "[::]:0"] {
        let s3 = world.add_gateway_at(address, OFTEN).await;
        let (_, port) = s3.base.rsplit_once(':').unwrap();
        let at = world.gateways.len() - 1;
        let api = ApiClient::of(&world.gateways[at]).await;
        let urls = |nodes: &Value| -> Vec<String> {
            let nodes = nodes["data"].as_array().unwrap().iter();
            nodes
                .map(|node| node["url"].as_str().unwrap().to_owned())
                .collect()
        };
        let nodes = turns(&api, "/node", |it| it["total"] == at + 1).await;
        let expected = format!("http://127.0.0.1:{port}");
        assert!(urls(&nodes).contains(&expected), "{nodes}");
        // Its client says where it is, unless that cannot be.
        let by = async |host: &str| {
            let get = world.s3.client.get(format!("{}/node", api.base));
            let get = get.bearer_auth(&api.token).header("host", host);
            let text = get.send().await.unwrap().text().await.unwrap();
            serde_json::from_str::<Value>(&text).unwrap()
        };
        let named = urls(&by("gateway.example.com:1").await);
        assert!(
            named.contains(&format!("http://gateway.example.com:{port}")),
            "{named:?}"
        );
        let nowhere = urls(&by("0.0.0.0").await);
        assert!(nowhere.contains(&expected), "{nowhere:?}");
        assert!(!nodes.to_string().contains("0.0.0.0") && !nodes.to_string().contains("[::]"));
    }
}

#[tokio::test]
async fn every_gateway_is_listed_and_one_that_is_gone_is_off_line() {
    let mut world = StorageWorld::with(1, &[], &[], OFTEN, 0).await;
    world.s3 = world
        .add_gateway("endpoint = \"s3-eu-west-1-aws.example.com\"")
        .await;
    let api = ApiClient::of(&world.gateways[1]).await;
    // The first row of a gateway may be older than what it knows of buckets.
    let nodes = turns(&api, "/node", |it| {
        let mut rows = it["data"].as_array().unwrap().iter();
        it["total"] == 2 && rows.all(|row| !row["latencyMs"].is_null())
    })
    .await;
    let named = |nodes: &Value| {
        let mut nodes = nodes["data"].as_array().unwrap().iter();
        nodes
            .find(|node| node["endpoint"] == "s3-eu-west-1-aws.example.com")
            .unwrap()
            .clone()
    };
    let node = named(&nodes);
    assert_eq!(node["url"], "http://s3-eu-west-1-aws.example.com");
    assert_eq!(
        (&node["status"], &node["state"]),
        (&json!("ONLINE"), &json!("Online"))
    );
    assert_eq!(node["region"], "eu-west-1");
    assert_eq!(node["version"], env!("CARGO_PKG_VERSION"));
    for field in ["ip", "latencyMs", "lastUpdated", "nodeId"] {
        assert!(!node[field].is_null(), "{field}: {node}");
    }
    let gone: GatewayProcess = world.gateways.remove(1);
    drop(gone);
    let age = "update tidegate.storage_gateway set renewed = renewed - interval '31 s' \
         where endpoint like 's3-%' returning 1";
    world.value(age).await;
    let api = ApiClient::of(&world.gateways[0]).await;
    assert_eq!(named(&api.get("/node").await)["status"], "OFFLINE");
}
