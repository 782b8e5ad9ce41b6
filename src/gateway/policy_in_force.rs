//! The traffic policy that is in force when a gateway starts, and what is logged of one.

use std::sync::Arc;

use crate::endpoint::Routes;
use crate::gateway::config::Settings;
use crate::regions::{Entrance, PolicyFile, Receipts, TrafficPlans};
use crate::sql::Database;
use tidegate_model::{ConfigError, Place, quoted};

/// Puts the traffic policy in force, if there is one; returns where requests enter.
pub(super) async fn put_policy_in_force(
    settings: &Settings,
    routes: &Routes,
    database: &Database,
) -> Result<Entrance, ConfigError> {
    let receipts = Receipts::open(&settings.observe).await;
    let refuse = |error| {
        let file = quoted(&settings.observe.receipts);
        let why = format!("{file} cannot be opened: {error}");
        ConfigError::new(&Place::Name("observe.receipts"), why)
    };
    let entrance = Entrance {
        region: settings.region.clone(),
        trusted_proxies: settings.server.trusted_proxies.clone(),
        receipts: receipts.map_err(refuse)?.map(Arc::new),
    };
    let regions = &settings.routes.regions;
    if let Some(policy) = &regions.policy {
        tell_of_policy(policy);
        if policy.plan.region_index(settings.region.as_str()).is_none() {
            let region = settings.region.as_str();
            tracing::warn!(region, "the traffic policy does not declare this region");
        }
    }
    routes.put_in_force(regions, &entrance, database, &TrafficPlans::default());
    Ok(entrance)
}

/// Logs which policy is in force from now on, and its warnings.
pub(super) fn tell_of_policy(policy: &PolicyFile) {
    let (file, summary) = (&policy.name, &policy.summary);
    tracing::info!(file, summary, "a traffic policy is in force");
    if !policy.warnings.is_empty() {
        tracing::warn!(
            file,
            "the traffic policy has warnings: `tidegate policy check` shows them"
        );
    }
}
