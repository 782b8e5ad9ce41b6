//! What a running gateway takes over from its file, and what it keeps.

use nix::sys::signal::Signal;
use reqwest::StatusCode;
use tempfile::TempDir;
use tidegate::testkit::Cluster;

use crate::world::{
    JWT_SECRET, TOKEN_SECRET, World, client, gateway_of, header, jwt, migrate, problem, reload,
    wait_ready,
};

const BEFORE: &str = "
[[policy]]
path = \"/word\"
consistency = \"strong\"
[[endpoint]]
method = \"GET\"
path = \"/word\"
sql = \"select 'before' as word\"
";

const AFTER: &str = "
[[policy]]
path = \"/word\"
consistency = \"eventual\"
cache_control = \"public, max-age=1\"
[[endpoint]]
method = \"GET\"
path = \"/word\"
sql = \"select 'after' as word\"
[[endpoint]]
method = \"POST\"
path = \"/more\"
sql = \"select 1 as one\"
";

#[tokio::test]
async fn sighup_swaps_policies_and_endpoints_or_keeps_both_and_says_why() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gateway.toml");
    std::fs::write(&path, BEFORE).unwrap();
    let cluster = Cluster::start(1).await.unwrap();
    let gateway = gateway_of(&cluster).env("TIDEGATE_CONFIG", &path);
    let world = World::over(cluster, gateway).await;
    let word = async || {
        let response = world.get("/word").await;
        let cache = header(&response, "cache-control").to_owned();
        (cache, response.text().await.unwrap())
    };
    let before = (
        "no-store, private".to_owned(),
        r#"[{"word":"before"}]"#.to_owned(),
    );
    assert_eq!(word().await, before);

    reload(&world.gateway, &path, AFTER).await;
    let after = (
        "public, max-age=1".to_owned(),
        r#"[{"word":"after"}]"#.to_owned(),
    );
    assert_eq!(word().await, after);
    let more = world
        .client
        .post(world.gateway.url("/more"))
        .send()
        .await
        .unwrap();
    assert_eq!(more.status(), StatusCode::OK);

    for (text, expected) in [
        (
            format!("{BEFORE}\n[[policy]]\npath = \"/word\"\n"),
            "11: path = ",
        ),
        (
            format!("{BEFORE}nonsense = 1\n"),
            "9: nonsense: unknown field",
        ),
        (
            BEFORE.replace("'before'", "missing"),
            "8: sql: GET /word cannot be prepared",
        ),
    ] {
        std::fs::write(&path, &text).unwrap();
        world.gateway.signal(Signal::SIGHUP);
        let why = format!("{}:{expected}", path.display());
        let line = world.gateway.wait_for_log(&why).await.unwrap();
        assert!(
            line.contains("kept the old policies and endpoints"),
            "{line}"
        );
        assert_eq!(word().await, after);
    }
    std::fs::remove_file(&path).unwrap();
    world.gateway.signal(Signal::SIGHUP);
    world.gateway.wait_for_log("cannot be read").await.unwrap();
    assert_eq!(word().await, after);
    problem(world.get("/nothing").await, 404, "not-found").await;
}

#[tokio::test]
async fn secrets_stay_out_of_the_log_and_the_metrics() {
    let mut cluster = Cluster::start(1).await.unwrap();
    migrate(&cluster).await;
    cluster.wait_for_replicas().await.unwrap();
    let gateway = gateway_of(&cluster)
        .env("RUST_LOG", "debug")
        .start()
        .await
        .unwrap();
    let client = client();
    wait_ready(&client, &gateway).await;
    let profile = client.get(gateway.url("/account/profile"));
    let profile = profile.bearer_auth(jwt("alice").await);
    assert_eq!(profile.send().await.unwrap().status(), StatusCode::OK);
    cluster.primary.kill().await.unwrap();
    cluster.replicas[0].kill().await.unwrap();
    let down = client
        .get(gateway.url("/public/rates"))
        .send()
        .await
        .unwrap();
    problem(down, 503, "no-node").await;
    let metrics = client
        .get(gateway.admin_url("/metrics"))
        .send()
        .await
        .unwrap();
    let told = gateway.log() + &metrics.text().await.unwrap();
    for secret in ["keep-me-out-of-logs", JWT_SECRET, TOKEN_SECRET] {
        assert!(!told.contains(secret));
    }
}
