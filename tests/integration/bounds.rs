//! No answer is older than the bound that its request stated, however long it took.

use std::time::Duration;

use reqwest::{Method, Response};
use tidegate::testkit::until;

use crate::world::{DEADLINE, World, header, told};

/// Slow on a replica, so that the proof at the time of the request is older by then.
const SLOW: &str = r#"
[replication]
sample_interval = "100ms"
[[policy]]
path = "/slow"
consistency = "eventual"
[[endpoint]]
method = "GET"
path = "/slow"
sql = "select pg_sleep(case when pg_is_in_recovery() then 1.5 else 0 end)::text as slept"
single = true
[[endpoint]]
method = "PUT"
path = "/slow"
sql = "update moved set n = n + 1 returning n"
single = true
"#;
const SCHEMA: &str = "create table moved (n int); insert into moved values (0)";

const BOUND: Duration = Duration::from_secs(1);
const IS_ASKED: &str = "exists (select from pg_stat_activity \
    where state = 'active' and query like '%pg_sleep%' and pid <> pg_backend_pid())";

async fn world() -> World {
    let world = World::with_file(SCHEMA, SLOW).await;
    world.health_turns(200).await;
    // A hedge would be answered before.
    world.without_hedges().await;
    world
}

impl World {
    async fn read_slowly(&self, token: Option<&str>) -> Response {
        let bounded = format!("bounded;max-staleness={}", BOUND.as_secs());
        let mut read = self
            .request(Method::GET, "/slow")
            .header("X-Consistency", bounded);
        if let Some(token) = token {
            read = read.header("X-Consistency-Token", token);
        }
        let response = read.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let staleness: f64 = told(&response, "staleness").parse().unwrap();
        assert!(staleness <= BOUND.as_secs_f64(), "{staleness}");
        response
    }

    /// Commits something as soon as the replica runs the query, and continues to read.
    async fn read_what_moves(&self, token: Option<&str>) -> Response {
        let write = async {
            let replica = &self.cluster.replicas[0];
            replica.wait_until(IS_ASKED).await.unwrap();
            let moves = "update moved set n = n + 1";
            self.cluster.primary.execute(moves).await.unwrap();
        };
        tokio::join!(self.read_slowly(token), write).0
    }
}

#[tokio::test]
async fn an_answer_that_outlives_its_proof_is_not_given_out() {
    let world = world().await;
    let response = world.read_what_moves(None).await;
    let how = (told(&response, "node"), told(&response, "reason"));
    assert_eq!(how, ("primary", "bound-unproven"));
}

#[tokio::test]
async fn an_answer_that_has_what_its_token_saw_is_not_given_out_either_when_it_is_too_old() {
    let world = world().await;
    let write = world.request(Method::PUT, "/slow");
    let token = header(&write.send().await.unwrap(), "x-consistency-token").to_owned();
    world.cluster.wait_for_replicas().await.unwrap();
    let response = world.read_what_moves(Some(&token)).await;
    assert_eq!(told(&response, "node"), "primary");
}

/// The primary's own activity after its start ends some seconds later.
#[tokio::test]
async fn an_answer_that_took_long_is_proven_while_the_primary_is_idle() {
    let world = world().await;
    let served = async || {
        let response = world.read_slowly(None).await;
        let how = (told(&response, "node"), told(&response, "reason"));
        Ok((how == ("replica", "within-bound")).then_some(()))
    };
    until("the replica serves", DEADLINE, served).await.unwrap();
}
