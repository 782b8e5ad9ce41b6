//! A request as it is sent to a node, and its limits.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use http::{HeaderMap, Method};
use tokio::time::{Duration, Instant};

use super::UpstreamNode;
use super::fault::Kind;
use crate::http::TIDEGATE_ROUTE;
use crate::regions::RegionRoute;
use tidegate_model::RegionId;
use tidegate_traffic::health::Outcome;

/// A request as it will be sent.
pub struct Outgoing {
    /// The path template of its endpoint.
    pub template: Arc<str>,
    /// Its method.
    pub method: Method,
    /// Its normalised path.
    pub path: String,
    /// Its query, as sent by the client.
    pub query: Option<String>,
    /// Its fields; none concerns a connection, except those that request a WebSocket.
    pub headers: HeaderMap,
    /// Whether it requests a WebSocket.
    pub wants_websocket: bool,
    /// The regions whose database replica can honour the decision, and until when; indefinitely if
    /// there is no bound.
    pub replica_regions: Vec<(RegionId, Option<Instant>)>,
    /// The region assumed for a node without one.
    pub local_region: RegionId,
    /// Where the traffic policy sends it, if there is one.
    pub route: Option<Arc<RegionRoute>>,
}

/// The limits of a request.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Most bytes of its body.
    pub body_bytes_max: usize,
    /// Time for its body to arrive.
    pub body_timeout: Duration,
    /// Time from then to the head of the answer, unless the upstream sets its own.
    pub deadline: Duration,
    /// What the gateway that has handed the request on leaves of that time, if one has.
    pub time_left: Option<Duration>,
}

impl Outgoing {
    /// Returns what it asks for: requests of one kind fail alike.
    pub(super) fn kind(&self) -> Kind {
        Kind {
            group: hash_of(&(&self.template, self.method.is_safe())),
            exact: hash_of(&(&self.method, &self.path)),
        }
    }

    /// Sends it where the traffic policy says, and says so to the application.
    pub(super) fn take_route(&mut self, route: Option<Arc<RegionRoute>>) {
        if let Some(field) = route.as_ref().and_then(|route| route.field()) {
            self.headers.insert(&TIDEGATE_ROUTE, field);
        }
        self.route = route;
    }

    /// Returns the place of a node's region in the traffic policy's order; 0 without a policy.
    pub(super) fn rank(&self, region: Option<&RegionId>) -> Option<usize> {
        let region = region.unwrap_or(&self.local_region);
        match &self.route {
            Some(route) => route.rank(region),
            None => Some(0),
        }
    }

    /// Records the end of an attempt for the traffic policy, if there is one.
    pub(super) fn sample(&self, node: &UpstreamNode, outcome: Outcome, took: Duration) {
        if let Some(route) = &self.route {
            let region = node.region.as_ref().unwrap_or(&self.local_region);
            route.sample(region, &node.name, outcome, took);
        }
    }

    /// Whether an application in this region may read from its replica if the request is sent now:
    /// it may have waited for another node first.
    pub(super) fn reads_replica_in(&self, region: Option<&RegionId>, now: Instant) -> bool {
        let region = region.unwrap_or(&self.local_region);
        let mut known = self.replica_regions.iter();
        known.any(|(replica, until)| replica == region && until.is_none_or(|until| now <= until))
    }
}

fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_stands_in_for_the_primary_only_while_it_is_proven_to() {
        let now = Instant::now();
        let region = |name: &str| name.parse::<RegionId>().unwrap();
        let (bounded, unbounded) = (region("eu-west-1"), region("us-east-1"));
        let outgoing = Outgoing {
            template: "/".into(),
            method: Method::GET,
            path: "/".to_owned(),
            query: None,
            headers: HeaderMap::new(),
            wants_websocket: false,
            replica_regions: vec![
                (bounded.clone(), Some(now + Duration::from_secs(1))),
                (unbounded.clone(), None),
            ],
            local_region: bounded.clone(),
            route: None,
        };
        let reads =
            |region, after| outgoing.reads_replica_in(region, now + Duration::from_millis(after));
        for local in [None, Some(&bounded)] {
            assert!(reads(local, 1_000) && !reads(local, 1_001));
        }
        assert!(reads(Some(&unbounded), 60_000));
        assert!(!reads(Some(&region("ap-south-1")), 0));
    }
}
