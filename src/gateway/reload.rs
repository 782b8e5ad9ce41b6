//! SIGHUP: policies and endpoints are read again and swapped as a whole, or not at all.

use std::sync::Arc;

use tokio::signal::unix::Signal;

use crate::endpoint::{Frontend, RouteTables, Routes};
use crate::gateway::policy_in_force::tell_of_policy;
use crate::gateway::statement_check::check_on_any_node;
use crate::peers::Membership;
use crate::policy_store::StoreStatus;
use crate::postgres::{Server, Session};
use crate::regions::Entrance;
use tidegate_model::ConfigError;
use tidegate_telemetry::survive;

/// Swaps policies and endpoints on every SIGHUP, or keeps the old ones and logs why.
pub(super) struct Reloader {
    pub(super) frontend: Arc<Frontend>,
    pub(super) servers: Vec<Server>,
    pub(super) session: Session,
    pub(super) entrance: Entrance,
    pub(super) fleet: Option<Arc<Membership>>,
    pub(super) store: Arc<StoreStatus>,
}

impl Reloader {
    pub(super) async fn reload_on(
        self,
        mut hangup: Signal,
        read: impl Fn() -> Result<RouteTables, ConfigError> + Send + Sync + 'static,
    ) {
        while hangup.recv().await.is_some() {
            attempt(self.reload(&read)).await;
        }
    }

    async fn reload(
        &self,
        read: &impl Fn() -> Result<RouteTables, ConfigError>,
    ) -> Result<(), ConfigError> {
        let before = self.frontend.routes.load_full();
        // The files may be large.
        let tables = tokio::task::block_in_place(read)?;
        let mut routes = Routes::recompile(&tables, &before.upstreams)?;
        check_on_any_node(&self.servers, &self.session, &routes).await?;
        routes.rate_limits.go_on_from(&before.rate_limits);
        let revision = routes.revision;
        before.upstreams.retire(&routes.upstreams).await;
        routes.upstreams.watch();
        if let Some(policy) = &tables.regions.policy {
            tell_of_policy(policy);
        }
        let database = &self.frontend.backends.database;
        routes.put_in_force(&tables.regions, &self.entrance, database, &before.plans());
        self.store.trust(tables.regions.trust.clone());
        self.frontend.routes.swap(routes);
        if let Some(fleet) = &self.fleet {
            fleet.set_peers(&tables.regions.peers).await;
        }
        if let Some(cache) = &self.frontend.cache {
            cache.keep_revision(revision);
        }
        Ok(())
    }
}

/// Logs what came of a reload. A panic is logged like an error and ends only this reload: the next SIGHUP
/// brings files that can be read.
async fn attempt(reload: impl Future<Output = Result<(), ConfigError>>) -> bool {
    match survive("reload", reload).await {
        Some(Ok(())) => tracing::info!("policies and endpoints were swapped"),
        Some(Err(error)) => {
            tracing::error!(%error, "kept the old policies and endpoints");
            return false;
        }
        None => {
            let error = "a file cannot be read: that is a fault of Tidegate";
            tracing::error!(error, "kept the old policies and endpoints");
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reload_that_panics_does_not_end_the_next_one() {
        let read = || -> Result<(), ConfigError> { panic!("a file that nobody has tried") };
        assert!(!attempt(async { read() }).await);
        let place = tidegate_model::Place::Name("a");
        assert!(!attempt(async { Err(ConfigError::new(&place, "is wrong")) }).await);
        assert!(attempt(async { Ok(()) }).await);
    }
}
