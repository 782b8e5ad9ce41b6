//! `tidegate policy rollback`: back to what was in force, at once and everywhere.

use std::time::Duration;

use tidegate_model::Environment;
use tidegate_rollout::GatewayReport;
use tokio::time::{Instant, sleep};

use super::file::print;
use super::store::{author, open, usable};
use crate::gateway::cli::Exit;
use crate::policy_store::{InForceRow, PolicyRollback, StoreSession};

/// How long gateways may take to report it.
const WAIT: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(250);

/// Ends an open rollout, else goes back; returns once all living gateways have followed.
pub(super) async fn roll_back(environment: &Environment, to: Option<u32>) -> Result<(), Exit> {
    let store = open(environment).await?;
    if let Some(revision) = to.filter(|it| *it > 0) {
        usable(&store, revision).await?;
    }
    let in_force = match store.roll_back(to, author(environment)).await? {
        PolicyRollback::Ended { rollout, in_force } => {
            print(&format!("rollout {rollout} has ended\n"))?;
            in_force
        }
        PolicyRollback::Done(in_force) => in_force,
    };
    all_follow(&store, in_force).await?;
    print(&match in_force.revision {
        0 => "the built-in policy is in force\n".to_owned(),
        revision => format!("revision {revision} is in force\n"),
    })
}

/// Waits until all living gateways decide by a revision.
pub(super) async fn all_follow(store: &StoreSession, in_force: InForceRow) -> Result<(), Exit> {
    let until = Instant::now() + WAIT;
    loop {
        let gateways = store.gateways().await?;
        let lacks = |it: &&GatewayReport| {
            it.follows() && (it.rollout, it.revision) != (in_force.rollout, in_force.revision)
        };
        let behind: Vec<_> = gateways.iter().filter(lacks).collect();
        if behind.is_empty() {
            return Ok(());
        }
        if Instant::now() > until {
            let name =
                |it: &&GatewayReport| format!("{} in {} ({})", it.gateway, it.region, it.state);
            let names: Vec<_> = behind.iter().map(name).collect();
            return Err(Exit::failed(format_args!(
                "revision {} is in force, but these gateways have not reported it: {}",
                in_force.revision,
                names.join(", ")
            )));
        }
        sleep(LOOK).await;
    }
}
