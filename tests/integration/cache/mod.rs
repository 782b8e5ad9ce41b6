//! The response cache, through the binary: what it answers, what it never answers, and how many
//! queries it makes.
//!
//! Every query writes a line to the log of its server, which works on a replica too; an advisory
//! lock, held by the test, prevents a query from being answered.

mod flights;
mod freshness;
mod purge;
mod requests;

use reqwest::{Client, Method, Response};
use serde_json::Value;
use tidegate::testkit::{PostgresServer, until};

use crate::world::{DEADLINE, World, header};

const SCHEMA: &str = "
create table words (id int primary key, word text not null);
insert into words select id, 'word ' || id from generate_series(1, 9) id;
create function asked(id text) returns text language plpgsql as $$
begin
    raise log 'asked for %', id;
    perform pg_advisory_xact_lock_shared(1);
    return id;
end $$;
";

/// One endpoint below paths with different lifetimes.
const FILE: &str = r#"
[[policy]]
path = "/fresh/*"
consistency = "eventual"
cache_control = "public, max-age=600"
[[policy]]
path = "/revalidated/*"
consistency = "eventual"
cache_control = "public, max-age=0, stale-while-revalidate=600"
[[policy]]
path = "/kept/*"
consistency = "eventual"
cache_control = "public, max-age=0, stale-if-error=600"
[[policy]]
path = "/short/*"
consistency = "eventual"
cache_control = "public, max-age=2"
[[policy]]
path = "/private/*"
consistency = "eventual"
cache_control = "private, max-age=600"
[[endpoint]]
method = "GET"
path = "/{lifetime}/{id}"
sql = """
select asked(:path.id) as id, word, :query.a as a, :query.b as b from words where id = :path.id::int
"""
single = true
[[endpoint]]
method = "GET"
path = "/fresh/header/{id}"
sql = "select asked(:path.id) as id, :header.x-note as note"
single = true
[[endpoint]]
method = "GET"
path = "/fresh/none/{id}"
sql = "select 1 as one from asked(:path.id) id where id = 'never'"
single = true
[[endpoint]]
method = "GET"
path = "/fresh/large/{id}"
sql = "select asked(:path.id) as id, repeat('x', 5000) as filler"
single = true
"#;

/// A replica with a gateway, and the cache configured by a section of the file.
async fn world(settings: &str) -> World {
    let world = World::with_file(SCHEMA, &format!("{settings}\n{FILE}")).await;
    world.health_turns(200).await;
    // Only the cache's queries are counted here.
    world.without_hedges().await;
    world
}

/// How often a server was queried for an id so far.
fn asked(server: &PostgresServer, id: u32) -> usize {
    let line = format!("LOG:  asked for {id}");
    server
        .log()
        .lines()
        .filter(|known| known.ends_with(&line))
        .count()
}

impl World {
    fn asked(&self, id: u32) -> usize {
        asked(&self.cluster.replicas[0], id)
    }

    async fn change(&self, id: u32, word: &str) {
        let sql = format!("update words set word = '{word}' where id = {id}");
        self.cluster.primary.execute(&sql).await.unwrap();
        self.cluster.wait_for_replicas().await.unwrap();
    }
}

/// Prevents a server from answering until it is dropped.
struct Gate(#[allow(dead_code, reason = "it holds the lock")] tokio_postgres::Client);

impl Gate {
    async fn shut(server: &PostgresServer) -> Self {
        let client = server.client().await.unwrap();
        client
            .batch_execute("select pg_advisory_lock(1)")
            .await
            .unwrap();
        Self(client)
    }
}

/// Waits until a number of queries wait at the gate of a server.
async fn held(server: &PostgresServer, count: usize) {
    let waiting = "wait_event_type = 'Lock' and query like '%asked%'";
    let condition = format!("count(*) = {count} from pg_stat_activity where {waiting}");
    server.wait_until(&condition).await.unwrap();
}

/// `Cache-Status` without the time to live, which differs in every run.
fn said(response: &Response) -> String {
    let status = header(response, "cache-status");
    let said = status.strip_prefix("tidegate; ").unwrap_or(status);
    said.split("; ttl=").next().unwrap().to_owned()
}

fn ttl(response: &Response) -> i64 {
    let status = header(response, "cache-status");
    status.split_once("ttl=").unwrap().1.parse().unwrap()
}

async fn word(response: Response) -> String {
    let status = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(status, 200, "{text}");
    let body: Value = serde_json::from_str(&text).unwrap();
    body["word"].as_str().unwrap().to_owned()
}

/// Sends a GET in the background, on a separate connection.
fn begin(client: &Client, url: String) -> tokio::task::JoinHandle<Response> {
    let request = client.request(Method::GET, url);
    tokio::spawn(async move { request.send().await.unwrap() })
}

/// Waits until a path is answered with a word.
async fn turns(world: &World, path: &str, expected: &str) {
    until(expected, DEADLINE, async || {
        let found = word(world.get(path).await).await;
        Ok((found == expected).then_some(()))
    })
    .await
    .unwrap();
}
