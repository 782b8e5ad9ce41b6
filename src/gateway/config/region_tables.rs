//! Reads the traffic policy and the address database.

use std::sync::Arc;

use super::fleet::peers_of;
use super::fleet_section::fleet_word;
use super::merge::Merge;
use crate::endpoint::RegionTables;
use crate::peers::{Peer, built_in_policy};
use crate::policy_store::FLEET_NAME;
use crate::regions::{GEOIP_DATABASE, GeoDatabase, PolicyFile, PolicyFileError, TRAFFIC_POLICY};
use tidegate_model::{ConfigError, RegionId};
use tidegate_rollout::TrustedKeys;

/// The traffic policy and the address database, as far as they are configured.
///
/// # Errors
/// Names what sets the file that cannot be used, and says why; the report has every error of a
/// policy.
pub(super) fn regions(
    merge: &Merge<'_>,
    local: Option<&RegionId>,
) -> Result<RegionTables, ConfigError> {
    let mut report = String::new();
    let policy = merge.value_by(&TRAFFIC_POLICY, |name| {
        PolicyFile::read(name).inspect_err(|error| {
            if let PolicyFileError::Refused { report: all, .. } = error {
                report.clone_from(all);
            }
        })
    });
    let geo = merge.value_by(&GEOIP_DATABASE, GeoDatabase::read)?;
    let peers = peers_of(merge)?;
    let file = policy.map_err(|error| error.with_report(report))?;
    let is_built_in = file.is_none();
    let policy = match file {
        Some(policy) => Some(policy),
        None => built_in(&peers, local),
    };
    Ok(RegionTables {
        policy: policy.map(Arc::new),
        is_built_in,
        geo: geo.map(Arc::new),
        peers: peers
            .into_iter()
            .map(|it| (it.region, it.address))
            .collect(),
        trust: trust(merge)?,
    })
}

/// The fleet's name, and whose signatures count in it.
fn trust(merge: &Merge<'_>) -> Result<TrustedKeys, ConfigError> {
    let name = merge.value_by(&FLEET_NAME, fleet_word)?;
    let keys = merge.file.content.fleet.trusted_keys.iter();
    let key = |key| merge.file_value(key, "fleet.trusted_keys");
    Ok(TrustedKeys {
        fleet: name.unwrap_or_else(|| "default".to_owned()),
        keys: keys.map(key).collect::<Result<_, _>>()?,
    })
}

/// The policy of a fleet without a file; none without peers in other regions.
fn built_in(peers: &[Peer], local: Option<&RegionId>) -> Option<PolicyFile> {
    let local = local?;
    // Names of which no policy can be made are refused with the fleet.
    let has_others = peers.iter().any(|peer| peer.region != *local);
    has_others.then(|| built_in_policy(local, peers)).flatten()
}
