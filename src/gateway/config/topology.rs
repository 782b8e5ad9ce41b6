//! The database servers: `[topology]`, and the replicas with their regions.

use super::merge::Merge;
use crate::postgres::Server;
use tidegate_model::settings::Setting;
use tidegate_model::{ConfigError, RegionId};

/// The region of the primary.
pub(super) const PRIMARY_REGION: Setting = Setting {
    key: "primary_region",
    default: || "none".to_owned(),
    range: RegionId::SETTING.range,
    meaning: "The primary's region, which answers and the topology name. Where it is that of the process, the \
              primary is its nearest node.",
    ..Setting::UNNAMED
};

/// The keys of a `[[topology.replica]]`.
pub(super) const REPLICA: &[Setting] = &[
    Setting {
        key: "region",
        range: RegionId::SETTING.range,
        meaning: "The replica's region; at most one replica per region.",
        ..Setting::UNNAMED
    },
    Setting {
        key: "url",
        range: Server::PRIMARY.range,
        meaning: "The replica. `read_replica_url` takes precedence over the one of the local region.",
        ..Setting::UNNAMED
    },
];

/// One replica of the topology.
#[derive(Debug, Clone)]
pub struct ReplicaConfig {
    /// Its region.
    pub region: RegionId,
    /// How to reach it.
    pub server: Server,
}

impl Merge<'_> {
    /// The replicas of the topology; the local one comes first, and a flag or variable replaces it.
    pub(super) fn replicas(&self, local: &RegionId) -> Result<Vec<ReplicaConfig>, ConfigError> {
        let content = &self.file.content;
        let own = self.value(&Server::READ_REPLICA)?;
        let own = own.map(|server| ReplicaConfig {
            region: local.clone(),
            server,
        });
        let overridden = own.is_some();
        let mut replicas: Vec<_> = own.into_iter().collect();
        let mut seen = Vec::new();
        for section in &content.topology.replica {
            let region: RegionId = self.file_value(&section.region, "topology.replica.region")?;
            if seen.contains(&region) {
                let key = "topology.replica.region";
                return Err(self
                    .file
                    .source
                    .refused(&section.region, key, "it is listed twice"));
            }
            seen.push(region.clone());
            let server = self.file_value(&section.url, "topology.replica.url")?;
            if !(overridden && region == *local) {
                replicas.push(ReplicaConfig { region, server });
            }
        }
        replicas.sort_by_key(|replica| replica.region != *local);
        Ok(replicas)
    }
}
