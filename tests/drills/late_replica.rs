//! The only replica is late by seconds under load: what it cannot prove, the primary serves.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tidegate::testkit::DelayProxy;
use tokio::time::Instant;

use super::drill::{Length, Row, ms};
use super::scene::{READ, TO_PRIMARY, pass};
use super::traffic::{Answers, Traffic};
use crate::world::{World, configured, gateway_of, header, jwt, migrated_cluster};

/// How late the replica replays.
const LATE: &str = "3s";

/// Requests a second, 600 in all; half of it in the short form, whose gateway is not built for speed.
const EVENTUAL: u32 = 60;
const BOUNDED: u32 = 240;
const SESSION: u32 = 240;
const STRONG: u32 = 40;
const WRITES: u32 = 20;

/// Opening a connection takes five round trips or so.
const WARM_UP: Duration = Duration::from_secs(2);
const ANSWERED_MIN: f64 = 0.995;
const MOST_OF_BEFORE: f64 = 1.5;

/// The traffic at each level.
struct Load {
    eventual: Traffic,
    bounded: Traffic,
    session: Traffic,
    strong: Traffic,
    writes: Traffic,
    started: Instant,
}

/// Its answers after the warm-up.
struct Answered {
    eventual: Answers,
    bounded: Answers,
    session: Answers,
    strong: Answers,
    writes: Answers,
}

impl Load {
    /// Sessions have the newest token.
    fn start(length: Length, world: &World, jwt: &str, token: &Arc<Mutex<String>>) -> Self {
        let rate = |per_second| match length {
            Length::Full => per_second,
            Length::Short => per_second / 2,
        };
        let read = |per_second, level: &'static str, token: Option<Arc<Mutex<String>>>| {
            let (client, url) = (world.client.clone(), world.gateway.url(READ));
            Traffic::start(rate(per_second), move |_| {
                let request = client.get(&url).header("X-Consistency", level);
                match &token {
                    Some(token) => request.header("X-Consistency-Token", newest(token)),
                    None => request,
                }
            })
        };
        Self {
            eventual: read(EVENTUAL, "eventual", None),
            bounded: read(BOUNDED, "bounded;max-staleness=1", None),
            session: read(SESSION, "session", Some(Arc::clone(token))),
            strong: read(STRONG, "strong", None),
            writes: Traffic::start(rate(WRITES), writes(world, jwt)),
            started: Instant::now(),
        }
    }

    async fn stop(self) -> Answered {
        let from = self.started + WARM_UP;
        Answered {
            eventual: self.eventual.stop().await.since(from),
            bounded: self.bounded.stop().await.since(from),
            session: self.session.stop().await.since(from),
            strong: self.strong.stop().await.since(from),
            writes: self.writes.stop().await.since(from),
        }
    }
}

fn newest(token: &Mutex<String>) -> String {
    let token = token.lock().unwrap_or_else(PoisonError::into_inner);
    token.clone()
}

fn writes(world: &World, jwt: &str) -> impl Fn(usize) -> reqwest::RequestBuilder + Send + 'static {
    let (client, url) = (world.client.clone(), world.gateway.url("/api/v1/onramp"));
    let (jwt, run) = (jwt.to_owned(), fastrand::u64(..));
    move |number| {
        let request = client.request(Method::POST, &url).bearer_auth(&jwt);
        let request = request.header("Idempotency-Key", format!("{run} {number}"));
        request.json(&json!({"currency": "USD", "amount": "1.00"}))
    }
}

/// Lets time pass, with a write now and then whose token the sessions have from then on.
async fn write_for(world: &World, jwt: &str, token: &Mutex<String>, time: Duration) {
    let (write, end) = (writes(world, jwt), Instant::now() + time);
    for number in 0.. {
        let written = write(number).send().await.unwrap();
        let new = header(&written, "x-consistency-token").to_owned();
        if !new.is_empty() {
            *token.lock().unwrap_or_else(PoisonError::into_inner) = new;
        }
        pass(Duration::from_millis(200)).await;
        if Instant::now() >= end {
            return;
        }
    }
}

pub(super) async fn by_seconds(length: Length) -> Row {
    let mut row = Row::new("the only replica 3 s late");
    let cluster = migrated_cluster(1).await;
    let line = DelayProxy::start(cluster.primary.address()).await.unwrap();
    line.set_round_trip(TO_PRIMARY);
    let gateway = gateway_of(&cluster);
    let gateway = gateway.env("DATABASE_URL", cluster.primary.url_at(line.address()));
    let gateway = configured(&cluster, gateway, &length.settings());
    let world = World::over(cluster, gateway).await;
    world.health_turns(200).await;
    let (jwt, token) = (jwt("alice").await, Arc::default());
    let time = match length {
        Length::Full => Duration::from_secs(17),
        Length::Short => Duration::from_secs(8),
    };

    write_for(&world, &jwt, &token, Duration::ZERO).await;
    let load = Load::start(length, &world, &jwt, &token);
    write_for(&world, &jwt, &token, time).await;
    let before = load.stop().await;

    let replica = &world.cluster.replicas[0];
    // The load that meets the fault has been steady before; the warm-up ends when the fault begins.
    let load = Load::start(length, &world, &jwt, &token);
    pass(WARM_UP).await;
    replica.set("recovery_min_apply_delay", LATE).await.unwrap();
    write_for(&world, &jwt, &token, time).await;
    let during = load.stop().await;

    for (what, answers) in [
        ("eventual", &during.eventual),
        ("bounded", &during.bounded),
        ("session", &during.session),
    ] {
        let answered = 1.0 - answers.failed() as f64 / answers.count() as f64;
        row.show(
            format!(
                "{:.2} % of {} {what} answered",
                answered * 100.0,
                answers.count()
            ),
            answered >= ANSWERED_MIN,
        );
    }
    let failed = [
        &before.strong,
        &before.writes,
        &during.strong,
        &during.writes,
    ];
    let failed: usize = failed.into_iter().map(Answers::failed).sum();
    row.show(format!("{failed} strong or written failed"), failed == 0);
    for (what, before, during) in [
        ("strong", &before.strong, &during.strong),
        ("writes", &before.writes, &during.writes),
    ] {
        let (before, during) = (before.quantile(0.99), during.quantile(0.99));
        let times = during.as_secs_f64() / before.as_secs_f64();
        let figure = format!("p99 of {what} {} → {}", ms(before), ms(during));
        row.show(figure, times <= MOST_OF_BEFORE);
    }
    row
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_a_late_replica_are_answered_and_writers_hardly_notice() {
    by_seconds(Length::Short).await.verdict();
}
