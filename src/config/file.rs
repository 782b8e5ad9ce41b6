//! The TOML file: its grammar, and errors that name file, line and key.

use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;

use super::Environment;
use super::endpoint_section::EndpointSection;
use super::policy_section::PolicySection;
use super::source::Source;
use super::upstream_section::UpstreamSection;
use crate::cache::CacheSettings;
use crate::endpoint::EndpointConfig;
use crate::http::ServerSettings;
use crate::postgres::monitor::{HealthSettings, ReplicationSettings};
use crate::postgres::pool::{PoolSettings, SpillSettings};
use crate::upstream::{UpstreamConfig, UpstreamLimits};
use tidegate_model::RegionId;
use tidegate_model::settings::{Section, Setting};
use tidegate_model::{ConfigError, Place};
use tidegate_policy::{ConsistencySettings, PolicyRow};
use tidegate_steering::SteeringSettings;

/// The configuration that applies where the operator's file says nothing.
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
    listen: Option<Spanned<String>>,
    admin: Option<Spanned<String>>,
    pub(super) topology: TopologySection,
    pub(super) server: ServerSettings,
    pub(super) pool: PoolSettings,
    pub(super) replication: ReplicationSettings,
    pub(super) health: HealthSettings,
    pub(super) consistency: ConsistencySettings,
    pub(super) cache: CacheSettings,
    upstream: Vec<UpstreamSection>,
    pub(super) steering: SteeringSettings,
    pub(super) spill: SpillSettings,
    policy: Option<Vec<PolicySection>>,
    endpoint: Option<Vec<EndpointSection>>,
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
            "listen" => ("listen", &self.listen),
            "admin" => ("admin", &self.admin),
            "primary_region" => ("topology.primary_region", &self.topology.primary_region),
            _ => return None,
        };
        Some((key, value.as_ref()?))
    }
}

impl ConfigFile {
    /// The file compiled into the binary.
    pub(super) fn built_in() -> Result<Self, ConfigError> {
        Self::parse("built-in", BUILT_IN.to_owned())
    }

    /// Reads and parses a file of the operator's.
    pub(super) fn read(path: &str) -> Result<Self, ConfigError> {
        let unreadable = |why: &dyn std::fmt::Display| {
            ConfigError::new(&Place::File(path.into()), format!("cannot be read: {why}"))
        };
        let metadata = std::fs::metadata(path).map_err(|error| unreadable(&error))?;
        if metadata.len() > FILE_BYTES_MAX {
            return Err(unreadable(&"it is larger than 4 MiB"));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(&error))?;
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
        let resolve = |section: &PolicySection| section.resolve(self);
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
        let mut resolve = |section: &EndpointSection| section.resolve(self, environment, upstreams);
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
            section.resolve(self, environment, local, &lines)
        };
        sections.map(resolve).collect()
    }

    /// Where a value stands in the file.
    pub(super) fn place<T>(&self, value: &Spanned<T>) -> Place {
        self.source.place(value.span().start, Arc::default())
    }

    /// Where a table stands that begins with a value, and where some of its keys do.
    pub(super) fn table<T>(
        &self,
        first: &Spanned<T>,
        keys: &[(&'static str, Option<usize>)],
    ) -> Place {
        let keys = keys.iter();
        let keys = keys.filter_map(|(key, at)| Some((*key, self.source.line((*at)?))));
        self.table_with_lines(first, &keys.collect::<Vec<_>>())
    }

    /// The same with the lines of the keys.
    pub(super) fn table_with_lines<T>(
        &self,
        first: &Spanned<T>,
        lines: &[(&'static str, usize)],
    ) -> Place {
        self.source.place(first.span().start, lines.into())
    }

    /// Where the value of a section's key stands, if the file sets it.
    pub(super) fn place_in(&self, section: &str, key: &str) -> Option<Place> {
        let span = self.source.find(section, key)?;
        Some(self.source.place(span.start, Arc::default()))
    }

    /// Refuses a value.
    pub(super) fn refused<T>(
        &self,
        value: &Spanned<T>,
        key: &str,
        why: impl std::fmt::Display,
    ) -> ConfigError {
        let written = self.source.written(value.span());
        ConfigError::refused(&self.place(value), key, written, why)
    }

    /// Refuses a value that has been merged with defaults: the first of these keys of a section that
    /// stands in the file.
    pub(super) fn refused_in<'a>(
        &self,
        section: &str,
        mut keys: impl Iterator<Item = (&'a str, String)>,
    ) -> Option<ConfigError> {
        keys.find_map(|(key, why)| {
            let span = self.source.find(section, key)?;
            let place = self.source.place(span.start, Arc::default());
            let written = self.source.written(span);
            Some(ConfigError::refused(
                &place,
                &format!("{section}.{key}"),
                written,
                why,
            ))
        })
    }

    /// Parses a value, naming file, line and key when it does not parse.
    pub(super) fn parsed<T, V, E: std::fmt::Display>(
        &self,
        value: &Spanned<T>,
        key: &str,
        parse: impl FnOnce(&T) -> Result<V, E>,
    ) -> Result<V, ConfigError> {
        parse(value.get_ref()).map_err(|why| self.refused(value, key, why))
    }

    /// Replaces every `${NAME}` in a value by the variable; a missing one is an error.
    pub(super) fn expanded(
        &self,
        value: &Spanned<String>,
        key: &str,
        environment: &Environment,
    ) -> Result<String, ConfigError> {
        expand(value.get_ref(), environment).map_err(|why| self.refused(value, key, why))
    }
}

/// The start of the value of a key that may be absent.
pub(super) fn key<T>(
    key: &'static str,
    value: &Option<Spanned<T>>,
) -> (&'static str, Option<usize>) {
    (key, value.as_ref().map(|value| value.span().start))
}

fn expand(text: &str, environment: &Environment) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, from) = rest.split_at(start);
        let end = from.find('}').ok_or("`${` without `}`")?;
        let name = &from[2..end];
        let value = environment
            .get(name)
            .ok_or(format!("the variable {name} is not set"))?;
        expanded.push_str(before);
        expanded.push_str(value);
        rest = &from[end + 1..];
    }
    expanded.push_str(rest);
    Ok(expanded)
}
