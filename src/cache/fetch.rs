//! The result of a fetch, independent of the request that first needed it.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, StatusCode, Uri};
use tokio::time::{Duration, Instant};

use super::{CacheError, Entry, Origin};
use crate::http::{Compression, Problem, Routed, Served, Timing};
use crate::regions::RegionRoute;
use tidegate_policy::{Decision, Lifetime};
use tidegate_telemetry::EndpointMetrics;

/// A request whose answer is for all clients: it contains nothing of any single client.
pub struct SharedRequest {
    /// The decision for all clients that send it.
    pub decision: Decision,
    /// Where the traffic policy sends it, if there is one.
    pub route: Option<Arc<RegionRoute>>,
    /// The values of the path template.
    pub path_values: Vec<(String, String)>,
    /// Its URI.
    pub uri: Uri,
    /// How long the answer may be stored.
    pub lifetime: Lifetime,
}

/// Fetches from a backend an answer that may be stored.
pub trait Fetch: Send + Sync + 'static {
    /// The endpoint of the answer.
    fn endpoint(&self) -> &EndpointMetrics;

    /// Where the traffic policy sends the request, if there is one.
    fn routed(&self) -> Option<Arc<Routed>>;

    /// Sends the request, and waits for the complete answer; `routed` becomes at once where it is sent, and at the
    /// end where it was sent last.
    fn fetch(
        &self,
        timing: &mut Timing,
        routed: &mut Option<Arc<Routed>>,
    ) -> impl Future<Output = Result<Arc<Entry<Origin>>, Missed>> + Send;
}

/// The head of an answer that may be stored.
pub struct Fetched {
    /// The node that made it.
    pub served: Served,
    /// Its status.
    pub status: StatusCode,
    /// The headers that describe the body and the resource.
    pub headers: HeaderMap,
    /// Bytes that the headers occupy for this answer alone.
    pub header_bytes: usize,
    /// Whether the application forbids to change its bytes.
    pub no_transform: bool,
    /// Upper bound of the data's staleness when it was read; `None` if nothing is proven.
    pub staleness: Option<Duration>,
    /// Its body.
    pub body: FetchedBody,
}

/// The body of an answer that may be stored.
pub enum FetchedBody {
    /// It is complete.
    Whole(Bytes),
    /// It is still being received.
    Coming(BoxFuture<'static, Result<Bytes, Missed>>),
}

/// Why a fetch produced nothing to store.
#[derive(Clone, Debug)]
pub enum Missed {
    /// There is no answer.
    Problem(Arc<Problem>),
    /// The backend answered with a failure (5xx).
    Failed(Arc<Entry<Origin>>),
    /// The answer is too large to be stored, or it is not the same for all clients.
    NotForAll,
}

impl From<Problem> for Missed {
    fn from(problem: Problem) -> Self {
        Self::Problem(Arc::new(problem))
    }
}

impl From<CacheError> for Missed {
    fn from(error: CacheError) -> Self {
        Problem::from(error).into()
    }
}

impl Missed {
    /// Whether the same request, sent again, would miss again.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Problem(problem) => problem.is_final(),
            Self::Failed(_) => false,
            Self::NotForAll => true,
        }
    }

    /// The status of the answer given instead.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Problem(problem) => problem.status(),
            Self::Failed(entry) => entry.origin.status,
            Self::NotForAll => StatusCode::OK,
        }
    }
}

impl Fetched {
    /// Waits for the body and makes an entry of the whole answer.
    ///
    /// # Errors
    /// Why there is nothing to store: a failure of the backend is returned only to requests that
    /// wait for it.
    pub async fn into_entry(
        self,
        shared: &SharedRequest,
        endpoint: &Arc<EndpointMetrics>,
        asked_at: Instant,
        compression: &Compression,
    ) -> Result<Arc<Entry<Origin>>, Missed> {
        let body = match self.body {
            FetchedBody::Whole(body) => body,
            FetchedBody::Coming(body) => body.await?,
        };
        let mut decision = shared.decision.clone();
        decision.no_transform |= self.no_transform;
        let origin = Origin {
            decision,
            served: self.served,
            status: self.status,
            headers: self.headers,
            endpoint: Arc::clone(endpoint),
        };
        let mut entry = Entry::new(&body, origin, shared.lifetime, asked_at, self.staleness);
        let Origin {
            status, headers, ..
        } = &entry.origin;
        let room = compression.room(*status, headers, &entry.body);
        entry.origin_bytes = self.header_bytes + room;
        match self.status.is_server_error() {
            true => Err(Missed::Failed(Arc::new(entry))),
            false => Ok(Arc::new(entry)),
        }
    }
}
