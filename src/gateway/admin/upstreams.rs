//! The upstreams in `/admin/topology`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::closed_sets::{breakers, standings};
use super::standing::{order, why};
use crate::upstream::Upstream;

/// One upstream.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UpstreamEntry {
    /// Its name, or its URL if an endpoint gives the URL in place of a name.
    pub upstream: String,
    /// Best first.
    pub nodes: Vec<UpstreamNodeEntry>,
}

/// One node of an upstream.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UpstreamNodeEntry {
    /// Its URL without the scheme: its name in `/admin/upstreams/{upstream}/nodes/{node}/drain`.
    pub node: String,
    /// Its region; null if an endpoint gives its URL.
    pub region: Option<String>,
    /// The URL that requests are sent to; it contains no credentials.
    pub url: String,
    /// Its standing with its selector.
    #[schemars(extend("enum" = standings()))]
    pub standing: String,
    /// The state of its breaker: `closed`, `open` or `half-open`.
    #[schemars(extend("enum" = breakers()))]
    pub breaker: String,
    /// Why it has this place in the order, in words.
    pub why: String,
    /// Average time to answer its check, or requests if it has no check; until the first answer, an
    /// estimate from its place in the list.
    pub latency_ms: f64,
    /// Requests and WebSockets under way, until their last byte.
    pub under_way: usize,
}

impl UpstreamEntry {
    pub(super) fn of(upstream: &Upstream, now: Instant) -> Self {
        let ranking = upstream.selector().ranking(now);
        let entry = |node| UpstreamNodeEntry::of(upstream, node, now);
        Self {
            upstream: upstream.name().to_owned(),
            nodes: order(&ranking).into_iter().map(entry).collect(),
        }
    }
}

impl UpstreamNodeEntry {
    pub(super) fn of(upstream: &Upstream, index: usize, now: Instant) -> Self {
        let (node, settings) = (&upstream.nodes()[index], upstream.settings());
        let ranking = upstream.selector().ranking(now);
        let ranked = ranking.of(index);
        let probe = match settings.check {
            Some(_) => "check",
            None => "request",
        };
        let trusted = || "nothing speaks against it; placed by latency".to_owned();
        Self {
            node: node.name.clone(),
            region: node.region.as_ref().map(ToString::to_string),
            url: settings.nodes[index].url.to_string(),
            standing: ranked.standing.as_str().to_owned(),
            breaker: ranked.breaker.as_str().to_owned(),
            why: why(ranked, probe, trusted, now),
            latency_ms: upstream.selector().latency(index).as_secs_f64() * 1_000.0,
            under_way: node.under_way(),
        }
    }
}
