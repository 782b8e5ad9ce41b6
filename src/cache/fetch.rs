//! What a fetch brings, free of the request that first wanted it.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, StatusCode, Uri};
use tokio::time::{Duration, Instant};

use super::{CacheError, Entry, Origin};
use crate::http::{Problem, Served, Timing};
use crate::regions::RegionRoute;
use tidegate_policy::{Decision, Lifetime};
use tidegate_telemetry::EndpointMetrics;

/// A request whose answer others may have too: it has nothing of any client.
pub struct SharedRequest {
    /// What all who ask it are owed.
    pub decision: Decision,
    /// Where the traffic policy sends it, if there is one.
    pub route: Option<Arc<RegionRoute>>,
    /// The values of the path template.
    pub path_values: Vec<(String, String)>,
    /// The address.
    pub uri: Uri,
    /// For how long the answer may be kept.
    pub lifetime: Lifetime,
}

/// Asks a backend for an answer that may be kept.
pub trait Fetch: Send + Sync + 'static {
    /// The endpoint that is asked.
    fn endpoint(&self) -> &EndpointMetrics;

    /// Asks, and waits for the whole of the answer.
    fn fetch(
        &self,
        timing: &mut Timing,
    ) -> impl Future<Output = Result<Arc<Entry<Origin>>, Missed>> + Send;
}

/// The head of an answer that may be kept.
pub struct Fetched {
    /// Which node made it.
    pub served: Served,
    /// Its status.
    pub status: StatusCode,
    /// What describes the body and the resource.
    pub headers: HeaderMap,
    /// Bytes that the headers take for this answer alone.
    pub header_bytes: usize,
    /// How stale the data can have been when it was read; none when nothing is proven.
    pub staleness: Option<Duration>,
    /// Its body.
    pub body: FetchedBody,
}

/// The body of an answer that may be kept.
pub enum FetchedBody {
    /// It is there.
    Whole(Bytes),
    /// It is on its way.
    Coming(BoxFuture<'static, Result<Bytes, Missed>>),
}

/// Why a fetch brought nothing to keep.
#[derive(Clone, Debug)]
pub enum Missed {
    /// There is no answer.
    Problem(Arc<Problem>),
    /// The backend answered that it cannot (5xx).
    Failed(Arc<Entry<Origin>>),
    /// The answer is too large to be kept, or it is not the same for all.
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

    /// What was answered instead.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Problem(problem) => problem.status(),
            Self::Failed(entry) => entry.origin.status,
            Self::NotForAll => StatusCode::OK,
        }
    }
}

impl Fetched {
    /// Waits for the body and makes an entry of it all.
    ///
    /// # Errors
    /// Why there is nothing to keep: a failure of the backend is given to those who wait for it alone.
    pub async fn into_entry(
        self,
        shared: &SharedRequest,
        endpoint: &Arc<EndpointMetrics>,
        asked_at: Instant,
    ) -> Result<Arc<Entry<Origin>>, Missed> {
        let body = match self.body {
            FetchedBody::Whole(body) => body,
            FetchedBody::Coming(body) => body.await?,
        };
        let origin = Origin {
            decision: shared.decision.clone(),
            served: self.served,
            status: self.status,
            headers: self.headers,
            endpoint: Arc::clone(endpoint),
        };
        let mut entry = Entry::new(&body, origin, shared.lifetime, asked_at, self.staleness);
        entry.origin_bytes = self.header_bytes;
        match self.status.is_server_error() {
            true => Err(Missed::Failed(Arc::new(entry))),
            false => Ok(Arc::new(entry)),
        }
    }
}
