//! The TOML file: its grammar, and errors that name file, line and key.

use serde::Deserialize;
use toml::Spanned;

use super::admin_section::AdminSection;
use super::endpoint_section::EndpointSection;
use super::fleet_section::FleetSection;
use super::policy_section::PolicySection;
use super::source::Source;
use super::upstream_section::UpstreamSection;
use crate::cache::CacheSettings;
use crate::endpoint::EndpointConfig;
use crate::http::{CompressionSettings, ServerSettings};
use crate::postgres::monitor::{HealthSettings, ReplicationSettings};
use crate::postgres::pool::{PoolSettings, SpillSettings};
use crate::regions::ObserveSettings;
use crate::storage::StorageSettings;
use crate::upstream::{UpstreamConfig, UpstreamLimits};
use tidegate_model::Environment;
use tidegate_model::RegionId;
use tidegate_model::settings::{Section, Setting};
use tidegate_model::{ConfigError, Place, read_file};
use tidegate_policy::{ConsistencySettings, PolicyRow};
use tidegate_steering::SteeringSettings;

/// The configuration that applies where the operator's file sets nothing.
const BUILT_IN: &str = include_str!("builtin.toml");

/// Largest configuration file read, so that a wrong path cannot fill the memory.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// One parsed file, not yet merged with flags and variables.
pub(super) struct ConfigFile {
    pub(super) content: Content,
    pub(super) source: Source,
}

/// The keys of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Content {
    region: Option<Spanned<String>>,
    database_url: Option<Spanned<String>>,
    read_replica_url: Option<Spanned<String>>,
    traffic_policy: Option<Spanned<String>>,
    listen: Option<Spanned<String>>,
    pub(super) admin: AdminSection,
    tls: TlsSection,
    pub(super) fleet: FleetSection,
    pub(super) topology: TopologySection,
    pub(super) server: ServerSettings,
    pub(super) pool: PoolSettings,
    pub(super) replication: ReplicationSettings,
    pub(super) health: HealthSettings,
    pub(super) consistency: ConsistencySettings,
    pub(super) cache: CacheSettings,
    pub(super) compression: CompressionSettings,
    upstream: Vec<UpstreamSection>,
    pub(super) steering: SteeringSettings,
    pub(super) spill: SpillSettings,
    pub(super) observe: ObserveSettings,
    pub(super) storage: StorageSettings,
    policy: Option<Vec<PolicySection>>,
    endpoint: Option<Vec<EndpointSection>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TlsSection {
    cert: Option<Spanned<String>>,
    key: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TopologySection {
    primary_region: Option<Spanned<String>>,
    pub(super) replica: Vec<ReplicaSection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplicaSection {
    pub(super) region: Spanned<String>,
    pub(super) url: Spanned<String>,
}

impl Content {
    /// The value of a setting that is not in the section of a room, with its whole key.
    pub(super) fn value(&self, setting: &Setting) -> Option<(&'static str, &Spanned<String>)> {
        let (key, value) = match setting.key {
            "region" => ("region", &self.region),
            "database_url" => ("database_url", &self.database_url),
            "read_replica_url" => ("read_replica_url", &self.read_replica_url),
            "traffic_policy" => ("traffic_policy", &self.traffic_policy),
            "listen" => ("listen", &self.listen),
            "admin" => (self.admin.key, &self.admin.listen),
            "tls.cert" => ("tls.cert", &self.tls.cert),
            "tls.key" => ("tls.key", &self.tls.key),
            "primary_region" => ("topology.primary_region", &self.topology.primary_region),
            "fleet.name" => ("fleet.name", &self.fleet.name),
            "fleet.state_dir" => ("fleet.state_dir", &self.fleet.state_dir),
            "fleet.listen" => ("fleet.listen", &self.fleet.listen),
            "fleet.certificate" => ("fleet.certificate", &self.fleet.certificate),
            "fleet.key" => ("fleet.key", &self.fleet.key),
            "fleet.ca" => ("fleet.ca", &self.fleet.ca),
            _ => return None,
        };
        Some((key, value.as_ref()?))
    }
}

impl ConfigFile {
    /// The names of `[admin] hosts`.
    pub(super) fn admin_hosts(&self) -> Result<Vec<String>, ConfigError> {
        let hosts = self.content.admin.hosts.iter();
        let name = |host: &Spanned<String>| {
            let is_name = |name: &str| {
                let of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
                !name.is_empty() && name.bytes().all(of_a_name)
            };
            let why = "expected the name of a host, without a port";
            let parsed = |name: &String| is_name(name).then(|| name.clone()).ok_or(why);
            self.source.parsed(host, "admin.hosts", parsed)
        };
        hosts.map(name).collect()
    }

    /// The file compiled into the binary.
    pub(super) fn built_in() -> Result<Self, ConfigError> {
        Self::parse("built-in", BUILT_IN.to_owned())
    }

    /// Reads and parses the operator's file.
    pub(super) fn read(path: &str) -> Result<Self, ConfigError> {
        let unreadable = |why: &dyn std::fmt::Display| {
            ConfigError::new(&Place::File(path.into()), format!("cannot be read: {why}"))
        };
        let text = read_file(path, FILE_BYTES_MAX).map_err(|error| unreadable(&error))?;
        let text = String::from_utf8(text).map_err(|error| unreadable(&error))?;
        Self::parse(path, text)
    }

    pub(super) fn parse(name: &str, text: String) -> Result<Self, ConfigError> {
        let source = Source {
            name: name.into(),
            text,
        };
        match toml::from_str(&source.text) {
            Ok(content) => Ok(Self { content, source }),
            Err(error) => Err(source.explain(&error)),
        }
    }

    /// The policy rows, `None` when the file lists none.
    pub(super) fn policies(&self) -> Result<Option<Vec<PolicyRow>>, ConfigError> {
        let sections = self.content.policy.as_ref();
        let resolve = |section: &PolicySection| section.resolve(&self.source);
        sections
            .map(|rows| rows.iter().map(resolve).collect())
            .transpose()
    }

    /// The endpoints, `None` when the file lists none. A URL in place of an upstream's name adds
    /// an upstream.
    pub(super) fn endpoints(
        &self,
        environment: &Environment,
        upstreams: &mut Vec<UpstreamConfig>,
    ) -> Result<Option<Vec<EndpointConfig>>, ConfigError> {
        let sections = self.content.endpoint.as_ref();
        let mut resolve =
            |section: &EndpointSection| section.resolve(&self.source, environment, upstreams);
        sections
            .map(|all| all.iter().map(&mut resolve).collect())
            .transpose()
    }

    /// The `[[upstream]]`s of the file; nodes of the local region come first.
    pub(super) fn upstreams(
        &self,
        environment: &Environment,
        local: Option<&RegionId>,
    ) -> Result<Vec<UpstreamConfig>, ConfigError> {
        let sections = self.content.upstream.iter().enumerate();
        let resolve = |(index, section): (usize, &UpstreamSection)| {
            let lines = self
                .source
                .lines_in("upstream", index, UpstreamLimits::KEYS);
            section.resolve(
                &self.source,
                environment,
                local,
                &lines,
                &self.content.steering,
            )
        };
        sections.map(resolve).collect()
    }
}
