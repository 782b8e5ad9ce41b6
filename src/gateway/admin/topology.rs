//! `GET /admin/topology`: the nodes of the database and of the upstreams, each in the order in which
//! they are tried, with the reasons.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::AdminState;
use super::closed_sets::{breakers, conditions, standings, words};
use super::regions::{self, RegionEntry};
use super::standing::{order, why};
use super::upstreams::UpstreamEntry;
use crate::peers::FleetView;
use crate::storage::BucketSeen;
use tidegate_model::{NodeCondition, NodeStatus};

/// All nodes that one process knows.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Topology {
    /// The region of the process.
    pub region: String,
    /// The nodes of the database, best first.
    pub nodes: Vec<NodeEntry>,
    /// The reads that the primary serves in place of replicas.
    pub spill: SpillEntry,
    /// The upstreams, by name.
    pub upstreams: Vec<UpstreamEntry>,
    /// Those of the traffic policy, by name; absent without a policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<RegionEntry>,
    /// The buckets of object storage, by name; absent without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<BucketSeen>,
    /// The other gateways, where there is a fleet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetView>,
}

/// One node of the database.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NodeEntry {
    /// `primary`, or the replica's region: its name in `/admin/nodes/{node}/drain`.
    pub node: String,
    /// Its region, if it is configured.
    pub region: Option<String>,
    /// `primary` for the node that takes the writes, whatever its name is; else `replica`.
    #[schemars(extend("enum" = words(["primary", "replica"])))]
    pub role: String,
    /// Its standing with its selector.
    #[schemars(extend("enum" = standings()))]
    pub standing: String,
    /// The state of its breaker: `closed`, `open` or `half-open`.
    #[schemars(extend("enum" = breakers()))]
    pub breaker: String,
    /// Why it has this place in the order, in words.
    pub why: String,
    /// Average time to answer its monitor.
    pub latency_ms: f64,
    /// Its condition, as determined by the monitor.
    #[schemars(extend("enum" = conditions()))]
    pub condition: String,
    /// Lower bound of its lag; null while unknown.
    pub lag_secs: Option<f64>,
    /// Upper bound of the age of its answers; null while unproven.
    pub staleness_secs: Option<f64>,
    /// Its connections.
    pub connections: ConnectionsEntry,
}

/// The pool of one node.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ConnectionsEntry {
    /// Open ones.
    pub open: usize,
    /// Open ones that are not in use.
    pub idle: usize,
    /// Requests that wait for one.
    pub waiting: usize,
}

/// The spill budget.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SpillEntry {
    /// Reads that are being served.
    pub active: usize,
    /// Most reads at the same time.
    pub concurrency_max: usize,
}

/// Answers from memory.
pub(super) async fn topology(State(state): State<Arc<AdminState>>) -> Json<Topology> {
    Json(Topology::of(&state, Instant::now()))
}

impl Topology {
    /// Reads the state of all nodes; nothing is awaited.
    #[must_use]
    pub fn of(state: &AdminState, now: Instant) -> Self {
        let ranking = state.database.selector.ranking(now);
        let entry = |index| NodeEntry::of(state, index, now);
        let routes = state.routes.load();
        let upstreams = routes.upstreams.iter();
        Self {
            region: state.region.to_string(),
            nodes: order(&ranking).into_iter().map(entry).collect(),
            spill: SpillEntry {
                active: state.database.spill.active(),
                concurrency_max: state.database.spill.concurrency_max(),
            },
            upstreams: upstreams.map(|it| UpstreamEntry::of(it, now)).collect(),
            regions: regions::entries(state),
            buckets: state
                .storage
                .as_ref()
                .map_or_else(Vec::new, |it| it.buckets_seen()),
            fleet: state
                .fleet
                .as_ref()
                .map(|fleet| fleet_view(state, &fleet.view())),
        }
    }
}

/// The fleet, and what this gateway makes of the policy store.
fn fleet_view(state: &AdminState, fleet: &FleetView) -> FleetView {
    let shown = state.store.shown();
    FleetView {
        revision: shown.revision,
        rollout: shown.rollout,
        share: f64::from(shown.share) / 10_000.0,
        ..fleet.clone()
    }
}

impl NodeEntry {
    pub(super) fn of(state: &AdminState, index: usize, now: Instant) -> Self {
        let node = &state.database.members[index].node;
        let ranking = state.database.selector.ranking(now);
        let (ranked, status) = (ranking.of(index), state.database.monitor.status(&node.id));
        let role = match status.acts_as_primary {
            true => "primary",
            false => "replica",
        };
        Self {
            node: node.id.to_string(),
            region: node.region.as_ref().map(ToString::to_string),
            role: role.to_owned(),
            standing: ranked.standing.as_str().to_owned(),
            breaker: ranked.breaker.as_str().to_owned(),
            why: why(ranked, "sample", || why_trusted(&status), now),
            latency_ms: state.database.selector.latency(index).as_secs_f64() * 1_000.0,
            condition: status.condition.to_string(),
            lag_secs: status.lag.map(|lag| lag.as_secs_f64()),
            staleness_secs: status.staleness(now).map(|age| age.as_secs_f64()),
            connections: node.connections().into(),
        }
    }
}

impl From<crate::postgres::pool::Connections> for ConnectionsEntry {
    fn from(connections: crate::postgres::pool::Connections) -> Self {
        Self {
            open: connections.open,
            idle: connections.idle,
            waiting: connections.waiting,
        }
    }
}

fn why_trusted(status: &NodeStatus) -> String {
    let lag = status.lag.as_ref().map_or(0.0, Duration::as_secs_f64);
    match status.condition {
        NodeCondition::Fresh | NodeCondition::Disconnected => {
            "it answers; placed by latency".to_owned()
        }
        NodeCondition::Lagging => {
            format!("it is {lag:.1} s behind: asked after those that are not")
        }
        NodeCondition::Diverged => "its history is another: never asked".to_owned(),
        NodeCondition::Promoted => "it is no replica any more: never asked".to_owned(),
        NodeCondition::Unreachable => "it does not answer its monitor: never asked".to_owned(),
        NodeCondition::Unknown => "too little is known of it".to_owned(),
    }
}
