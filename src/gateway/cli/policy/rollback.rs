//! `tidegate policy rollback`: back to what was in force, at once and everywhere.

use serde_json::json;
use tidegate_model::Environment;
use tidegate_rollout::StoredRevision;

use super::file::{print, print_either};
use super::followed::{Followed, all_follow};
use super::operator::operator;
use super::rollout::taken_back;
use super::store::{open, plan_of};
use crate::gateway::cli::Exit;
use crate::policy_store::PolicyRollback;

/// Ends an open rollout, else goes back; returns once all living gateways have followed.
pub(super) async fn roll_back(
    environment: &Environment,
    to: Option<u32>,
    json: bool,
) -> Result<(), Exit> {
    let store = open(environment).await?;
    let check = |stored: &StoredRevision| plan_of(stored).map(drop).map_err(|exit| exit.message);
    let back = store.roll_back(to, &operator(environment), check).await?;
    let (ended, in_force) = match back {
        PolicyRollback::Ended { rollout, in_force } => (Some(rollout), in_force),
        PolicyRollback::Done { ended, in_force } => (ended, in_force),
    };
    if let Some(rollout) = ended.filter(|_| !json) {
        print(&format!("rollout {rollout} has ended\n"))?;
    }
    if let Followed::RolledBack(later) = all_follow(&store, in_force).await? {
        return Err(taken_back(in_force.by.revision, &later));
    }
    let text = match in_force.by.revision {
        0 => "the built-in policy is in force\n".to_owned(),
        revision => format!("revision {revision} is in force\n"),
    };
    print_either(
        json,
        &json!({ "ended": ended, "in_force": in_force }),
        &text,
    )
}
