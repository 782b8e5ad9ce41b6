//! What it takes to ask the nodes for an answer that others may have too, free of the request that
//! first wanted it.

use std::sync::Arc;

use http::{HeaderMap, StatusCode, Uri};
use tokio::time::Instant;

use super::Services;
use super::answer::Timing;
use super::forward::shared_answer;
use super::origin::{Origin, Source};
use super::run::{Outcome, Run};
use crate::cache::Entry;
use crate::endpoint::{Endpoint, Target};
use crate::http::Problem;
use crate::http::Query;
use crate::sql::{RequestValues, SqlError, SqlTarget};
use tidegate_policy::{Decision, Lifetime};

/// One question to the nodes.
pub(super) struct Fetch {
    pub(super) services: Arc<Services>,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) decision: Decision,
    pub(super) path_values: Vec<(String, String)>,
    pub(super) uri: Uri,
    pub(super) lifetime: Lifetime,
}

/// Why a fetch brought nothing to keep.
#[derive(Clone, Debug)]
pub(super) enum Missed {
    /// There is no answer.
    Problem(Arc<Problem>),
    /// The application answered that it cannot (5xx).
    Failed(Arc<Entry<Origin>>),
    /// The answer is too large to be kept, or it is not the same for all.
    NotForAll,
}

impl From<Problem> for Missed {
    fn from(problem: Problem) -> Self {
        Self::Problem(Arc::new(problem))
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
            Self::Failed(entry) => entry.origin.status(),
            Self::NotForAll => StatusCode::OK,
        }
    }
}

impl Fetch {
    /// Asks the nodes, or the application, until `request_deadline`.
    pub(super) async fn run(&self, timing: &mut Timing) -> Result<Arc<Entry<Origin>>, Missed> {
        match &self.endpoint.target {
            Target::Sql(target) => Ok(Arc::new(self.ask_nodes(target, timing).await?)),
            Target::Upstream { upstream, .. } => shared_answer(self, upstream, timing).await,
        }
    }

    async fn ask_nodes(
        &self,
        target: &SqlTarget,
        timing: &mut Timing,
    ) -> Result<Entry<Origin>, Problem> {
        let asked_at = Instant::now();
        let query = Query::parse(self.uri.query().unwrap_or_default())?;
        let values = RequestValues {
            path: &self.path_values,
            query: &query,
            body: None,
            claims: None,
            headers: &HeaderMap::new(),
        };
        let arguments = values.bind(&target.statement).map_err(SqlError::from)?;
        let run = Run {
            services: &self.services,
            target,
            decision: &self.decision,
            arguments: &arguments,
            safe: true,
            deadline: asked_at + self.services.server.request_deadline,
        };
        let place = self.services.shedding.enter()?;
        let Outcome { answer, served, .. } = run.run(timing).await?;
        drop(place);
        let body = answer.body.ok_or(SqlError::NoRow)?;
        let staleness = served.staleness;
        let origin = self.origin(Source::Node(served));
        Ok(Entry::new(
            &body,
            origin,
            self.lifetime,
            asked_at,
            staleness,
        ))
    }

    /// What is kept beside an answer.
    pub(super) fn origin(&self, source: Source) -> Origin {
        Origin {
            decision: self.decision.clone(),
            source,
            endpoint: Arc::clone(&self.endpoint),
        }
    }
}
