//! Requests at a steady rate, regardless of earlier ones, and their answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, interval};

use crate::handing_on::serving;
use crate::world::{header, told};

/// One request and its outcome.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// When it was sent. The sender waits for no answer, so it is late only when the machine is.
    pub(super) sent: Instant,
    /// From then until its answer was read.
    pub(super) took: Duration,
    /// None if there was no answer at all.
    pub(super) status: Option<u16>,
    pub(super) region: String,
    /// The region whose gateway has served.
    pub(super) served_in: String,
    pub(super) reason: String,
    pub(super) is_told_to_retry: bool,
}

/// Traffic that continues until it is stopped.
pub(super) struct Traffic {
    stopped: Arc<AtomicBool>,
    task: JoinHandle<Vec<Answer>>,
}

/// The answers to a stretch of traffic.
#[derive(Clone, Debug)]
pub(super) struct Answers(pub(super) Vec<Answer>);

impl Traffic {
    /// Sends `per_second` requests a second.
    pub(super) fn start(
        per_second: u32,
        request: impl Fn(usize) -> RequestBuilder + Send + 'static,
    ) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&stopped);
        let task = tokio::spawn(async move {
            let mut ticks = interval(Duration::from_secs(1) / per_second);
            let mut requests = JoinSet::new();
            let mut answers = Vec::new();
            while !watched.load(Ordering::Relaxed) {
                ticks.tick().await;
                requests.spawn(send(request(answers.len() + requests.len())));
                while let Some(answered) = requests.try_join_next() {
                    answers.push(answered.unwrap());
                }
            }
            answers.extend(requests.join_all().await);
            answers
        });
        Self { stopped, task }
    }

    /// Sends reads that any node may answer, but no cache because the level is stated.
    pub(super) fn of_eventual_reads(client: &Client, url: String, per_second: u32) -> Self {
        let client = client.clone();
        let request = move |_| client.get(&url).header("X-Consistency", "eventual");
        Self::start(per_second, request)
    }

    /// Stops sending and waits for the last answers.
    pub(super) async fn stop(self) -> Answers {
        self.stopped.store(true, Ordering::Relaxed);
        let mut answers = self.task.await.unwrap();
        answers.sort_by_key(|answer| answer.sent);
        Answers(answers)
    }
}

async fn send(request: RequestBuilder) -> Answer {
    let sent = Instant::now();
    let response = request.send().await;
    let mut answer = Answer {
        sent,
        took: Duration::ZERO,
        status: response.as_ref().ok().map(|it| it.status().as_u16()),
        region: String::new(),
        served_in: String::new(),
        reason: String::new(),
        is_told_to_retry: false,
    };
    if let Ok(response) = response {
        told(&response, "node-region").clone_into(&mut answer.region);
        serving(&response).clone_into(&mut answer.served_in);
        told(&response, "reason").clone_into(&mut answer.reason);
        answer.is_told_to_retry = !header(&response, "retry-after").is_empty();
        match response.text().await {
            Ok(body) if answer.status.is_some_and(|it| it >= 400) => answer.reason = body,
            Ok(_) => {}
            Err(_cut_off) => answer.status = None,
        }
    }
    answer.took = sent.elapsed();
    answer
}

impl Answers {
    /// Those that were sent in a stretch of time.
    pub(super) fn between(&self, from: Instant, to: Instant) -> Self {
        let sent = self.0.iter().filter(|it| (from..to).contains(&it.sent));
        Self(sent.cloned().collect())
    }

    /// Those that were sent from a moment on.
    pub(super) fn since(&self, from: Instant) -> Self {
        let sent = self.0.iter().filter(|it| it.sent >= from);
        Self(sent.cloned().collect())
    }

    /// Those that were answered with a status.
    pub(super) fn with_status(&self, status: u16) -> Self {
        let answered = self.0.iter().filter(|it| it.status == Some(status));
        Self(answered.cloned().collect())
    }

    /// Those that a region has served.
    pub(super) fn served_in(&self, region: &str) -> Self {
        let served = self.0.iter().filter(|it| it.served_in == region);
        Self(served.cloned().collect())
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// How many were not answered with 2xx.
    pub(super) fn failed(&self) -> usize {
        let good = |it: &&Answer| it.status.is_some_and(|status| (200..300).contains(&status));
        self.count() - self.0.iter().filter(good).count()
    }

    /// How many answers had begun and were cut off.
    pub(super) fn cut_off(&self) -> usize {
        self.0.iter().filter(|it| it.status.is_none()).count()
    }

    /// The types of the problems that they were answered with, and how often.
    pub(super) fn problems(&self) -> BTreeMap<String, usize> {
        let mut problems = BTreeMap::new();
        for answer in self
            .0
            .iter()
            .filter(|it| it.status.is_some_and(|it| it >= 400))
        {
            let body: serde_json::Value = serde_json::from_str(&answer.reason).unwrap_or_default();
            let kind = body["type"].as_str().unwrap_or_default().to_owned();
            *problems.entry(kind).or_default() += 1;
        }
        problems
    }

    /// A quantile, from 0 to 1, of their durations.
    pub(super) fn quantile(&self, part: f64) -> Duration {
        let mut took: Vec<_> = self.0.iter().map(|it| it.took).collect();
        took.sort_unstable();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place in a list"
        )]
        let place = (part * took.len() as f64).ceil() as usize;
        took.get(place.saturating_sub(1))
            .copied()
            .unwrap_or_default()
    }

    pub(super) fn slowest(&self) -> Duration {
        self.quantile(1.0)
    }

    /// How often the region that is tried first changed. Answers from a retry or hedge are not
    /// counted.
    pub(super) fn switches(&self) -> usize {
        let first_tries = self.0.iter().filter(|it| it.status == Some(200));
        let first_tries = first_tries.filter(|it| !["retry", "hedge"].contains(&&*it.reason));
        let mut regions: Vec<_> = first_tries.map(|it| &it.region).collect();
        regions.dedup();
        regions.len().saturating_sub(1)
    }
}
