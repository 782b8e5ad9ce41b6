//! Replicas that are promoted, seen by the gateway's clients: who takes the writes, and who never
//! does any more.

use std::time::Duration;

use reqwest::{Client, Response};
use serde_json::{Value, json};
use tidegate::demo::{Cluster, GatewayCommand, GatewayProcess, PostgresServer, until};
use tokio::time::Instant;

use crate::world::{DEADLINE, client, configured, gateway_of, header, problem, told, wait_ready};

const SCHEMA: &str = "create table notes (id bigint generated always as identity, text text)";
const COUNT: &str = "select count(*) from notes";

const CONFIG: &str = r#"
[[policy]]
path = "/notes"
consistency = "strong"

[[endpoint]]
method = "GET"
path = "/notes"
sql = "select text from notes order by id"

[[endpoint]]
method = "POST"
path = "/notes"
status = 201
sql = "insert into notes (text) values (:body.text) returning text"
single = true
"#;

const TOPOLOGY: &str = r#"
[topology]
primary_region = "us-east-1"
[[topology.replica]]
region = "ap-southeast-1"
url = "${AP_REPLICA_URL}"
"#;

/// From the end of `pg_promote()` to the first accepted write. Twice what an idle machine needs.
const RECOVERY_MAX: Duration = Duration::from_secs(3);

/// A gateway in eu-west-1 over a primary, its own replica and maybe one in ap-southeast-1.
struct Failover {
    cluster: Cluster,
    gateway: GatewayProcess,
    client: Client,
}

impl Failover {
    /// The gateway knows the primary and both replicas by their own addresses.
    async fn with_topology() -> Self {
        let cluster = cluster().await;
        let gateway = gateway_of(&cluster).env("AP_REPLICA_URL", cluster.replicas[1].url());
        let gateway = configured(&cluster, gateway, &format!("{TOPOLOGY}{CONFIG}"));
        Self::over(cluster, gateway).await
    }

    async fn over(cluster: Cluster, gateway: GatewayCommand) -> Self {
        let gateway = gateway.start().await.unwrap();
        let failover = Self {
            cluster,
            gateway,
            client: client(),
        };
        wait_ready(&failover.client, &failover.gateway).await;
        assert_eq!(failover.write("first").await.status(), 201);
        failover.cluster.wait_for_replicas().await.unwrap();
        failover
    }

    async fn write(&self, text: &str) -> Response {
        let request = self.client.post(self.gateway.url("/notes"));
        let request = request.json(&json!({ "text": text }));
        request.send().await.unwrap()
    }

    async fn read(&self, level: &str) -> Response {
        let request = self.client.get(self.gateway.url("/notes"));
        request.header("X-Consistency", level).send().await.unwrap()
    }

    /// Writes until it is accepted, and returns how long that took.
    async fn write_is_accepted(&self, text: &str) -> (Duration, Response) {
        let start = Instant::now();
        let accepted = until("a write is accepted", DEADLINE, async || {
            let response = self.write(text).await;
            match response.status().as_u16() {
                201 => Ok(Some(response)),
                // A refusal has done nothing and says when to come back.
                503 => {
                    assert_eq!(header(&response, "retry-after"), "1");
                    problem(response, 503, "no-primary").await;
                    Ok(None)
                }
                status => panic!("{status}: {}", response.text().await.unwrap()),
            }
        });
        let accepted = accepted.await.unwrap();
        (start.elapsed(), accepted)
    }

    async fn edge(&self) -> Value {
        let response = self.client.get(self.gateway.url("/health/edge"));
        response.send().await.unwrap().json().await.unwrap()
    }
}

async fn cluster() -> Cluster {
    let cluster = Cluster::start(2).await.unwrap();
    cluster.primary.execute(SCHEMA).await.unwrap();
    cluster.wait_for_replicas().await.unwrap();
    cluster
}

async fn count(server: &PostgresServer) -> String {
    server.value(COUNT).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_promoted_replica_of_the_topology_takes_the_writes_soon_and_without_a_restart() {
    let mut failover = Failover::with_topology().await;
    failover.cluster.primary.kill().await.unwrap();
    failover.cluster.replicas[1].promote().await.unwrap();
    let (took, written) = failover.write_is_accepted("second").await;
    assert!(took < RECOVERY_MAX, "{took:?}");
    assert_eq!(
        (told(&written, "node"), told(&written, "node-region")),
        ("primary", "ap-southeast-1")
    );
    assert_eq!(header(&written, "x-route-primary"), "true");

    let read = failover.read("strong").await;
    assert_eq!(
        (told(&read, "node"), told(&read, "node-region")),
        ("primary", "ap-southeast-1")
    );
    assert_eq!(
        read.json::<Value>().await.unwrap(),
        json!([{ "text": "first" }, { "text": "second" }])
    );
    let edge = failover.edge().await;
    assert_eq!(
        edge["checks"]["primary"],
        json!({ "ok": true, "condition": "fresh" })
    );
    let log = failover
        .gateway
        .wait_for_log("a promotion was seen")
        .await
        .unwrap();
    assert!(
        log.contains("ap-southeast-1") && log.contains("timeline"),
        "{log}"
    );
}

#[tokio::test]
async fn a_former_primary_that_lives_on_is_never_written_to_once_the_promotion_is_known() {
    let failover = Failover::with_topology().await;
    let [promoted, _] = &failover.cluster.replicas[..] else {
        panic!("two replicas")
    };
    promoted.promote().await.unwrap();
    until("the promoted one takes the writes", DEADLINE, async || {
        let written = failover.write("moved").await;
        Ok((told(&written, "node-region") == "eu-west-1").then_some(()))
    })
    .await
    .unwrap();
    let (before, mine) = (
        count(&failover.cluster.primary).await,
        count(promoted).await,
    );
    for _ in 0..50 {
        let written = failover.write("more").await;
        assert_eq!(written.status(), 201);
        assert_eq!(told(&written, "node-region"), "eu-west-1");
        assert_eq!(
            told(&failover.read("strong").await, "node-region"),
            "eu-west-1"
        );
    }
    assert_eq!(count(&failover.cluster.primary).await, before);
    let mine: u32 = mine.parse().unwrap();
    assert_eq!(count(promoted).await, (mine + 50).to_string());
}
