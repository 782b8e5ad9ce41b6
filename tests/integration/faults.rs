//! Databases that lag, die, freeze and come back, seen by the gateway's clients. Eventual reads
//! state their level, so that a node answers each time rather than the response cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tidegate::testkit::{PostgresServer, Shutdown, until};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::world::{
    DEADLINE, World, client, configured, gateway_of, header, jwt, migrated_cluster, problem, told,
    wait_ready,
};

/// A lag limit that saves time.
const SHORT_LAG: &str = "[replication]\nmax_lag = \"700ms\"\n";
/// How long a node must be good before it is preferred again, for tests that wait for that.
const BRIEF_DWELL: &str = "[steering]\ndwell = \"1s\"\n";
/// What the design promises for a strong request without its primary.
const REFUSAL_MAX: Duration = Duration::from_secs(2);
/// How long an idle pair is watched.
const IDLE: Duration = Duration::from_secs(60);
/// Rare enough to leave the core to other tests.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// How a server fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Killed,
    Stopped,
    Frozen,
}

impl Fault {
    const ALL: [Self; 3] = [Self::Killed, Self::Stopped, Self::Frozen];

    async fn befall(self, server: &mut PostgresServer) {
        match self {
            Self::Killed => server.kill().await.unwrap(),
            Self::Stopped => server.stop(Shutdown::Fast).await.unwrap(),
            Self::Frozen => server.freeze().unwrap(),
        }
    }

    async fn end(self, server: &mut PostgresServer) {
        match self {
            Self::Killed | Self::Stopped => server.start().await.unwrap(),
            Self::Frozen => server.thaw(),
        }
    }
}

/// Reads the rates over and over.
struct Reader {
    stopped: Arc<AtomicBool>,
    task: JoinHandle<Vec<(u16, String)>>,
}

impl Reader {
    fn start(world: &World) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let (client, url) = (world.client.clone(), world.gateway.url("/public/rates"));
        let task = tokio::spawn(read(client, url, Arc::clone(&stopped)));
        Self { stopped, task }
    }

    /// Returns status and reason of every answer.
    async fn stop(self) -> Vec<(u16, String)> {
        self.stopped.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

async fn read(client: Client, url: String, stopped: Arc<AtomicBool>) -> Vec<(u16, String)> {
    let mut answers = Vec::new();
    let mut last = false;
    while !last {
        // One more, so that the change that was awaited is seen here too.
        last = stopped.load(Ordering::Relaxed);
        let request = client.get(&url).header("X-Consistency", "eventual");
        let response = request.send().await.unwrap();
        let reason = told(&response, "reason").to_owned();
        answers.push((response.status().as_u16(), reason));
        sleep(Duration::from_millis(10)).await;
    }
    answers
}

impl World {
    /// Waits until an eventual read is served for a reason.
    async fn reads_are(&self, reason: &str) -> Response {
        let wanted = async || {
            let response = self.get_at("/public/rates", "eventual").await;
            Ok((told(&response, "reason") == reason).then_some(response))
        };
        let what = format!("eventual reads are served for {reason}");
        until(&what, DEADLINE, wanted).await.unwrap()
    }

    /// Waits until an eventual read is served in a region for a reason.
    async fn reads_come_from(&self, region: &str, reason: &str) {
        let wanted = async || {
            let response = self.get_at("/public/rates", "eventual").await;
            let told = (told(&response, "node-region"), told(&response, "reason"));
            Ok((told == (region, reason)).then_some(()))
        };
        let what = format!("eventual reads come from {region} for {reason}");
        until(&what, DEADLINE, wanted).await.unwrap();
    }

    /// Asserts for a while that `/health/edge` reads healthy and caught up, give or take a moment:
    /// an idle primary still logs its running transactions and checkpoints.
    async fn stays_healthy_for(&self, duration: Duration) {
        let start = Instant::now();
        while start.elapsed() < duration {
            let response = self.get("/health/edge").await;
            assert_eq!(response.status(), 200, "{:?}", response.text().await);
            let body: Value = response.json().await.unwrap();
            let lag = body["replication_lag_secs"].as_f64().unwrap();
            assert!(lag < 1.0, "{body}");
            sleep(LOOK_INTERVAL).await;
        }
    }

    fn onramp(&self, jwt: &str, key: &str) -> RequestBuilder {
        let request = self
            .request(Method::POST, "/api/v1/onramp")
            .bearer_auth(jwt);
        let body = json!({"currency": "USD", "amount": "1.00"});
        request.header("Idempotency-Key", key).json(&body)
    }

    /// Asserts that reads and writes that need the primary are refused soon.
    async fn primary_is_refused(&self, jwt: &str) {
        let strong = self
            .request(Method::GET, "/public/rates")
            .header("X-Consistency", "strong");
        for request in [strong, self.onramp(jwt, "refused")] {
            let start = Instant::now();
            let response = request.send().await.unwrap();
            let took = start.elapsed();
            assert!(took < REFUSAL_MAX, "{took:?}");
            assert_eq!(header(&response, "retry-after"), "1");
            assert_eq!(header(&response, "x-route-primary"), "");
            problem(response, 503, "no-primary").await;
        }
    }
}

#[tokio::test]
async fn a_replica_over_the_default_lag_is_passed_over_until_it_has_caught_up() {
    let mut world = World::start().await;
    world.health_turns(200).await;
    // Once it is paused, a record of the primary's own may come before the write.
    let before = Instant::now();
    world.replica().pause_replay().await.unwrap();
    world.write().await;
    let body = world.health_turns(503).await;
    assert!(before.elapsed() > Duration::from_secs(5));
    assert_eq!(body["status"], "unhealthy");
    assert!(
        // Rounded to milliseconds.
        body["replication_lag_secs"].as_f64().unwrap() >= 5.0,
        "{body}"
    );
    assert_eq!(body["checks"]["replica"]["condition"], "lagging");
    let read = world.get_at("/public/rates", "eventual").await;
    assert_eq!(told(&read, "reason"), "replica-lagging");
    assert_eq!(header(&read, "x-route-primary"), "true");
    world.replica().resume_replay().await.unwrap();
    world.health_turns(200).await;
    let read = world.reads_are("fresh").await;
    assert_eq!(told(&read, "node"), "replica");
}

#[tokio::test]
async fn a_cut_stream_is_harmless_until_something_is_written() {
    let mut world = World::configured(SHORT_LAG).await;
    world.health_turns(200).await;
    for _ in 0..2 {
        let switch = "select pg_switch_wal()";
        world.cluster.primary.execute(switch).await.unwrap();
        world.cluster.wait_for_replicas().await.unwrap();
        world.health_turns(200).await;
        world.stays_healthy_for(Duration::from_secs(2)).await;
    }
    world.replica().cut_stream().await.unwrap();
    world.stays_healthy_for(Duration::from_secs(2)).await;
    let body = world.health_turns(200).await;
    assert_eq!(body["checks"]["replica"]["condition"], "disconnected");
    assert_eq!(
        told(&world.get_at("/public/rates", "eventual").await, "node"),
        "replica"
    );
    world.write().await;
    let body = world.health_turns(503).await;
    assert!(
        body["replication_lag_secs"].as_f64().unwrap() > 0.7,
        "{body}"
    );
    let read = world.get_at("/public/rates", "eventual").await;
    assert_eq!(told(&read, "reason"), "replica-lagging");
    world.replica().restore_stream().await.unwrap();
    world.health_turns(200).await;
    world.reads_are("fresh").await;
}

#[tokio::test]
async fn no_read_fails_while_a_replica_dies_and_comes_back() {
    let mut world = World::configured(BRIEF_DWELL).await;
    world.health_turns(200).await;
    for fault in Fault::ALL {
        let reader = Reader::start(&world);
        let before = Instant::now();
        fault.befall(world.replica()).await;
        let body = world.health_turns(503).await;
        assert!(before.elapsed() > Duration::from_millis(500), "{fault:?}");
        assert_eq!(body["replication_lag_secs"], Value::Null);
        assert_eq!(body["checks"]["replica"]["condition"], "unreachable");
        let read = world.reads_are("replica-down").await;
        assert_eq!(told(&read, "node"), "primary");
        let answers = reader.stop().await;
        assert!(
            answers.iter().all(|(status, _)| *status == 200),
            "{fault:?}"
        );
        // Either a request or the monitor may detect it first.
        let elsewhere = ["retry", "hedge", "replica-down"];
        let helped = answers
            .iter()
            .any(|(_, reason)| elsewhere.contains(&reason.as_str()));
        assert!(helped, "{fault:?}: {answers:?}");
        fault.end(world.replica()).await;
        world.health_turns(200).await;
        world.reads_are("fresh").await;
    }
}

#[tokio::test]
async fn without_its_primary_a_region_reads_on_and_recovers_by_itself() {
    let mut world = World::configured(BRIEF_DWELL).await;
    let jwt = jwt("alice").await;
    for fault in [Fault::Killed, Fault::Stopped] {
        world.health_turns(200).await;
        fault.befall(&mut world.cluster.primary).await;
        world.primary_is_refused(&jwt).await;
        let read = world.get_at("/public/rates", "eventual").await;
        assert_eq!(
            (read.status().as_u16(), told(&read, "node")),
            (200, "replica")
        );
        let body = world.health_turns(503).await;
        assert_eq!(body["checks"]["primary"]["condition"], "unreachable");
        world.primary_is_refused(&jwt).await;
        world.reads_are("fresh").await;
        fault.end(&mut world.cluster.primary).await;
        world.health_turns(200).await;
        let written = world.onramp(&jwt, &format!("{fault:?}")).send().await;
        assert_eq!(written.unwrap().status(), 201);
    }
}

#[tokio::test]
async fn a_frozen_primary_costs_a_strong_read_two_seconds_at_most() {
    let mut world = World::start().await;
    let jwt = jwt("alice").await;
    world.health_turns(200).await;
    world.cluster.primary.freeze().unwrap();
    let mut healthy = true;
    while healthy {
        let start = Instant::now();
        let response = world.get_at("/public/rates", "strong").await;
        let took = start.elapsed();
        assert!(took < REFUSAL_MAX, "{took:?}");
        problem(response, 503, "no-primary").await;
        healthy = world.get("/health/edge").await.status() == 200;
    }
    world.primary_is_refused(&jwt).await;
    world.cluster.primary.thaw();
    world.health_turns(200).await;
    let written = world.onramp(&jwt, "thawed").send().await.unwrap();
    assert_eq!(written.status(), 201);
}

#[tokio::test]
async fn an_idle_primary_reads_healthy_with_no_lag_for_a_minute() {
    let world = World::start().await;
    world.health_turns(200).await;
    world.stays_healthy_for(IDLE).await;
}

#[tokio::test]
async fn a_gateway_starts_without_databases_and_serves_once_they_are_up() {
    let mut cluster = migrated_cluster(1).await;
    cluster.primary.stop(Shutdown::Fast).await.unwrap();
    cluster.replicas[0].stop(Shutdown::Fast).await.unwrap();
    let gateway = gateway_of(&cluster).start().await.unwrap();
    let mut world = World {
        cluster,
        gateway,
        client: client(),
    };
    let readiness = world.client.get(world.gateway.admin_url("/readyz"));
    assert_eq!(readiness.send().await.unwrap().status(), 503);
    assert_eq!(world.get("/health/live").await.status(), 200);
    let body = world.health_turns(503).await;
    assert_eq!(body["replication_lag_secs"], Value::Null);
    let jwt = jwt("alice").await;
    world.primary_is_refused(&jwt).await;
    let read = world.get_at("/public/rates", "eventual").await;
    assert_eq!(header(&read, "retry-after"), "1");
    problem(read, 503, "no-node").await;

    world.replica().start().await.unwrap();
    wait_ready(&world.client, &world.gateway).await;
    let read = async || {
        Ok((world.get_at("/public/rates", "eventual").await.status() == 200).then_some(()))
    };
    until("the replica alone serves", DEADLINE, read)
        .await
        .unwrap();
    world.primary_is_refused(&jwt).await;
    world.cluster.primary.start().await.unwrap();
    world.health_turns(200).await;
    world.reads_are("fresh").await;
    let written = world.onramp(&jwt, "up").send().await.unwrap();
    assert_eq!(written.status(), 201);
}

#[tokio::test]
async fn another_regions_replica_serves_before_the_primary_does() {
    const TOPOLOGY: &str = "
        [replication]
        max_lag = \"700ms\"
        [topology]
        primary_region = \"us-east-1\"
        [[topology.replica]]
        region = \"ap-southeast-1\"
        url = \"${AP_REPLICA_URL}\"
    ";
    let cluster = migrated_cluster(2).await;
    let gateway = gateway_of(&cluster).env("AP_REPLICA_URL", cluster.replicas[1].url());
    let gateway = configured(&cluster, gateway, TOPOLOGY);
    let mut world = World::over(cluster, gateway).await;
    world.reads_come_from("eu-west-1", "fresh").await;

    world.replica().pause_replay().await.unwrap();
    world.write().await;
    world
        .reads_come_from("ap-southeast-1", "replica-lagging")
        .await;
    world.cluster.replicas[1]
        .stop(Shutdown::Fast)
        .await
        .unwrap();
    world
        .cluster
        .primary
        .stop(Shutdown::Immediate)
        .await
        .unwrap();
    let read = world.get_at("/public/rates", "eventual").await;
    assert_eq!(
        told(&read, "node-region"),
        "eu-west-1",
        "a lagging node is better than none"
    );

    world.cluster.primary.start().await.unwrap();
    world.cluster.replicas[1].start().await.unwrap();
    world.replica().kill().await.unwrap();
    world
        .reads_come_from("ap-southeast-1", "replica-down")
        .await;
    let strong = world.get_at("/public/rates", "strong").await;
    assert_eq!(told(&strong, "node-region"), "us-east-1");
}

#[tokio::test]
async fn a_replica_named_as_primary_never_serves_strong_reads_or_writes() {
    let cluster = migrated_cluster(1).await;
    let gateway = gateway_of(&cluster).env("DATABASE_URL", cluster.replicas[0].url());
    let world = World::over(cluster, gateway).await;
    let jwt = jwt("alice").await;
    for _ in 0..3 {
        world.primary_is_refused(&jwt).await;
    }
    let body = world.health_turns(503).await;
    assert_eq!(body["checks"]["primary"]["condition"], "diverged");
}

#[tokio::test]
async fn a_bounded_read_is_the_replicas_while_its_staleness_is_within_the_bound() {
    let mut world = World::start().await;
    world.health_turns(200).await;
    let read = world
        .get_at("/public/rates", "bounded;max-staleness=30")
        .await;
    assert_eq!(
        (told(&read, "node"), told(&read, "reason")),
        ("replica", "within-bound")
    );
    assert!(told(&read, "staleness").parse::<f64>().unwrap() <= 30.0);
    assert!(!header(&read, "x-consistency-token").is_empty());
    let read = world
        .get_at("/public/rates", "bounded;max-staleness=0")
        .await;
    assert_eq!(
        (told(&read, "node"), told(&read, "reason")),
        ("primary", "bound-unproven")
    );

    world.replica().pause_replay().await.unwrap();
    world.write().await;
    let written = Instant::now();
    until("the bound is exceeded", DEADLINE, async || {
        let read = world
            .get_at("/public/rates", "bounded;max-staleness=2")
            .await;
        if told(&read, "node") == "replica" {
            assert!(written.elapsed() < Duration::from_millis(2_500));
            return Ok(None);
        }
        // A replica that is slow on a busy machine may have been within the bound still.
        if told(&read, "reason") == "hedge" {
            return Ok(None);
        }
        assert_eq!(told(&read, "reason"), "bound-unproven");
        Ok(Some(()))
    })
    .await
    .unwrap();
    world.cluster.primary.stop(Shutdown::Fast).await.unwrap();
    let read = world
        .get_at("/public/rates", "bounded;max-staleness=1")
        .await;
    problem(read, 503, "no-node").await;
}

#[tokio::test]
async fn a_session_sees_its_own_writes_and_never_goes_back() {
    let mut world = World::start().await;
    world.health_turns(200).await;
    let jwt = jwt("alice").await;
    let session = async |token: &str| {
        let request = world.request(Method::GET, "/public/rates");
        let request = request.header("X-Consistency-Token", token);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(told(&response, "level"), "session");
        response
    };
    let written = world.onramp(&jwt, "session").send().await.unwrap();
    assert_eq!(written.status(), 201);
    let token = header(&written, "x-consistency-token").to_owned();
    until("the replica reaches the token", DEADLINE, async || {
        let read = session(&token).await;
        Ok(match told(&read, "reason") {
            "token-reached" | "waited" => {
                assert_eq!(told(&read, "node"), "replica");
                Some(())
            }
            reason => {
                assert_eq!((told(&read, "node"), reason), ("primary", "token-behind"));
                None
            }
        })
    })
    .await
    .unwrap();

    world.cluster.replicas[0].pause_replay().await.unwrap();
    let written = world.onramp(&jwt, "behind").send().await.unwrap();
    let newer = header(&written, "x-consistency-token").to_owned();
    let read = session(&newer).await;
    assert_eq!(
        (told(&read, "node"), told(&read, "reason")),
        ("primary", "token-behind")
    );
    let older = session(&token).await;
    assert_eq!(told(&older, "node"), "replica");
    let request = world
        .request(Method::GET, "/public/rates")
        .header("X-Consistency", "session");
    let fresh = request.send().await.unwrap();
    assert_eq!(
        (told(&fresh, "level"), told(&fresh, "node")),
        ("session", "replica")
    );
    assert!(!header(&fresh, "x-consistency-token").is_empty());

    world.cluster.primary.stop(Shutdown::Fast).await.unwrap();
    let request = world.request(Method::GET, "/public/rates");
    let refused = request.header("X-Consistency-Token", &newer).send().await;
    problem(refused.unwrap(), 503, "no-node").await;
    world.replica().resume_replay().await.unwrap();
}
