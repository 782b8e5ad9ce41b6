//! What it takes to ask the nodes for an answer that others may have too, free of the request that
//! first wanted it.

use std::sync::Arc;

use http::{HeaderMap, Uri};
use tokio::time::Instant;

use super::Services;
use super::answer::Timing;
use super::origin::Origin;
use super::run::{Outcome, Run};
use crate::cache::Entry;
use crate::error::Problem;
use crate::policy::{Decision, Lifetime};
use crate::target::sql::RequestValues;
use crate::target::{Endpoint, Query};

/// One question to the nodes.
pub(super) struct Fetch {
    pub(super) services: Arc<Services>,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) decision: Decision,
    pub(super) path_values: Vec<(String, String)>,
    pub(super) uri: Uri,
    pub(super) lifetime: Lifetime,
}

impl Fetch {
    /// Asks the nodes, until `request_deadline`.
    pub(super) async fn run(&self, timing: &mut Timing) -> Result<Arc<Entry<Origin>>, Problem> {
        let nothing_to_run = || Problem::Internal("the endpoint has no statement".to_owned());
        let target = self.endpoint.sql().ok_or_else(nothing_to_run)?;
        let asked_at = Instant::now();
        let query = Query::parse(self.uri.query().unwrap_or_default())?;
        let values = RequestValues {
            path: &self.path_values,
            query: &query,
            body: None,
            claims: None,
            headers: &HeaderMap::new(),
        };
        let arguments = values.bind(&target.statement)?;
        let run = Run {
            services: &self.services,
            target,
            decision: &self.decision,
            arguments: &arguments,
            safe: true,
            deadline: asked_at + self.services.server.request_deadline,
        };
        let Outcome { answer, served, .. } = run.run(timing).await?;
        let body = answer.body.ok_or(Problem::NotFound)?;
        let staleness = served.staleness;
        let origin = Origin {
            decision: self.decision.clone(),
            served,
            endpoint: Arc::clone(&self.endpoint),
        };
        let entry = Entry::new(&body, origin, self.lifetime, asked_at, staleness);
        Ok(Arc::new(entry))
    }
}
