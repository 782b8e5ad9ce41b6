//! An `[[upstream]]` as written in TOML, and its conversion to an [`UpstreamConfig`].

use std::time::Duration;

use http::uri::PathAndQuery;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::source::Source;
use crate::upstream::{
    CheckConfig, UpstreamConfig, UpstreamLimits, UpstreamNodeConfig, UpstreamSettings,
};
use tidegate_model::ConfigError;
use tidegate_model::Environment;
use tidegate_model::RegionId;
use tidegate_model::settings::Setting;
use tidegate_model::values::{DURATION, Form, count};
use tidegate_steering::SteeringSettings;

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
    #[serde(default, deserialize_with = "duration")]
    connect_timeout: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    timeout: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    idle_timeout: Option<Duration>,
    #[serde(default, deserialize_with = "requests")]
    connections_max: Option<usize>,
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
    #[serde(default, deserialize_with = "duration")]
    interval: Option<Duration>,
}

/// The keys of an `[[upstream]]` besides its limits.
pub(super) const UPSTREAM: &[Setting] = &[
    Setting {
        key: "name",
        range: || format!("1 to {NAME_LENGTH_MAX} letters, digits, `-` and `_`"),
        meaning: "What endpoints, logs and metrics call it.",
        ..Setting::UNNAMED
    },
    Setting {
        key: "nodes",
        range: || format!("1 to {NODES_MAX} tables with `region` and `url`"),
        meaning: "Where it runs. Nodes of the local region come first, then the others in the order given. A \
                  URL carries no credentials.",
        ..Setting::UNNAMED
    },
    Setting {
        key: "check",
        default: || "none".to_owned(),
        range: || "a table with `path` and `interval`".to_owned(),
        meaning: "A path that a healthy node answers with 2xx, and how often it is requested. Without a \
                  check, requests find out.",
        ..Setting::UNNAMED
    },
];

/// The keys of each of an upstream's `nodes`.
pub(super) const UPSTREAM_NODE: &[Setting] = &[
    Setting {
        key: "region",
        range: RegionId::SETTING.range,
        meaning: "The region that the node is in.",
        ..Setting::UNNAMED
    },
    Setting {
        key: "url",
        range: || "an `http` or `https` URL without credentials and query".to_owned(),
        meaning: "Where requests go; the path of a request is appended to its path.",
        ..Setting::UNNAMED
    },
];

/// The keys of an upstream's `check`.
pub(super) const UPSTREAM_CHECK: &[Setting] = &[
    Setting {
        key: "path",
        range: || "a path, with or without a query".to_owned(),
        meaning: "What is requested below the URL of a node.",
        ..Setting::UNNAMED
    },
    Setting {
        key: "interval",
        default: || DURATION.written(&CheckConfig::INTERVAL_DEFAULT),
        range: || DURATION.range(),
        meaning: "Time between two checks of a node; also the most time one may take.",
        too_low: "the checks are load.",
        too_high: "a node that no longer answers is found late.",
        ..Setting::UNNAMED
    },
];

impl UpstreamSection {
    /// Checks the section; nodes of the local region come first. The lines are those of its limits.
    pub(super) fn resolve(
        &self,
        source: &Source,
        environment: &Environment,
        local: Option<&RegionId>,
        limit_lines: &[(&'static str, usize)],
        steering: &SteeringSettings,
    ) -> Result<UpstreamConfig, ConfigError> {
        let check = |section: &CheckSection| -> Result<_, ConfigError> {
            let path = source.parsed(&section.path, "upstream.check.path", |text| path(text))?;
            let interval = section.interval.unwrap_or(CheckConfig::INTERVAL_DEFAULT);
            Ok(CheckConfig { path, interval })
        };
        let check = self.check.as_ref().map(check).transpose()?;
        let mut nodes = self.nodes(source, environment)?;
        nodes.sort_by_key(|node| node.region.as_ref() != local);
        Ok(UpstreamConfig {
            place: source.table_with_lines(&self.name, limit_lines),
            name: source.parsed(&self.name, "upstream.name", |text| name(text))?,
            settings: UpstreamSettings {
                nodes,
                check,
                limits: self.limits(),
                steering: steering.clone(),
            },
        })
    }

    fn limits(&self) -> UpstreamLimits {
        let default = UpstreamLimits::default();
        UpstreamLimits {
            connect_timeout: self.connect_timeout.unwrap_or(default.connect_timeout),
            timeout: self.timeout.or(default.timeout),
            idle_timeout: self.idle_timeout.unwrap_or(default.idle_timeout),
            connections_max: self.connections_max.unwrap_or(default.connections_max),
        }
    }

    fn nodes(
        &self,
        source: &Source,
        environment: &Environment,
    ) -> Result<Vec<UpstreamNodeConfig>, ConfigError> {
        let listed = self.nodes.get_ref();
        if !(1..=NODES_MAX).contains(&listed.len()) {
            let why = format!("expected 1 to {NODES_MAX} nodes");
            return Err(source.refused(&self.nodes, "upstream.nodes", why));
        }
        let mut nodes: Vec<UpstreamNodeConfig> = Vec::with_capacity(listed.len());
        for section in listed {
            let key = "upstream.nodes.region";
            let text = source.expanded(&section.region, key, environment)?;
            let region = source.parsed(&section.region, key, |_| text.parse())?;
            let key = "upstream.nodes.url";
            let text = source.expanded(&section.url, key, environment)?;
            let node = UpstreamNodeConfig {
                region: Some(region),
                url: source.parsed(&section.url, key, |_| text.parse())?,
            };
            let name = node.url.node_name();
            if nodes.iter().any(|known| known.url.node_name() == name) {
                return Err(source.refused(&section.url, key, format!("{name} is listed twice")));
            }
            nodes.push(node);
        }
        Ok(nodes)
    }
}

/// Whether a text is a valid name for an upstream; a URL is not.
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

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    DURATION.read(from).map(Some)
}

fn requests<'de, D: Deserializer<'de>>(from: D) -> Result<Option<usize>, D::Error> {
    count("requests").read(from).map(Some)
}
