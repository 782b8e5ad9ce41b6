//! What is under `infra/` says the same as the gateway: its policy, its metrics.

use std::collections::BTreeSet;
use std::path::PathBuf;

use reqwest::Method;
use tidegate::demo::{GatewayCommand, until};

use crate::world::{BINARY, DEADLINE, World};

/// Reads a file of `infra/`; the faults of `tests/infra/mutations` put a changed copy in its place.
#[expect(
    clippy::disallowed_methods,
    reason = "a switch of the tests, not a setting of the gateway"
)]
fn infra_file(path: &str) -> String {
    let own = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/infra"));
    let folder = std::env::var_os("INFRA").map_or_else(own, PathBuf::from);
    std::fs::read_to_string(folder.join(path)).unwrap()
}

/// The names of metrics that alerts and dashboard ask for, a histogram's by its own name.
fn metrics_asked_for() -> BTreeSet<String> {
    let text = infra_file("prometheus/alerts.yml") + &infra_file("grafana/tidegate.json");
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("tidegate_") || word.starts_with("process_"))
        .map(|name| name.strip_suffix("_bucket").unwrap_or(name).to_owned())
        .collect()
}

#[tokio::test]
async fn the_edge_policy_is_the_built_in_table() {
    let command = GatewayCommand::new(BINARY, "check").arg("--edge-policy");
    let output = command.output().await.unwrap();
    assert!(output.status.success());
    assert_eq!(
        infra_file("edge-policy.json"),
        String::from_utf8(output.stdout).unwrap(),
        "stale: `tidegate check --edge-policy > infra/edge-policy.json`"
    );
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_have_a_name() {
    let names = include_str!("../../src/telemetry/names.rs");
    let asked = metrics_asked_for();
    assert!(asked.len() > 8, "{asked:?}");
    for name in asked.iter().filter(|name| name.starts_with("tidegate_")) {
        assert!(names.contains(&format!("\"{name}\"")), "no metric {name}");
    }
}

#[tokio::test]
async fn live_metrics_have_all_that_alerts_and_dashboard_ask_for() {
    let world = World::start().await;
    let written = serde_json::json!({ "currency": "USD", "amount": "1.00" });
    let written = world.post("alice", "/api/v1/onramp", "k", &written).await;
    let token = written.headers()["x-consistency-token"].clone();
    let read = world.request(Method::GET, "/public/rates");
    let read = read.header("X-Consistency-Token", token);
    assert_eq!(read.send().await.unwrap().status(), 200);

    // Some appear with the first sample or answer they count.
    let missing = std::cell::RefCell::new(metrics_asked_for());
    let exposed = async || {
        let url = world.gateway.admin_url("/metrics");
        let text = world.client.get(url).send().await?.text().await?;
        let absent = |name: &String| !text.contains(&format!("# TYPE {name} "));
        missing.borrow_mut().retain(absent);
        Ok(missing.borrow().is_empty().then_some(()))
    };
    let found = until("every metric is in /metrics", DEADLINE, exposed).await;
    assert!(found.is_ok(), "{found:?}: no {:?}", missing.borrow());
}
