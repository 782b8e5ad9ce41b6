//! Requests of one gateway.

use http::Method;
use reqwest::{RequestBuilder, Response};
use serde_json::json;
use tidegate::testkit::{Cluster, GatewayCommand, until};

use super::REQUESTS;
use super::callgrind::{Callgrind, Script};
use crate::upstream::kit::{App, endpoint};
use crate::world::{DEADLINE, TOKEN_SECRET, World, configured};

const SCHEMA: &str =
    "create table marks (id bigint generated always as identity primary key, text text not null)";

/// The monitor samples rarely, so that it hardly counts.
const ENDPOINTS: &str = r#"
[replication]
sample_interval = "2s"
[[policy]]
path = "/kept"
consistency = "eventual"
cache_control = "public, max-age=3600"
[[policy]]
path = "/read/*"
consistency = "eventual"
[[endpoint]]
method = "GET"
path = "/kept"
sql = "select repeat('x', 1000) as filler"
[[endpoint]]
method = "GET"
path = "/read/{id}"
sql = "select :path.id as id"
single = true
[[policy]]
path = "/app/*"
consistency = "eventual"
[[endpoint]]
method = "POST"
path = "/marks"
sql = "insert into marks (text) values (:body.text) returning id"
single = true
"#;

/// The endpoints that are used, before others that are not.
fn endpoints(more: usize) -> String {
    let row = |number| {
        format!(
            "[[policy]]\npath = \"/more/{number}/*\"\nconsistency = \"eventual\"\n\
             [[endpoint]]\nmethod = \"GET\"\npath = \"/more/{number}/{{id}}\"\n\
             sql = \"select {number} as one, :path.id as id\"\n"
        )
    };
    let more: String = (0..more).map(row).collect();
    format!("{ENDPOINTS}{more}")
}

/// A request that is counted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    CachedHit,
    ReplicaRead,
    /// With the token of a write.
    SessionRead,
    Write,
    /// To an application, without a body.
    Proxied,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::CachedHit => "cached hit",
            Self::ReplicaRead => "replica read",
            Self::SessionRead => "session read",
            Self::Write => "write",
            Self::Proxied => "proxied request",
        }
    }

    fn request(self, world: &World, token: &str) -> RequestBuilder {
        let get = |path| world.request(Method::GET, path);
        match self {
            Self::CachedHit => get("/kept"),
            Self::ReplicaRead => get("/read/7"),
            Self::SessionRead => get("/read/7").header("X-Consistency-Token", token),
            Self::Write => {
                let post = world.request(Method::POST, "/marks");
                post.json(&json!({ "text": "counted" }))
            }
            Self::Proxied => get("/app/answer"),
        }
    }
}

/// A gateway that callgrind runs.
pub(super) struct Counted {
    world: World,
    callgrind: Callgrind,
    token: String,
    _application: App,
}

impl Counted {
    /// Counts nothing yet.
    pub(super) async fn start(more: usize) -> Self {
        Self::with(more, &[]).await
    }

    /// The same with more variables.
    pub(super) async fn with(more: usize, variables: &[(&str, &str)]) -> Self {
        let cluster = Cluster::start(1).await.unwrap();
        cluster.primary.execute(SCHEMA).await.unwrap();
        cluster.wait_for_replicas().await.unwrap();
        let application = App::answering(200, "an answer").await;
        let file = endpoints(more) + &endpoint("GET", "/app/{*rest}", &application.url());
        let script = Script::new();
        let gateway = GatewayCommand::new(script.path(), "serve")
            .env("REGION", "eu-west-1")
            .env("DATABASE_URL", cluster.primary.url())
            .env("DATABASE_READ_REPLICA_URL", cluster.replicas[0].url())
            .env("TOKEN_SECRET", TOKEN_SECRET)
            .env("RUST_LOG", "info,tidegate::access=warn");
        let variables = variables.iter();
        let gateway = variables.fold(gateway, |all, (name, value)| all.env(name, *value));
        let gateway = configured(&cluster, gateway, &file);
        let world = World::over(cluster, gateway).await;
        // The proofs of what statements leave in a session are complete.
        let judged = "exists (select from pg_stat_activity where state = 'idle' \
             and application_name like 'tidegate%' and query like '%with recursive%')";
        world.cluster.replicas[0].wait_until(judged).await.unwrap();
        // While everything is slow, the first ones may be refused.
        let token = until("a write has a token", DEADLINE, async || {
            let written = Kind::Write.request(&world, "").send().await?;
            Ok(token_of(&written))
        });
        let token = token.await.unwrap();
        Self {
            token,
            callgrind: script.counting(&world.gateway),
            world,
            _application: application,
        }
    }

    /// Counts from now on, and waits until the state is stable.
    pub(super) async fn begin(&self, kind: Kind) {
        self.send(kind, 50).await;
        self.callgrind.begin();
        self.send(kind, 20).await;
    }

    /// Returns the instructions of one request out of many that are sent one after another.
    pub(super) async fn round(&mut self, kind: Kind) -> u64 {
        self.callgrind.reset();
        self.send(kind, REQUESTS).await;
        self.callgrind.read() / REQUESTS
    }

    pub(super) fn end(&self) {
        self.callgrind.end();
    }

    async fn send(&self, kind: Kind, times: u64) {
        for _ in 0..times {
            let request = kind.request(&self.world, &self.token);
            let response = request.send().await.unwrap();
            assert!(response.status().is_success(), "{kind:?}: {response:?}");
            response.bytes().await.unwrap();
        }
    }
}

fn token_of(response: &Response) -> Option<String> {
    let token = response.headers().get("x-consistency-token")?;
    token.to_str().ok().map(str::to_owned)
}
