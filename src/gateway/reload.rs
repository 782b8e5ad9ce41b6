//! SIGHUP: policies and endpoints are read again and swapped as a whole, or not at all.

use std::sync::Arc;

use tokio::signal::unix::Signal;

use crate::endpoint::{Frontend, RouteTables, Routes};
use crate::gateway::statement_check::check_on_any_node;
use crate::postgres::{Server, Session};
use tidegate_model::ConfigError;

/// Swaps policies and endpoints on every SIGHUP, or keeps the old ones and logs why.
pub(super) struct Reloader {
    pub(super) frontend: Arc<Frontend>,
    pub(super) servers: Vec<Server>,
    pub(super) session: Session,
}

impl Reloader {
    pub(super) async fn reload_on(
        self,
        mut hangup: Signal,
        read: impl Fn() -> Result<RouteTables, ConfigError> + Send + Sync + 'static,
    ) {
        while hangup.recv().await.is_some() {
            match self.reload(&read).await {
                Ok(()) => tracing::info!("policies and endpoints were swapped"),
                Err(error) => tracing::error!(%error, "kept the old policies and endpoints"),
            }
        }
    }

    async fn reload(
        &self,
        read: &impl Fn() -> Result<RouteTables, ConfigError>,
    ) -> Result<(), ConfigError> {
        let before = self.frontend.routes.load_full();
        let mut routes = Routes::recompile(&read()?, &before.upstreams)?;
        check_on_any_node(&self.servers, &self.session, &routes).await?;
        routes.rate_limits.go_on_from(&before.rate_limits);
        let revision = routes.revision;
        before.upstreams.retire(&routes.upstreams).await;
        routes.upstreams.watch();
        self.frontend.routes.swap(routes);
        if let Some(cache) = &self.frontend.cache {
            cache.keep_revision(revision);
        }
        Ok(())
    }
}
