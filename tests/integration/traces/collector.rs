//! Collectors that are slow, gone or talk without end.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use super::kit::{Collector, ENDS_AT_ONCE, Manner, end};
use crate::upstream::kit::{App, Edge, endpoint};
use crate::world::DEADLINE;
use tidegate::testkit::until;

async fn before(app: &App, collector: &Collector, more: &[(&'static str, &str)]) -> Edge {
    let file = endpoint("*", "/app/{*rest}", &app.url());
    Edge::with_all(&collector.variables(more), file).await
}

async fn dropped(edge: &Edge, reason: &str) -> f64 {
    let series = format!("tidegate_spans_dropped_total{{reason=\"{reason}\"}}");
    edge.metric(&series).await
}

async fn until_dropped(edge: &Edge, reason: &str, spans: f64) {
    let counted = until(reason, DEADLINE, async || {
        Ok((dropped(edge, reason).await >= spans).then_some(()))
    });
    counted.await.unwrap();
}

const ROUNDS: usize = 5;
/// On a machine that is too busy to measure on, more rounds are not tried.
const ROUNDS_MAX: usize = 20;
const REQUESTS: usize = 200;

/// How late a thread that only sleeps may be, so that what was measured meanwhile counts.
const LATE_MAX: Duration = Duration::from_millis(1);

/// The time that all but one in a hundred requests take at most.
async fn p99(edge: &Edge) -> Duration {
    let mut took = Vec::new();
    for at in 0..REQUESTS {
        let started = Instant::now();
        edge.get(&format!("/app/{at}")).await;
        took.push(started.elapsed());
    }
    took.sort();
    took[took.len() * 99 / 100]
}

/// Sleeps 10 ms again and again until told to stop; returns how late all but one in twenty sleeps were at most.
fn control(stop: &mpsc::Receiver<()>) -> Duration {
    const SLEEP: Duration = Duration::from_millis(10);
    let mut late = Vec::new();
    loop {
        let started = Instant::now();
        if stop.recv_timeout(SLEEP) != Err(RecvTimeoutError::Timeout) {
            late.sort();
            return late.get(late.len() * 95 / 100).copied().unwrap_or_default();
        }
        late.push(started.elapsed().saturating_sub(SLEEP));
    }
}

/// The p99 of both, and whether the machine was quiet enough to tell.
async fn round(off: &Edge, on: &Edge) -> (Duration, Duration, bool) {
    let (stop, stopped) = mpsc::channel();
    let control = thread::spawn(move || control(&stopped));
    let (without, with) = (p99(off).await, p99(on).await);
    stop.send(()).unwrap();
    (without, with, control.join().unwrap() <= LATE_MAX)
}

#[tokio::test]
async fn a_collector_that_is_silent_costs_no_request_anything_and_its_spans_are_counted() {
    let collector = Collector::with(Manner::After(Duration::from_secs(3600))).await;
    let app = App::answering(200, "well").await;
    let off = Edge::before(&app, "").await;
    let more = [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "50"),
        // No batch is given up, so that the queue is full in all rounds but the first.
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000"),
    ];
    let edge = before(&app, &collector, &more).await;
    let (mut sound, mut void) = (Vec::new(), 0);
    while sound.len() < ROUNDS && sound.len() + void < ROUNDS_MAX {
        match round(&off, &edge).await {
            (without, with, true) => sound.push((without, with)),
            (_, _, false) => void += 1,
        }
    }
    let without = sound.iter().map(|(without, _)| *without).min();
    let with = sound.iter().map(|(_, with)| *with).min();
    eprintln!(
        "p99 of a request, best of {} rounds, {void} others void: {without:?} without traces, \
         {with:?} before a silent collector",
        sound.len()
    );
    if let (Some(without), Some(with)) = (without, with) {
        let most = without * 3 / 2 + LATE_MAX;
        assert!(with <= most, "{with:?} after {without:?}");
    }
    // Three spans each, of which a batch waits for its answer and a queue for its turn.
    let spans = ((sound.len() + void) * REQUESTS * 3) as f64;
    until_dropped(&edge, "queue", spans - 150.0).await;
}

#[tokio::test]
async fn spans_that_a_collector_does_not_take_are_counted_by_the_reason() {
    let app = App::answering(200, "well").await;
    let short = [("OTEL_EXPORTER_OTLP_TIMEOUT", "300")];
    for (manner, reason) in [
        (Manner::Status(400), "refused"),
        (Manner::Status(503), "refused"),
        (Manner::After(Duration::from_secs(3600)), "timeout"),
    ] {
        let collector = Collector::with(manner).await;
        let edge = before(&app, &collector, &short).await;
        edge.get("/app/a").await;
        until_dropped(&edge, reason, 3.0).await;
        let line = edge.gateway.wait_for_log("spans are lost").await.unwrap();
        assert!(line.contains(reason), "{line}");
    }
    let collector = Collector::start().await;
    let variables = collector.variables(&short);
    drop(collector);
    let file = endpoint("*", "/app/{*rest}", &app.url());
    let edge = Edge::with_all(&variables, file).await;
    edge.get("/app/a").await;
    until_dropped(&edge, "unreachable", 3.0).await;
}

#[tokio::test]
async fn an_answer_without_an_end_is_read_no_further_and_the_next_spans_are_sent() {
    let collector = Collector::with(Manner::Endless).await;
    let app = App::answering(200, "well").await;
    let edge = before(&app, &collector, &[("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "3")]).await;
    let started = Instant::now();
    edge.get("/app/a").await;
    collector.asked(1).await;
    collector.turn(Manner::Well);
    edge.get("/app/b").await;
    collector.trace("GET /app/{*rest}").await;
    assert!(started.elapsed() < Duration::from_secs(8));
}

#[tokio::test]
async fn a_collector_that_asks_for_an_endless_wait_loses_that_batch_alone() {
    let collector = Collector::with(Manner::Busy("18446744073709551615")).await;
    let app = App::answering(200, "well").await;
    let edge = before(&app, &collector, &[]).await;
    edge.get("/app/a").await;
    until_dropped(&edge, "refused", 3.0).await;
    collector.turn(Manner::Well);
    edge.get("/app/b").await;
    collector.trace("GET /app/{*rest}").await;
}

#[tokio::test]
async fn spans_that_were_taken_are_not_lost_where_the_rest_of_the_answer_does_not_come() {
    let collector = Collector::with(Manner::Stalled).await;
    let app = App::answering(200, "well").await;
    let edge = before(&app, &collector, &[("OTEL_EXPORTER_OTLP_TIMEOUT", "300")]).await;
    edge.get("/app/a").await;
    collector.trace("GET /app/{*rest}").await;
    collector.turn(Manner::Well);
    edge.get("/app/b").await;
    collector.until("both", |spans| spans.len() == 6).await;
    assert!(dropped(&edge, "timeout").await < 1.0);
}

#[tokio::test]
async fn a_collector_that_was_busy_gets_the_same_spans_once_more() {
    let collector = Collector::with(Manner::Status(503)).await;
    let app = App::answering(200, "well").await;
    let edge = before(&app, &collector, &[]).await;
    edge.get("/app/a").await;
    collector.asked(1).await;
    collector.turn(Manner::Well);
    collector.trace("GET /app/{*rest}").await;
    assert!(dropped(&edge, "refused").await < 1.0);
}

#[tokio::test]
async fn a_gateway_that_ends_sends_what_it_has_and_waits_for_a_silent_collector_five_seconds() {
    let app = App::answering(200, "well").await;
    let late = [("OTEL_BSP_SCHEDULE_DELAY", "3600000")];
    for manner in [Manner::Well, Manner::After(Duration::from_secs(3600))] {
        let collector = Collector::with(manner).await;
        let mut variables = collector.variables(&[]);
        variables.retain(|(name, _)| *name != late[0].0);
        variables.push((late[0].0, late[0].1.to_owned()));
        let file = format!(
            "{ENDS_AT_ONCE}{}",
            endpoint("*", "/app/{*rest}", &app.url())
        );
        let mut edge = Edge::with_all(&variables, file).await;
        edge.get("/app/a").await;
        assert!(collector.spans().is_empty());
        let started = Instant::now();
        end(&mut edge).await;
        match manner {
            Manner::Well => assert_eq!(collector.spans().len(), 3),
            _ => assert!(started.elapsed() < Duration::from_secs(9)),
        }
    }
}
