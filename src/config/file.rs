//! The TOML file: its grammar, and errors that name file, line and key.

use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;

use super::endpoint_section::EndpointSection;
use super::limits::{
    CacheSettings, ConsistencySettings, HealthSettings, PoolSettings, ReplicationSettings,
    ServerSettings, SpillSettings, SteeringSettings,
};
use super::upstream_section::UpstreamSection;
use super::{EndpointConfig, Environment, UpstreamConfig};
use tidegate_model::Consistency;
use tidegate_model::RegionId;
use tidegate_model::{ConfigError, Place};
use tidegate_policy::PolicyRow;

/// The configuration that applies where the operator's file says nothing.
const BUILT_IN: &str = include_str!("builtin.toml");

/// Largest configuration file read, so that a wrong path cannot fill the memory.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// One parsed file, not yet merged with flags and variables.
pub(super) struct ConfigFile {
    pub(super) content: Content,
    source: Source,
}

/// The keys of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Content {
    pub(super) region: Option<Spanned<String>>,
    pub(super) database_url: Option<Spanned<String>>,
    pub(super) read_replica_url: Option<Spanned<String>>,
    pub(super) listen: Option<Spanned<String>>,
    pub(super) admin: Option<Spanned<String>>,
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
    pub(super) primary_region: Option<Spanned<String>>,
    pub(super) replica: Vec<ReplicaSection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplicaSection {
    pub(super) region: Spanned<String>,
    pub(super) url: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicySection {
    path: Spanned<String>,
    consistency: Option<Spanned<String>>,
    cache_control: Option<String>,
    #[serde(default)]
    session_cookie: bool,
    rate_limit: Option<Spanned<String>>,
}

impl ConfigFile {
    /// The file compiled into the binary.
    pub(super) fn built_in() -> Result<Self, ConfigError> {
        Self::parse("built-in", BUILT_IN.to_owned())
    }

    /// Reads and parses a file of the operator's.
    pub(super) fn read(path: &str) -> Result<Self, ConfigError> {
        let unreadable = |why: &dyn std::fmt::Display| {
            ConfigError::new(Place::File(path.into()), format!("cannot be read: {why}"))
        };
        let metadata = std::fs::metadata(path).map_err(|error| unreadable(&error))?;
        if metadata.len() > FILE_BYTES_MAX {
            return Err(unreadable(&"it is larger than 4 MiB"));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(&error))?;
        Self::parse(path, text)
    }

    fn parse(name: &str, text: String) -> Result<Self, ConfigError> {
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
        let row = |section: &PolicySection| {
            Ok(PolicyRow {
                place: self.place(&section.path),
                path: section.path.get_ref().clone(),
                consistency: match &section.consistency {
                    None => Consistency::STRONG,
                    Some(text) => self.parsed(text, "consistency", |text| text.parse())?,
                },
                cache_control: section.cache_control.clone(),
                session_cookie: section.session_cookie,
                rate_limit: match &section.rate_limit {
                    None => None,
                    Some(text) => Some(self.parsed(text, "rate_limit", |text| text.parse())?),
                },
            })
        };
        self.content
            .policy
            .as_ref()
            .map(|rows| rows.iter().map(row).collect())
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
        let sections = self.content.upstream.iter();
        sections
            .map(|section| section.resolve(self, environment, local))
            .collect()
    }

    /// The file as a place.
    pub(super) fn whole(&self) -> Place {
        Place::File(Arc::clone(&self.source.name))
    }

    /// Where a value stands in the file.
    pub(super) fn place<T>(&self, value: &Spanned<T>) -> Place {
        self.source.place(value.span().start)
    }

    /// Parses a value, naming file, line and key when it does not parse.
    pub(super) fn parsed<T, V, E: std::fmt::Display>(
        &self,
        value: &Spanned<T>,
        key: &str,
        parse: impl FnOnce(&T) -> Result<V, E>,
    ) -> Result<V, ConfigError> {
        parse(value.get_ref())
            .map_err(|why| ConfigError::new(self.place(value), format!("{key}: {why}")))
    }

    /// Replaces every `${NAME}` in a value by the variable; a missing one is an error.
    pub(super) fn expanded(
        &self,
        value: &Spanned<String>,
        key: &str,
        environment: &Environment,
    ) -> Result<String, ConfigError> {
        expand(value.get_ref(), environment)
            .map_err(|why| ConfigError::new(self.place(value), format!("{key}: {why}")))
    }
}

/// A file's name and text, to turn byte offsets into lines.
struct Source {
    name: Arc<str>,
    text: String,
}

impl Source {
    fn place(&self, offset: usize) -> Place {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Place::Line {
            file: Arc::clone(&self.name),
            line,
        }
    }

    /// Turns the parser's error into one line with file, line and, where the line has one, key.
    fn explain(&self, error: &toml::de::Error) -> ConfigError {
        let message = without_strings(error.message());
        let Some(span) = error.span() else {
            return ConfigError::new(Place::File(Arc::clone(&self.name)), message);
        };
        let start = self.text[..span.start]
            .rfind('\n')
            .map_or(0, |newline| newline + 1);
        let line = self.text[start..].lines().next().unwrap_or_default();
        let message = match line.split_once('=') {
            Some((key, _)) if is_key(key.trim()) => format!("{}: {message}", key.trim()),
            _ => message,
        };
        ConfigError::new(self.place(span.start), message)
    }
}

/// Whether a text is a TOML key as people write it; what is none may be a password.
fn is_key(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// Hides the string that a type error repeats: under a mistaken key it may be a URL with a password.
fn without_strings(message: &str) -> String {
    let quoted = message
        .split_once("string \"")
        .and_then(|(before, rest)| Some((before, rest.rsplit_once("\", expected")?.1)));
    match quoted {
        Some((before, after)) => format!("{before}a string, expected{after}"),
        None => message.to_owned(),
    }
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
