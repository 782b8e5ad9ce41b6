//! More requests than can be served: the excess is refused at once, without affecting others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Client;
use tidegate::testkit::until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::world::{DEADLINE, World, header, problem};

/// No node is abandoned while it is frozen: its clients wait, and so do later ones.
const PATIENT: &str = r#"
[replication]
sample_timeout = "60s"
[[endpoint]]
method = "GET"
path = "/word"
sql = "select 'word' as word"
[[endpoint]]
method = "POST"
path = "/notes"
sql = "select :body.text::text as text"
"#;

const SHEDS: &str = "tidegate_sheds_total";

async fn world(file: &str) -> World {
    World::alone(&format!("{file}{PATIENT}")).await
}

impl World {
    /// Reads the word, which only the primary can serve, in a separate task.
    fn read_word(&self) -> tokio::task::JoinHandle<u16> {
        let request = self.client.get(self.gateway.url("/word"));
        tokio::spawn(async move { request.send().await.unwrap().status().as_u16() })
    }

    /// Sends the head of a request whose body never arrives, and waits until the gateway requests
    /// the body.
    async fn announce_a_body(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.gateway.listen()).await.unwrap();
        let head = "POST /notes HTTP/1.1\r\nHost: gateway\r\nExpect: 100-continue\r\n\
             Content-Type: application/json\r\nContent-Length: 100\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).await.unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream
    }
}

#[tokio::test]
async fn requests_over_the_maximum_are_refused_and_only_while_it_lasts() {
    let mut world = world(
        "[server]\nrequests_max = 2\nrequest_deadline = \"60s\"\n[pool]\nstatement_timeout = \"60s\"\n",
    )
    .await;
    let mut slow = Vec::new();
    for _ in 0..3 {
        slow.push(world.announce_a_body().await);
    }
    assert_eq!(
        world.read_word().await.unwrap(),
        200,
        "slow bodies do not count"
    );

    world.cluster.primary.freeze().unwrap();
    let waiting = [world.read_word(), world.read_word()];
    world
        .metric_turns("tidegate_requests_in_flight", |value| value == 2.0)
        .await;
    let start = Instant::now();
    for _ in 0..50 {
        let refused = world.get("/word").await;
        assert_eq!(header(&refused, "retry-after"), "1");
        problem(refused, 503, "overloaded").await;
    }
    let seconds = start.elapsed().as_secs() as usize;
    assert_eq!(world.get("/health/live").await.status(), 200);
    problem(world.get("/nothing").await, 404, "not-found").await;
    let series = format!("{SHEDS}{{reason=\"requests-max\"}}");
    world.metric_turns(&series, |value| value == 50.0).await;
    let told = world.gateway.log();
    let told = told.matches("overloaded: requests are refused").count();
    assert!(
        (1..=seconds + 1).contains(&told),
        "{told} lines in {seconds} s"
    );

    world.cluster.primary.thaw();
    for read in waiting {
        assert_eq!(read.await.unwrap(), 200);
    }
    assert_eq!(world.read_word().await.unwrap(), 200);
}

/// Sends requests until enough have been refused at once; counts those in `at_once`.
async fn insist(client: Client, url: String, at_once: Arc<AtomicUsize>, enough: usize) {
    while at_once.load(Ordering::Relaxed) < enough {
        let start = Instant::now();
        let response = client.get(&url).send().await.unwrap();
        let took = start.elapsed();
        if response.status() == 200 {
            continue; // it was waiting when the server resumed
        }
        problem(response, 503, "overloaded").await;
        if took < Duration::from_secs(1) {
            at_once.fetch_add(1, Ordering::Relaxed);
        }
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_frozen_database_gets_a_short_queue_and_the_rest_is_refused_at_once() {
    let mut world = world(
        "[server]\nrequest_deadline = \"60s\"\n\
         [pool]\nconnections_max = 2\nacquire_timeout = \"4s\"\nstatement_timeout = \"60s\"\n",
    )
    .await;
    assert_eq!(world.read_word().await.unwrap(), 200);
    world.cluster.primary.freeze().unwrap();
    let at_once = Arc::new(AtomicUsize::new(0));
    let insisting: Vec<_> = (0..20)
        .map(|_| {
            let url = world.gateway.url("/word");
            let insist = insist(world.client.clone(), url, Arc::clone(&at_once), 500);
            tokio::spawn(insist)
        })
        .collect();
    let refused = async || Ok((at_once.load(Ordering::Relaxed) >= 500).then_some(()));
    until("500 requests are refused at once", DEADLINE, refused)
        .await
        .unwrap();
    assert_eq!(world.get("/health/live").await.status(), 200);
    let series = format!("{SHEDS}{{reason=\"deadline\"}}");
    world.metric_turns(&series, |value| value >= 500.0).await;

    world.cluster.primary.thaw();
    for insisting in insisting {
        insisting.await.unwrap();
    }
    let served = async || Ok((world.get("/word").await.status() == 200).then_some(()));
    until("it serves again", DEADLINE, served).await.unwrap();
    let all = join_all((0..20).map(|_| world.read_word())).await;
    assert!(all.into_iter().all(|status| status.unwrap() == 200));
}

#[tokio::test]
async fn a_burst_on_a_healthy_database_is_served_whole() {
    // A busy machine serves it, too, only later.
    let patient = "[server]\nrequest_deadline = \"28s\"\n[pool]\nacquire_timeout = \"25s\"\n";
    let world = world(patient).await;
    let all = join_all((0..300).map(|_| world.read_word())).await;
    let page = world.metrics().await;
    let sheds: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with(SHEDS))
        .collect();
    assert_eq!(sheds.len(), 5, "{sheds:?}");
    assert!(sheds.iter().all(|line| line.ends_with(" 0")), "{sheds:?}");
    assert!(all.into_iter().all(|status| status.unwrap() == 200));
}
