//! The cost of a request on a long link to the primary: one network round trip.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::json;
use tidegate::testkit::DelayProxy;
use tokio::time::Instant;

use crate::world::{World, configured, gateway_of, header, jwt, migrated_cluster};

/// The distance of the primary.
const ROUND_TRIP: Duration = Duration::from_millis(80);
/// A round trip and everything that the gateway does itself, in the profile of the tests. The bench measures
/// half of all requests.
const QUICKEST_MAX: Duration = Duration::from_millis(95);
const REQUESTS: usize = 21;

/// One connection, kept open, and a monitor that has sampled once: nothing else is sent on the
/// link.
const QUIET: &str = "
[pool]
connections_max = 1
connections_min = 1
[replication]
sample_interval = \"10m\"
";

/// A gateway whose primary is at the other end of a long link.
struct Distant {
    world: World,
    line: DelayProxy,
}

impl Distant {
    async fn start() -> Self {
        let cluster = migrated_cluster(1).await;
        let line = DelayProxy::start(cluster.primary.address()).await.unwrap();
        line.set_round_trip(ROUND_TRIP);
        let url = cluster.primary.url_at(line.address());
        let gateway = gateway_of(&cluster).env("DATABASE_URL", url);
        let gateway = configured(&cluster, gateway, QUIET);
        let world = World::over(cluster, gateway).await;
        // Then its catalogue has been read, too.
        world.proven("primary").await;
        Self { world, line }
    }

    /// Asserts that every request is one turn on the line, answered with a token, and that the quickest
    /// takes little longer than the round trip: what else the machine does only adds time. The first
    /// may still have to wait for the pool.
    async fn costs_one_round_trip(&self, request: impl Fn(usize) -> RequestBuilder) {
        let mut took = Vec::new();
        for number in 0..=REQUESTS {
            let (turns, start) = (self.line.turns(), Instant::now());
            let response = request(number).send().await.unwrap();
            took.push(start.elapsed());
            assert!(response.status().is_success(), "{response:?}");
            assert_ne!(header(&response, "x-consistency-token"), "");
            assert_eq!(header(&response, "x-route-primary"), "true");
            let turns = self.line.turns() - turns;
            assert!(turns == 1 || number == 0, "{turns} turns for one request");
        }
        let warm = took.split_off(1);
        let quickest = warm.iter().min().unwrap();
        assert!(*quickest >= ROUND_TRIP, "the line is long: {warm:?}");
        assert!(*quickest < QUICKEST_MAX, "{warm:?}");
    }
}

#[tokio::test]
async fn a_strong_read_and_its_token_cost_one_round_trip() {
    let distant = Distant::start().await;
    let request = |_| {
        let request = distant.world.request(Method::GET, "/public/rates");
        request.header("X-Consistency", "strong")
    };
    distant.costs_one_round_trip(request).await;
}

#[tokio::test]
async fn a_write_and_its_token_cost_one_round_trip() {
    let distant = Distant::start().await;
    let jwt = jwt("alice").await;
    let request = |number| {
        let request = distant.world.request(Method::POST, "/api/v1/transfers");
        let body = json!({"to": "bob", "currency": "USD", "amount": "0.01"});
        let key = format!("transfer {number}");
        let request = request.bearer_auth(&jwt).header("Idempotency-Key", key);
        request.json(&body)
    };
    distant.costs_one_round_trip(request).await;
}
