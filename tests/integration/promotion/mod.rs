//! Promotions of replicas, as seen by the gateway's clients: which server takes the writes, and
//! which never does again.

mod followed_url;
mod refusal;
mod topology;

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tidegate::testkit::{Cluster, GatewayCommand, GatewayProcess, PostgresServer, until};
use tokio::time::Instant;

use crate::world::{DEADLINE, client, configured, gateway_of, header, problem, told, wait_ready};

/// `reader` may see everything except files.
const SCHEMA: &str = "
    create table notes (id bigint generated always as identity, text text);
    create role reader login password 'keep-me-out-of-logs';
    grant pg_read_all_data, pg_write_all_data to reader";
const COUNT: &str = "select count(*) from notes";

const CONFIG: &str = r#"
[[policy]]
path = "/notes"
consistency = "eventual"

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

/// From the end of a promotion to the first accepted write. An idle machine needs half a second, or
/// up to one and a half if a name has to be resolved again.
const RECOVERY_MAX: Duration = Duration::from_secs(3);

/// A primary and two replicas, and a gateway in front of them.
struct Failover {
    cluster: Cluster,
    gateway: GatewayProcess,
    client: Client,
}

impl Failover {
    /// A gateway in eu-west-1 knows the primary and both replicas by their own addresses.
    async fn with_topology() -> Self {
        let cluster = cluster().await;
        let gateway = topology_of(&cluster);
        Self::over(cluster, gateway).await
    }

    /// Starts the gateway and writes the first note.
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

    fn post(&self, text: &str) -> RequestBuilder {
        let request = self.client.post(self.gateway.url("/notes"));
        request.json(&json!({ "text": text }))
    }

    fn get(&self, level: &str) -> RequestBuilder {
        let request = self.client.get(self.gateway.url("/notes"));
        request.header("X-Consistency", level)
    }

    async fn write(&self, text: &str) -> Response {
        self.post(text).send().await.unwrap()
    }

    async fn read(&self, level: &str) -> Response {
        self.get(level).send().await.unwrap()
    }

    async fn session(&self, token: &str) -> Response {
        let request = self.get("session").header("X-Consistency-Token", token);
        request.send().await.unwrap()
    }

    /// Writes until it is accepted, and returns how long that took. A refused write was not
    /// executed, and its answer has `Retry-After`.
    async fn write_is_accepted(&self, text: &str) -> (Duration, Response) {
        let start = Instant::now();
        let accepted = until("a write is accepted", DEADLINE, async || {
            let response = self.write(text).await;
            if response.status() == 201 {
                return Ok(Some(response));
            }
            assert_eq!(header(&response, "retry-after"), "1");
            problem(response, 503, "no-primary").await;
            Ok(None)
        });
        let accepted = accepted.await.unwrap();
        (start.elapsed(), accepted)
    }

    /// Waits until a session read with a token is answered in a given way.
    async fn comes_to(&self, token: &str, wanted: &str) {
        until(wanted, DEADLINE, async || {
            let answer = self.session(token).await;
            let status = header(&answer, "consistency-status");
            Ok(status.contains(wanted).then_some(()))
        })
        .await
        .unwrap();
    }

    /// Reads and writes that need the primary are refused, and nothing is written.
    async fn primary_is_refused(&self) {
        for request in [self.get("strong"), self.post("refused")] {
            let response = request.send().await.unwrap();
            assert_eq!(header(&response, "retry-after"), "1");
            problem(response, 503, "no-primary").await;
        }
    }

    async fn metrics(&self) -> String {
        let page = self.client.get(self.gateway.admin_url("/metrics"));
        page.send().await.unwrap().text().await.unwrap()
    }
}

async fn cluster() -> Cluster {
    let cluster = Cluster::start(2).await.unwrap();
    cluster.primary.execute(SCHEMA).await.unwrap();
    cluster.wait_for_replicas().await.unwrap();
    cluster
}

fn topology_of(cluster: &Cluster) -> GatewayCommand {
    let gateway = gateway_of(cluster).env("AP_REPLICA_URL", cluster.replicas[1].url());
    configured(cluster, gateway, &format!("{TOPOLOGY}{CONFIG}"))
}

async fn count(server: &PostgresServer) -> u32 {
    server.value(COUNT).await.unwrap().unwrap().parse().unwrap()
}

/// Role and region of the node that answered.
fn node(response: &Response) -> (&str, &str) {
    (told(response, "node"), told(response, "node-region"))
}

async fn texts(response: Response) -> Vec<String> {
    let notes: Vec<Value> = response.json().await.unwrap();
    let text = |note: &Value| note["text"].as_str().unwrap().to_owned();
    notes.iter().map(text).collect()
}
