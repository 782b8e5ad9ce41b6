//! What happens with tokens when a replica is promoted.

use reqwest::{Method, Response};
use tidegate::testkit::{Cluster, DelayProxy, GatewayProcess, until};
use tidegate_model::{Lsn, SystemId, Timeline, TokenKeys, WalPosition};

use crate::world::{
    DEADLINE, TOKEN_SECRET, World, client, gateway_of, header, migrated_cluster, problem,
    wait_ready,
};

/// Every answer on these paths carries a token, in a cookie too.
const CONFIG: &str = r#"
[[policy]]
path = "/public/*"
consistency = "session"
session_cookie = true
"#;

const SUPERUSER: &str = "tidegate:";
const READER: &str = "reader:";

/// A gateway with a replica of its own, and another replica to promote.
struct Failover {
    cluster: Cluster,
    line: DelayProxy,
    gateway: GatewayProcess,
    client: reqwest::Client,
}

impl Failover {
    /// Connects to the primary as a role, over a link whose target can be changed.
    async fn prepare(role: &str) -> Self {
        let cluster = migrated_cluster(2).await;
        let create =
            "create role reader login password 'keep-me-out-of-logs' in role pg_read_all_data";
        cluster.primary.execute(create).await.unwrap();
        cluster.wait_for_replicas().await.unwrap();
        let line = DelayProxy::start(cluster.primary.address()).await.unwrap();
        let url = cluster.primary.url_at(line.address());
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tidegate.toml");
        std::fs::write(&file, CONFIG).unwrap();
        let gateway = gateway_of(&cluster)
            .env("TIDEGATE_CONFIG", file)
            .env("DATABASE_URL", url.replace(SUPERUSER, role))
            .start()
            .await
            .unwrap();
        let client = client();
        wait_ready(&client, &gateway).await;
        Self {
            cluster,
            line,
            gateway,
            client,
        }
    }

    /// The second replica becomes the primary, and the first follows it.
    async fn fail_over(&mut self) {
        self.cluster.primary.kill().await.unwrap();
        let [follower, promoted] = &self.cluster.replicas[..] else {
            panic!("two replicas")
        };
        promoted.promote().await.unwrap();
        self.line.set_target(promoted.address());
        follower.stream_from(promoted).await.unwrap();
        until("the new primary serves", DEADLINE, async || {
            let answer = self.read("strong", None).await;
            Ok((answer.status() == 200).then_some(()))
        })
        .await
        .unwrap();
    }

    async fn read(&self, level: &str, token: Option<&str>) -> Response {
        let request = self
            .client
            .request(Method::GET, self.gateway.url("/public/fees"))
            .header("X-Consistency", level);
        let request = match token {
            Some(token) => request.header("X-Consistency-Token", token),
            None => request,
        };
        request.send().await.unwrap()
    }

    /// A write that is acknowledged, and the token of a read that has seen it.
    async fn acknowledged(&self) -> String {
        let write = "insert into accounts (name) values ('zoe')";
        self.cluster.primary.execute(write).await.unwrap();
        let seen = self.read("strong", None).await;
        header(&seen, "x-consistency-token").to_owned()
    }

    /// Waits until a token's read is answered in a way.
    async fn comes_to(&self, token: &str, wanted: &str) {
        until(wanted, DEADLINE, async || {
            let answer = self.read("session", Some(token)).await;
            let status = header(&answer, "consistency-status");
            Ok(status.contains(wanted).then_some(()))
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn a_token_whose_write_survived_is_served_by_the_followers_of_the_new_primary() {
    let mut failover = Failover::prepare(SUPERUSER).await;
    let token = failover.acknowledged().await;
    failover.cluster.wait_for_replicas().await.unwrap();
    failover.fail_over().await;
    failover
        .comes_to(&token, "node=replica; node-region=eu-west-1")
        .await;
    let answer = failover.read("session", Some(&token)).await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_token_whose_write_was_lost_is_told_so() {
    let mut failover = Failover::prepare(SUPERUSER).await;
    for replica in &failover.cluster.replicas {
        replica.cut_stream().await.unwrap();
    }
    let token = failover.acknowledged().await;
    failover.fail_over().await;
    until("the history is known", DEADLINE, async || {
        let answer = failover.read("session", Some(&token)).await;
        Ok((answer.status() == 409).then_some(()))
    })
    .await
    .unwrap();
    for level in ["eventual", "session", "strong"] {
        let answer = failover.read(level, Some(&token)).await;
        let detail = problem(answer, 409, "write-lost-in-failover").await;
        assert!(detail.contains("continue without the token"), "{detail}");
    }
    let answer = failover.read("session", None).await;
    assert_eq!(answer.status(), 200);

    let browser = failover
        .client
        .request(Method::GET, failover.gateway.url("/public/fees"))
        .header("Cookie", format!("__Host-tidegate-session={token}"));
    let answer = browser.send().await.unwrap();
    assert_eq!(
        header(&answer, "set-cookie"),
        "__Host-tidegate-session=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax",
        "a browser gets one error and continues"
    );
    problem(answer, 409, "write-lost-in-failover").await;
}

#[tokio::test]
async fn what_the_role_may_not_read_leaves_the_primary() {
    let mut failover = Failover::prepare(READER).await;
    let token = failover.acknowledged().await;
    failover.cluster.wait_for_replicas().await.unwrap();
    failover.fail_over().await;
    failover
        .comes_to(
            &token,
            "node=primary; staleness=0.000; reason=token-unverifiable",
        )
        .await;
}

#[tokio::test]
async fn a_token_of_another_cluster_leaves_the_primary() {
    let world = World::start().await;
    let token = TokenKeys::parse(TOKEN_SECRET).unwrap().sign(&WalPosition {
        system: SystemId(1),
        timeline: Timeline(1),
        lsn: Lsn(1),
    });
    let request = world
        .request(Method::GET, "/public/fees")
        .header("X-Consistency-Token", token);
    let answer = request.send().await.unwrap();
    let status = header(&answer, "consistency-status");
    assert!(status.ends_with("reason=token-unverifiable"), "{status}");
    assert_eq!(header(&answer, "x-route-primary"), "true");
}
