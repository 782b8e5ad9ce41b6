//! One upstream, ready for requests.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{Either, Empty};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::RootCertStore;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Duration, Instant};

use super::balance::Balance;
use super::connector::Connector;
use super::task_set::TaskSet;
use super::upload::UploadBody;
use super::{UpstreamConfig, UpstreamLimits, UpstreamSettings};
use super::{UpstreamError, UpstreamNode, UpstreamSetupError};
use crate::http::roots;
use tidegate_steering::{AttemptOutcome, Candidates, Choice, SharedSelector, Standing};
use tidegate_telemetry::names;

/// How long a connection is kept for the next request: less than the five seconds after which
/// Node.js, which has one of the shortest timeouts, closes it, so that no request is sent on one
/// being closed.
const KEEP_ALIVE: Duration = Duration::from_secs(4);

/// Most fields of an answer: as many as fit into a head of `header_bytes_max` on HTTP/2, where each
/// counts 32 bytes or more. hyper allocates space for all of them before it reads, which costs
/// about 4 µs per answer (4,096 would cost 13).
const FIELDS_MAX: usize = 1 << 10;

/// Idle connections kept to one node.
const IDLE_MAX: usize = 256;

/// Sends requests to the nodes of one upstream, over HTTP/1.1: WebSockets need it, and only there
/// is it certain what was sent. It follows no redirects and ignores proxies in the environment.
pub(super) type Client = legacy::Client<Connector, RequestBody>;

/// The body of a request to a node, if it has one.
pub(super) type RequestBody = Either<Empty<Bytes>, UploadBody>;

/// An application that requests are forwarded to.
#[derive(Debug)]
pub struct Upstream {
    name: String,
    settings: UpstreamSettings,
    nodes: Vec<UpstreamNode>,
    client: Client,
    balance: Balance,
    places: Arc<Semaphore>,
    pub(super) tasks: TaskSet,
}

impl Upstream {
    /// Makes an upstream; nothing is sent and no task is started.
    ///
    /// # Errors
    /// If the file of its roots cannot be used, or a node needs TLS and the system has no roots.
    pub(super) fn new(config: &UpstreamConfig) -> Result<Self, UpstreamSetupError> {
        let settings = config.settings.clone();
        let nodes: Vec<_> = settings.nodes.iter().map(UpstreamNode::new).collect();
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

    /// Its name in logs and metrics.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its nodes, nearest first.
    #[must_use]
    pub fn nodes(&self) -> &[UpstreamNode] {
        &self.nodes
    }

    /// Its settings.
    #[must_use]
    pub fn settings(&self) -> &UpstreamSettings {
        &self.settings
    }

    /// What is known about the nodes, by their index.
    #[must_use]
    pub fn selector(&self) -> &Arc<SharedSelector> {
        self.balance.selector()
    }

    /// The nodes' names in logs and metrics.
    pub(super) fn candidates(&self) -> Candidates {
        Candidates {
            upstream: Some(self.name.clone()),
            nodes: self.nodes.iter().map(|node| node.name.clone()).collect(),
        }
    }

    /// Drains the nodes that an operator has drained in the upstream that this one replaces.
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

    /// The nodes for a request, in order. Checks probe whether a failed one works again; requests
    /// do so only if there are no checks.
    pub(super) fn order(&self) -> Choice {
        self.balance().order(self.settings().check.is_none())
    }

    /// Records a node's outcome, for the order of the nodes and for the metrics.
    pub(super) fn note(
        &self,
        node: usize,
        outcome: &'static str,
        answered_after: Option<Duration>,
    ) {
        let known = match answered_after {
            Some(_) => AttemptOutcome::Answered,
            None => AttemptOutcome::Failed,
        };
        // Checks measure all nodes equally; requests only those that they are sent to.
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

    /// Admits one request to those under way.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, UpstreamError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map_err(|_full| UpstreamError::Busy)
    }
}

fn client(settings: &UpstreamSettings) -> Result<Client, UpstreamSetupError> {
    let mut schemes = settings.nodes.iter().map(|node| node.url.as_url().scheme());
    // A file that is named must be usable, even if no node needs it yet.
    let needs_roots = settings.roots.is_some() || schemes.any(|scheme| scheme == "https");
    let roots = match needs_roots {
        true => roots(settings.roots.as_deref())?,
        false => RootCertStore::empty(),
    };
    let connector = Connector::new(settings.limits.connect_timeout, roots)?;
    Ok(legacy::Client::builder(TokioExecutor::new())
        // This decides whether a request may be repeated.
        .retry_canceled_requests(false)
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(KEEP_ALIVE)
        .pool_max_idle_per_host(IDLE_MAX)
        .http1_max_headers(FIELDS_MAX)
        .build(connector))
}
