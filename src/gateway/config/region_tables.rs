//! Reads the traffic policy and the address database.

use std::sync::Arc;

use super::fleet::peers_of;
use super::merge::Merge;
use crate::endpoint::RegionTables;
use crate::peers::{Peer, built_in_policy};
use crate::regions::{GEOIP_DATABASE, GeoDatabase, PolicyFile, PolicyFileError, TRAFFIC_POLICY};
use tidegate_model::{ConfigError, RegionId};

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
    let policy = match policy.map_err(|error| error.with_report(report))? {
        Some(policy) => Some(policy),
        None => built_in(&peers, local),
    };
    Ok(RegionTables {
        policy: policy.map(Arc::new),
        geo: geo.map(Arc::new),
        peers: peers
            .into_iter()
            .map(|it| (it.region, it.address))
            .collect(),
    })
}

/// The policy of a fleet without a file; none without peers in other regions.
fn built_in(peers: &[Peer], local: Option<&RegionId>) -> Option<PolicyFile> {
    let local = local?;
    // Names of which no policy can be made are refused with the fleet.
    let has_others = peers.iter().any(|peer| peer.region != *local);
    has_others.then(|| built_in_policy(local, peers)).flatten()
}
