//! One upstream, ready to be asked.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{Either, Empty};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Duration, Instant};

use super::balance::Balance;
use super::connector::Connector;
use super::task_set::TaskSet;
use super::upload::UploadBody;
use super::{Node, SetupError, UpstreamError};
use super::{UpstreamConfig, UpstreamLimits, UpstreamSettings};
use tidegate_steering::{Candidates, Choice, Outcome, SharedSelector, Standing};
use tidegate_telemetry::names;

/// How long a connection is kept for the next request: less than the five seconds after which
/// Node.js, among the hastiest of servers, closes it, so that no request goes into one being closed.
const KEEP_ALIVE: Duration = Duration::from_secs(4);

/// Most fields of an answer: as many as a head of `header_bytes_max` has room for on HTTP/2, where
/// each counts 32 bytes and more. hyper makes room for all of them before it reads, which costs some
/// 4 µs an answer (4,096 would cost 13).
const FIELDS_MAX: usize = 1 << 10;

/// Idle connections kept to one node.
const IDLE_MAX: usize = 256;

/// Sends requests to the nodes of one upstream, over HTTP/1.1: WebSockets need it, and only there it is
/// plain what was sent. It follows no redirect and no proxy of the environment.
pub(super) type Client = legacy::Client<Connector, RequestBody>;

/// The body of a request to a node, if it has one.
pub(super) type RequestBody = Either<Empty<Bytes>, UploadBody>;

/// An application that requests are handed to.
#[derive(Debug)]
pub struct Upstream {
    name: String,
    settings: UpstreamSettings,
    nodes: Vec<Node>,
    client: Client,
    balance: Balance,
    places: Arc<Semaphore>,
    pub(super) tasks: TaskSet,
}

impl Upstream {
    /// Makes ready; nothing is sent and no task is started.
    ///
    /// # Errors
    /// When a node wants TLS and the system has no root certificates.
    pub(super) fn new(config: &UpstreamConfig) -> Result<Self, SetupError> {
        let settings = config.settings.clone();
        let nodes: Vec<_> = settings.nodes.iter().map(Node::new).collect();
        let count = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
        Ok(Self {
            name: config.name.clone(),
            client: client(&settings)?,
            balance: Balance::new(count, &settings.steering),
            places: Arc::new(Semaphore::new(settings.limits.connections_max)),
            tasks: TaskSet::default(),
            nodes,
            settings,
        })
    }

    /// What logs and metrics call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its nodes, nearest first.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Its settings.
    #[must_use]
    pub fn settings(&self) -> &UpstreamSettings {
        &self.settings
    }

    /// What is known of the nodes, by their place in the list.
    #[must_use]
    pub fn selector(&self) -> &Arc<SharedSelector> {
        self.balance.selector()
    }

    /// What logs and metrics call the nodes.
    pub(super) fn candidates(&self) -> Candidates {
        Candidates {
            upstream: Some(self.name.clone()),
            nodes: self.nodes.iter().map(|node| node.name.clone()).collect(),
        }
    }

    /// Leaves those of its nodes drained that an operator has drained in one it takes the place of.
    pub(super) fn keep_drains(&self, before: &Self) {
        let now = Instant::now();
        let ranking = before.selector().ranking(now);
        for (index, node) in self.nodes.iter().enumerate() {
            let known = before.nodes.iter().position(|it| it.name == node.name);
            if known.is_some_and(|it| ranking.of(it).standing == Standing::Drained) {
                self.selector().drain(index, true, now);
            }
        }
    }

    pub(super) fn limits(&self) -> &UpstreamLimits {
        &self.settings.limits
    }

    pub(super) fn balance(&self) -> &Balance {
        &self.balance
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The nodes for a request, in order. Whether one that has failed works again is found out by
    /// the checks, and only without them by a request.
    pub(super) fn order(&self) -> Choice {
        self.balance().order(self.settings().check.is_none())
    }

    /// Takes in how a node did, for the order of the nodes and for the metrics.
    pub(super) fn note(
        &self,
        node: usize,
        outcome: &'static str,
        answered_after: Option<Duration>,
    ) {
        let known = match answered_after {
            Some(_) => Outcome::Answered,
            None => Outcome::Failed,
        };
        // Checks measure all nodes alike; requests only those that they are sent to.
        let comparable = answered_after.filter(|_| self.settings().check.is_none());
        self.balance().report(node, known, comparable);
        let labels = [
            ("upstream", self.name().to_owned()),
            ("node", self.nodes()[node].name.clone()),
        ];
        if let Some(took) = answered_after {
            self.balance().answered(node, took);
            metrics::histogram!(names::UPSTREAM_DURATION, &labels).record(took.as_secs_f64());
        }
        let [upstream, node] = labels;
        let labels = [upstream, node, ("outcome", outcome.to_owned())];
        metrics::counter!(names::UPSTREAM_REQUESTS, &labels).increment(1);
    }

    /// A place for one request among those under way.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, UpstreamError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map_err(|_full| UpstreamError::Busy)
    }
}

fn client(settings: &UpstreamSettings) -> Result<Client, SetupError> {
    let mut schemes = settings.nodes.iter().map(|node| node.url.as_url().scheme());
    let with_roots = schemes.any(|scheme| scheme == "https");
    let connector = Connector::new(settings.limits.connect_timeout, with_roots)?;
    Ok(legacy::Client::builder(TokioExecutor::new())
        // Whether a request may be repeated is decided here.
        .retry_canceled_requests(false)
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(KEEP_ALIVE)
        .pool_max_idle_per_host(IDLE_MAX)
        .http1_max_headers(FIELDS_MAX)
        .build(connector))
}
