//! `tidegate policy status`: what is in force, the open rollout, and the gateways.

use serde::Serialize;
use tidegate_model::Environment;
use tidegate_rollout::GatewayReport;

use super::file::{print, print_json};
use super::store::open;
use crate::gateway::cli::Exit;
use crate::policy_store::{InForceRow, OpenRow, StoreError};

#[derive(Serialize)]
struct Status {
    in_force: InForceRow,
    open: Option<OpenRow>,
    last: Option<OpenRow>,
    gateways: Vec<GatewayStatus>,
}

#[derive(Serialize)]
struct GatewayStatus {
    gateway: String,
    region: String,
    version: String,
    revision: u32,
    share: f64,
    state: String,
    refused: Option<String>,
    age_s: f64,
    alive: bool,
}

impl From<GatewayReport> for GatewayStatus {
    fn from(report: GatewayReport) -> Self {
        Self {
            alive: report.is_alive(),
            gateway: report.gateway,
            region: report.region,
            version: report.version,
            revision: report.revision,
            share: f64::from(report.share) / 10_000.0,
            state: report.state.to_string(),
            refused: report.refused,
            age_s: report.age.as_secs_f64(),
        }
    }
}

/// Prints the state of the store.
pub(super) async fn status(environment: &Environment, json: bool) -> Result<(), Exit> {
    let store = open(environment).await?;
    match store.expire_if_left().await {
        // Whoever may only read is shown the rows as they are.
        Ok(()) | Err(StoreError::Rights(_) | StoreError::ReadOnly) => {}
        Err(error) => return Err(error.into()),
    }
    let status = Status {
        in_force: store.in_force().await?,
        open: store.newest(true).await?,
        last: store.newest(false).await?,
        gateways: {
            let gateways = store.gateways().await?.into_iter();
            gateways.map(GatewayStatus::from).collect()
        },
    };
    match json {
        true => print_json(&status),
        false => print(&text(&status)),
    }
}

fn text(status: &Status) -> String {
    let in_force = &status.in_force;
    let mut text = match (in_force.by.rollout, in_force.by.revision) {
        (0, _) => "in force  built-in; nothing was rolled out yet\n".to_owned(),
        (rollout, 0) => format!("in force  built-in, by rollout {rollout}\n"),
        (rollout, revision) => format!("in force  revision {revision}, by rollout {rollout}\n"),
    };
    if let Some(open) = &status.open {
        let region = open.region.as_deref().unwrap_or("all regions");
        let share = f64::from(open.share) / 100.0;
        let paused = if open.paused { ", paused" } else { "" };
        text += &format!(
            "open      rollout {} of revision {}: {} in {region}, {share} %{paused}; led by {} since {}\n",
            open.rollout, open.revision, open.stage, open.by, open.started_at
        );
    } else if let Some(last) = &status.last {
        let outcome = last.outcome.as_deref().unwrap_or_default();
        let reason = last.reason.as_deref().unwrap_or_default();
        let line = format!(
            "last      {} {} of revision {}: {outcome} {reason}",
            last.kind, last.rollout, last.revision
        );
        text += line.trim_end();
        text.push('\n');
    }
    for it in &status.gateways {
        let alive = if it.alive { "" } else { "  not alive" };
        let refused = it.refused.as_deref().unwrap_or_default();
        let line = format!(
            "gateway   {}  {:<16} {:<9} revision {:<5} {:>5} %  {:.0} s ago  {refused}{alive}",
            it.gateway,
            it.region,
            it.state,
            it.revision,
            it.share * 100.0,
            it.age_s
        );
        text += line.trim_end();
        text.push('\n');
    }
    text
}
