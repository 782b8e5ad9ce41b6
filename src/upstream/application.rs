//! One upstream, ready for requests.

use std::sync::Arc;

use rustls::RootCertStore;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Duration, Instant};

use super::balance::{Balance, NodeOrder};
use super::client::Client;
use super::connector::Connector;
use super::node_metrics::NodeMetrics;
use super::outgoing::Outgoing;
use super::task_set::TaskSet;
use super::{UpstreamConfig, UpstreamLimits, UpstreamSettings};
use super::{UpstreamError, UpstreamNode, UpstreamSetupError};
use crate::http::roots;
use crate::regions::RegionNode;
use tidegate_model::RegionId;
use tidegate_steering::{AttemptOutcome, Candidates, SharedSelector, Standing};

/// An application that requests are forwarded to.
#[derive(Debug)]
pub struct Upstream {
    name: Arc<str>,
    settings: UpstreamSettings,
    nodes: Vec<UpstreamNode>,
    /// One per node.
    clients: Vec<Client>,
    balance: Balance,
    metrics: Vec<NodeMetrics>,
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
        let metrics = |node: &UpstreamNode| NodeMetrics::new(&config.name, &node.name);
        Ok(Self {
            name: config.name.as_str().into(),
            clients: clients(&settings, &nodes)?,
            balance: Balance::new(count, &settings.steering),
            metrics: nodes.iter().map(metrics).collect(),
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

    /// The same, for what outlives it.
    pub(super) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.name)
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

    /// Returns the nodes as their regions are judged by them; one without a region is in `own`.
    pub fn region_nodes(&self, own: &RegionId) -> impl Iterator<Item = RegionNode> {
        let nodes = self.nodes.iter().enumerate();
        nodes.map(|(candidate, node)| RegionNode {
            region: node.region.as_ref().unwrap_or(own).clone(),
            selector: Arc::clone(self.selector()),
            candidate,
            is_checked: self.settings.check.is_some(),
            database: None,
        })
    }

    /// The nodes' names in logs and metrics.
    pub(super) fn candidates(&self) -> Candidates {
        Candidates {
            upstream: Some(self.name.to_string()),
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

    /// Returns its limits.
    #[must_use]
    pub fn limits(&self) -> &UpstreamLimits {
        &self.settings.limits
    }

    pub(super) fn balance(&self) -> &Balance {
        &self.balance
    }

    pub(super) fn client(&self, node: usize) -> &Client {
        &self.clients[node]
    }

    /// Makes a request the probe of the node that it is sent to, if that one is due and no check probes it.
    pub(super) fn probe_by(&self, node: usize, outgoing: &Outgoing) {
        if self.settings().check.is_none() {
            self.balance().probe_by(node, || outgoing.kind());
        }
    }

    /// The nodes for a request, in order. Checks probe whether a failed one works again; requests
    /// do so only if there are no checks.
    pub(super) fn order(&self, outgoing: &Outgoing) -> NodeOrder {
        let may_probe = self.settings().check.is_none();
        let kind = || outgoing.kind();
        let Some(route) = &outgoing.route else {
            return self.balance().order(may_probe, kind);
        };
        let rank = |node: usize| outgoing.rank(self.nodes[node].region.as_ref());
        let order = self
            .balance()
            .order_by(may_probe, rank, route.repeats_max, kind);
        match order.nodes.is_empty() && !route.is_bound {
            // It has no node where the policy would have it.
            true => self.balance().order(may_probe, kind),
            false => order,
        }
    }

    /// Records an answer of a node, for the order of the nodes and for the metrics.
    pub(super) fn answered(&self, node: usize, took: Duration) {
        // Checks measure all nodes equally; requests only those that they are sent to.
        let comparable = Some(took).filter(|_| self.settings().check.is_none());
        self.balance().answered(node, took, comparable);
        self.metrics[node].answered(took);
    }

    /// Records that a node has failed, in the same way.
    pub(super) fn failed(&self, node: usize, outcome: &'static str) {
        self.balance().report(node, AttemptOutcome::Failed, None);
        self.count(node, outcome);
    }

    /// Records a node's outcome for the metrics alone.
    pub(super) fn count(&self, node: usize, outcome: &'static str) {
        self.metrics[node].count(outcome);
    }

    /// Admits one request to those under way.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, UpstreamError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map_err(|_full| UpstreamError::Busy)
    }
}

fn clients(
    settings: &UpstreamSettings,
    nodes: &[UpstreamNode],
) -> Result<Vec<Client>, UpstreamSetupError> {
    let mut schemes = settings.nodes.iter().map(|node| node.url.as_url().scheme());
    // A file that is named must be usable, even if no node needs it yet.
    let needs_roots = settings.roots.is_some() || schemes.any(|scheme| scheme == "https");
    let roots = match needs_roots {
        true => roots(settings.roots.as_deref())?,
        false => RootCertStore::empty(),
    };
    let connector = Connector::new(settings.limits.connect_timeout, roots)?;
    let client = |node: &UpstreamNode| Client::new(connector.clone(), node.url("/", None));
    Ok(nodes.iter().map(client).collect())
}
