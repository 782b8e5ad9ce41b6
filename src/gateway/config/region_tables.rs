//! Reads the traffic policy and the address database.

use std::sync::Arc;

use super::merge::Merge;
use crate::endpoint::RegionTables;
use crate::regions::{GEOIP_DATABASE, GeoDatabase, PolicyFile, PolicyFileError, TRAFFIC_POLICY};
use tidegate_model::ConfigError;

/// The traffic policy and the address database, as far as they are configured.
///
/// # Errors
/// Names what sets the file that cannot be used, and says why; the report has every error of a
/// policy.
pub(super) fn regions(merge: &Merge<'_>) -> Result<RegionTables, ConfigError> {
    let mut report = String::new();
    let policy = merge.value_by(&TRAFFIC_POLICY, |name| {
        PolicyFile::read(name).inspect_err(|error| {
            if let PolicyFileError::Refused { report: all, .. } = error {
                report.clone_from(all);
            }
        })
    });
    let geo = merge.value_by(&GEOIP_DATABASE, GeoDatabase::read)?;
    Ok(RegionTables {
        policy: policy
            .map_err(|error| error.with_report(report))?
            .map(Arc::new),
        geo: geo.map(Arc::new),
    })
}
