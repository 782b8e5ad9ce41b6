//! The TOML file: its grammar, and errors that name file, line and key.

use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;
use toml::de::DeTable;

use super::admin_section::AdminSection;
use super::endpoint_section::EndpointSection;
use super::limits::{
    CacheSettings, ConsistencySettings, HealthSettings, ReplicationSettings, ServerSettings,
    SpillSettings, SteeringSettings,
};
use super::upstream_section::UpstreamSection;
use super::{EndpointConfig, Environment, UpstreamConfig};
use crate::postgres::pool::PoolSettings;
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
    pub(super) admin: AdminSection,
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
    cache_control: Option<Spanned<String>>,
    #[serde(default)]
    session_cookie: bool,
    rate_limit: Option<Spanned<String>>,
}

impl ConfigFile {
    /// The names of `[admin] hosts`.
    pub(super) fn admin_hosts(&self) -> Result<Vec<String>, ConfigError> {
        let hosts = self.content.admin.hosts().iter();
        let name = |host: &Spanned<String>| {
            let is_name = |name: &str| {
                let of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
                !name.is_empty() && name.bytes().all(of_a_name)
            };
            let why = "expected the name of a host, without a port";
            let parsed = |name: &String| is_name(name).then(|| name.clone()).ok_or(why);
            self.parsed(host, "admin.hosts", parsed)
        };
        hosts.map(name).collect()
    }

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
                place: self.table(
                    &section.path,
                    &[key("cache_control", &section.cache_control)],
                ),
                path: section.path.get_ref().clone(),
                consistency: match &section.consistency {
                    None => Consistency::STRONG,
                    Some(text) => self.parsed(text, "consistency", |text| text.parse())?,
                },
                cache_control: section
                    .cache_control
                    .as_ref()
                    .map(|it| it.get_ref().clone()),
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
        self.source.place(first.span().start, keys.collect())
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

/// A file's name and text, to turn byte offsets into lines.
struct Source {
    name: Arc<str>,
    text: String,
}

impl Source {
    fn line(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    fn place(&self, offset: usize, keys: Arc<[(&'static str, usize)]>) -> Place {
        Place::Line {
            file: Arc::clone(&self.name),
            line: self.line(offset),
            keys,
        }
    }

    /// What stands there.
    fn written(&self, span: Range<usize>) -> &str {
        self.text.get(span).unwrap_or_default()
    }

    /// Where the value of a section's key stands.
    fn find(&self, section: &str, key: &str) -> Option<Range<usize>> {
        let file = DeTable::parse(&self.text).ok()?;
        let section = file.get_ref().get(section)?.get_ref();
        Some(section.get(key)?.span())
    }

    /// Turns the parser's error into one line with file, line, key and value, as far as there are.
    fn explain(&self, error: &toml::de::Error) -> ConfigError {
        let message = error.message();
        let Some(span) = error.span() else {
            return ConfigError::new(&Place::File(Arc::clone(&self.name)), message);
        };
        let place = self.place(span.start, Arc::default());
        if let Some(expected) = expected(message)
            && let Some(key) = self.key_of(span.start)
        {
            return ConfigError::refused(&place, key, self.written(span), expected);
        }
        let start = self.text[..span.start]
            .rfind('\n')
            .map_or(0, |newline| newline + 1);
        let line = self.text[start..].lines().next().unwrap_or_default();
        let about_keys = ["missing field", "unknown field", "duplicate"];
        let about_keys = about_keys.iter().any(|start| message.starts_with(start));
        match line.split_once('=') {
            Some((key, _)) if is_key(key.trim()) && about_keys => {
                ConfigError::new(&place, format!("{}: {message}", key.trim()))
            }
            Some((key, value)) if is_key(key.trim()) => {
                ConfigError::refused(&place, key.trim(), value.trim(), message)
            }
            _ => ConfigError::new(&place, message),
        }
    }

    /// The key whose value, or an element of it, begins there.
    fn key_of(&self, offset: usize) -> Option<&str> {
        let (before, _) = self.text[..offset].rsplit_once('=')?;
        let before = before.trim_end();
        let start = before.rfind(|c: char| !c.is_ascii() || !is_key(c.encode_utf8(&mut [0; 4])));
        let (lead, key) = before.split_at(start.map_or(0, |at| at + 1));
        let follows = lead.is_empty() || lead.ends_with(['\n', ' ', '\t', '{', ',']);
        (follows && is_key(key)).then_some(key)
    }
}

/// The start of the value of a key that may be absent.
pub(super) fn key<T>(
    key: &'static str,
    value: &Option<Spanned<T>>,
) -> (&'static str, Option<usize>) {
    (key, value.as_ref().map(|value| value.span().start))
}

/// Whether a text is a TOML key as people write it; what is none may be a password.
fn is_key(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// What serde says was expected, in TOML's words; none when the error is not about a value.
fn expected(message: &str) -> Option<String> {
    let about_value = ["invalid type: ", "invalid value: ", "invalid length "];
    about_value
        .iter()
        .find(|start| message.starts_with(**start))?;
    let (_, expected) = message.rsplit_once(", expected ")?;
    let expected = match expected {
        "i64" | "u64" | "u32" | "u16" | "usize" => "a whole number",
        "a boolean" => "true or false",
        "a sequence" => "an array",
        "a map" => "a table",
        other if other.starts_with("struct ") => "a table",
        other => other,
    };
    Some(format!("expected {expected}"))
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
