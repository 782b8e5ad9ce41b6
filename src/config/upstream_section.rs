//! An `[[upstream]]` as TOML has it, and the way from there to an [`UpstreamConfig`].

use std::time::Duration;

use http::uri::PathAndQuery;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::file::ConfigFile;
use super::{
    CheckConfig, Environment, UpstreamConfig, UpstreamLimits, UpstreamNodeConfig, UpstreamSettings,
};
use tidegate_model::ConfigError;
use tidegate_model::RegionId;
use tidegate_model::values::{count, duration};

/// Nodes of one upstream: a few per region.
const NODES_MAX: usize = 32;

/// Longest name; it labels metrics.
const NAME_LENGTH_MAX: usize = 64;

/// One `[[upstream]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpstreamSection {
    name: Spanned<String>,
    nodes: Spanned<Vec<NodeSection>>,
    check: Option<CheckSection>,
    #[serde(default = "connect_timeout", deserialize_with = "duration")]
    connect_timeout: Duration,
    #[serde(default, deserialize_with = "some_duration")]
    timeout: Option<Duration>,
    #[serde(default = "idle_timeout", deserialize_with = "duration")]
    idle_timeout: Duration,
    #[serde(default = "connections_max", deserialize_with = "count")]
    connections_max: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeSection {
    region: Spanned<String>,
    url: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckSection {
    path: Spanned<String>,
    #[serde(default = "check_interval", deserialize_with = "duration")]
    interval: Duration,
}

impl UpstreamSection {
    /// Checks the section; nodes of the local region come first.
    pub(super) fn resolve(
        &self,
        file: &ConfigFile,
        environment: &Environment,
        local: Option<&RegionId>,
    ) -> Result<UpstreamConfig, ConfigError> {
        let check = |section: &CheckSection| -> Result<_, ConfigError> {
            let path = file.parsed(&section.path, "upstream.check.path", |text| path(text))?;
            let interval = section.interval;
            Ok(CheckConfig { path, interval })
        };
        let check = self.check.as_ref().map(check).transpose()?;
        let limits = UpstreamLimits {
            connect_timeout: self.connect_timeout,
            timeout: self.timeout,
            idle_timeout: self.idle_timeout,
            connections_max: self.connections_max,
        };
        let mut nodes = self.nodes(file, environment)?;
        nodes.sort_by_key(|node| node.region.as_ref() != local);
        Ok(UpstreamConfig {
            place: file.place(&self.name),
            name: file.parsed(&self.name, "upstream.name", |text| name(text))?,
            settings: UpstreamSettings {
                nodes,
                check,
                limits,
                steering: file.content.steering.clone(),
            },
        })
    }

    fn nodes(
        &self,
        file: &ConfigFile,
        environment: &Environment,
    ) -> Result<Vec<UpstreamNodeConfig>, ConfigError> {
        let listed = self.nodes.get_ref();
        if !(1..=NODES_MAX).contains(&listed.len()) {
            let why = format!("expected 1 to {NODES_MAX} nodes");
            return Err(file.refused(&self.nodes, "upstream.nodes", why));
        }
        let mut nodes: Vec<UpstreamNodeConfig> = Vec::with_capacity(listed.len());
        for section in listed {
            let key = "upstream.nodes.region";
            let text = file.expanded(&section.region, key, environment)?;
            let region = file.parsed(&section.region, key, |_| text.parse())?;
            let key = "upstream.nodes.url";
            let text = file.expanded(&section.url, key, environment)?;
            let node = UpstreamNodeConfig {
                region: Some(region),
                url: file.parsed(&section.url, key, |_| text.parse())?,
            };
            let name = node.url.node_name();
            if nodes.iter().any(|known| known.url.node_name() == name) {
                return Err(file.refused(&section.url, key, format!("{name} is listed twice")));
            }
            nodes.push(node);
        }
        Ok(nodes)
    }
}

/// Whether a text may name an upstream; no URL does.
pub(super) fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=NAME_LENGTH_MAX).contains(&text.len()) && text.bytes().all(plain)
}

fn name(text: &str) -> Result<String, String> {
    if is_name(text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "expected 1 to {NAME_LENGTH_MAX} letters, digits, `-` and `_`"
    ))
}

fn path(text: &str) -> Result<PathAndQuery, &'static str> {
    let path = text.parse().ok().filter(|_| text.starts_with('/'));
    path.ok_or("expected a path that begins with `/`")
}

fn connect_timeout() -> Duration {
    UpstreamLimits::default().connect_timeout
}

fn idle_timeout() -> Duration {
    UpstreamLimits::default().idle_timeout
}

fn connections_max() -> usize {
    UpstreamLimits::default().connections_max
}

fn check_interval() -> Duration {
    CheckConfig::INTERVAL_DEFAULT
}

fn some_duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    duration(from).map(Some)
}
