//! One request and its answer.

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, Method, Response, Version};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Duration, Instant};

use super::download::Download;
use super::node::Visit;
use super::race::Race;
use super::upload::Upload;
use super::{Node, Upstream, UpstreamError};
use tidegate_model::RegionId;

/// A request as it will be sent.
pub struct Outgoing {
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
}

/// An answer's head, before its body is read.
#[derive(Debug)]
pub struct Answered {
    /// The node's answer.
    pub response: Response<Incoming>,
    /// Why this node answered.
    pub turn: Turn,
    pub(super) upstream: Arc<Upstream>,
    pub(super) node: usize,
    pub(super) place: Place,
}

/// What is occupied until the last byte: a place in the upstream's `connections_max`, and one at
/// the node.
pub(super) type Place = (OwnedSemaphorePermit, Visit);

/// The turn in which a node was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It was the first node.
    First,
    /// Another node had failed before.
    Retry,
    /// Another node was slow.
    Hedge,
}

impl Outgoing {
    /// Whether an application in this region may read from its replica if the request is sent now:
    /// it may have waited for another node first.
    pub(super) fn reads_replica_in(&self, region: Option<&RegionId>, now: Instant) -> bool {
        let region = region.unwrap_or(&self.local_region);
        let mut known = self.replica_regions.iter();
        known.any(|(replica, until)| replica == region && until.is_none_or(|until| now <= until))
    }
}

impl Answered {
    /// The node that answered.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.upstream.nodes()[self.node]
    }

    /// The answer with its body, which is passed on as it arrives.
    #[must_use]
    pub fn into_response(self) -> Response<Body> {
        let (mut head, body) = self.response.into_parts();
        // The fields are about the node's connection, not the client's.
        head.version = Version::default();
        let body = Download::new(body, self.upstream, self.node, self.place);
        Response::from_parts(head, Body::new(body))
    }
}

impl Upstream {
    /// Sends a request, with its body unless it has none, and waits for the head of an answer.
    /// Dropping the future leaves no state here; a request that was sent is not recalled.
    ///
    /// # Errors
    /// States what happened to the request, as far as that is known.
    pub async fn exchange(
        self: &Arc<Self>,
        outgoing: Outgoing,
        body: Option<Body>,
        patience: Patience,
    ) -> Result<Answered, UpstreamError> {
        let place = self.place()?;
        let until = Instant::now() + patience.body_timeout;
        let upload = body.map(|body| Upload::new(body, patience.body_bytes_max, until));
        let race = Race::new(self, &outgoing, upload.as_ref(), patience);
        let found = race.run().await?;
        Ok(Answered {
            response: found.response,
            turn: found.turn,
            upstream: Arc::clone(self),
            node: found.node,
            place: (place, found.visit),
        })
    }
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
