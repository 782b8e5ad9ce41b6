//! How long an endpoint's answers took recently, node by node.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::Instant;

use tidegate_steering::HedgeDelay;

/// Most nodes that are tracked; any others are ignored.
const NODES_MAX: usize = 32;

/// Recent latencies of one endpoint; nodes are identified by their indices. A slow statement is
/// slow on every node, so the latency of one endpoint says nothing about another.
#[derive(Debug, Default)]
pub struct Latencies(Box<[OnceLock<HedgeDelay>; NODES_MAX]>);

impl Latencies {
    /// Records one answer of a node.
    pub fn add(&self, node: usize, latency: Duration, now: Instant) {
        if let Some(recent) = self.0.get(node) {
            let recent = recent.get_or_init(|| HedgeDelay::new(now));
            recent.add(latency, now);
        }
    }

    /// Returns how long to wait for a node's answer before a hedge is sent; `None` before its first
    /// answer.
    pub fn hedge_delay(&self, node: usize) -> Option<Duration> {
        Some(self.0.get(node)?.get()?.get())
    }
}
