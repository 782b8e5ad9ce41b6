//! One upstream: an application that serves over HTTP, in one region or several.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::uri::PathAndQuery;
use reqwest::Url;

use tidegate_model::Place;
use tidegate_model::RegionId;
use tidegate_model::settings;
use tidegate_model::values::{DURATION, Optional, count};
use tidegate_steering::SteeringSettings;

/// An application that endpoints forward requests to.
#[derive(Debug, Clone)]
pub struct UpstreamConfig {
    /// Its place in the file.
    pub place: Place,
    /// Its name for endpoints, logs and metrics: the URL if an endpoint gives one in place of a
    /// name.
    pub name: String,
    /// Everything else.
    pub settings: UpstreamSettings,
}

impl UpstreamConfig {
    /// The upstream of an endpoint that gives a URL in place of a name.
    pub(crate) fn of_url(place: Place, url: NodeUrl) -> Self {
        let node = UpstreamNodeConfig { region: None, url };
        Self {
            place,
            name: node.url.to_string(),
            settings: UpstreamSettings {
                nodes: vec![node],
                roots: None,
                check: None,
                limits: UpstreamLimits::default(),
                steering: SteeringSettings::default(),
            },
        }
    }
}

/// The nodes of an upstream and its limits.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamSettings {
    /// Where it runs, nearest first; never empty.
    pub nodes: Vec<UpstreamNodeConfig>,
    /// PEM file of the roots that its nodes' certificates are verified with; without it, those of the
    /// system.
    pub roots: Option<PathBuf>,
    /// How its nodes are checked; without it they are known by their answers alone.
    pub check: Option<CheckConfig>,
    /// The limits of one upstream.
    pub limits: UpstreamLimits,
    /// How its nodes are chosen.
    pub steering: SteeringSettings,
}

/// One node of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamNodeConfig {
    /// Its region; `None` for the single URL of an endpoint.
    pub region: Option<RegionId>,
    /// The URL that requests are sent to.
    pub url: NodeUrl,
}

/// An active check: a GET that a healthy node answers with 2xx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckConfig {
    /// Path and query, below the node's URL.
    pub path: PathAndQuery,
    /// Time between two checks of a node; also the most time one may take. Too long finds a frozen
    /// node late, too short is load.
    pub interval: Duration,
}

impl CheckConfig {
    /// How often a node is checked unless the file sets another interval.
    pub(crate) const INTERVAL_DEFAULT: Duration = Duration::from_secs(2);
}

settings! {
    /// The limits of an upstream.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct UpstreamLimits {
        /// Time to open a connection, TLS included.
        connect_timeout: Duration = Duration::from_millis(1_500), DURATION,
            low "a distant node is never reached: a round trip around the world takes 0.3 s. Up to \
                1 s, a single lost packet is a failure: only then does the kernel repeat it.",
            high "the next node is tried late.";
        /// Time from the end of a request to the head of its answer, all attempts included.
        timeout: Option<Duration> = None, Optional(DURATION, "request_deadline"),
            low "slow requests end that would have been answered.",
            high "clients wait for what is refused in the end.";
        /// Longest silence of an answer's body, and of a WebSocket. Must exceed the pause between an
        /// application's heartbeats.
        idle_timeout: Duration = Duration::from_secs(60), DURATION,
            low "quiet streams are cut off.",
            high "connections to clients and nodes that have gone stay open.";
        /// Requests and WebSockets at the same time, on all nodes together; one more gets 503.
        connections_max: usize = 1_000, count("requests"),
            low "bursts are refused.",
            high "requests to a slow application pile up here.";
    }
}

/// The URL of a node: scheme, host, port, and perhaps a path that requests' paths are appended to.
///
/// It contains no credentials, so that it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeUrl(Url);

impl NodeUrl {
    /// The URL; its path has no trailing slash unless it is `/`.
    #[must_use]
    pub fn as_url(&self) -> &Url {
        &self.0
    }

    /// The URL without its scheme: the node's name for logs, metrics and operators.
    #[must_use]
    pub fn node_name(&self) -> String {
        let url = self.to_string();
        url.split_once("://")
            .map_or_else(|| url.clone(), |(_, rest)| rest.to_owned())
    }
}

impl fmt::Display for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

/// Why a text is not the URL of a node. Nothing of the text is repeated: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeUrlError {
    /// Not a URL at all.
    #[error("it is not a valid URL: {0}")]
    Malformed(String),
    /// Neither `http` nor `https`.
    #[error("it must begin with http:// or https://")]
    Scheme,
    /// A user name or a password.
    #[error("it must not carry credentials")]
    Credentials,
    /// Nothing listens there.
    #[error("the port is 0")]
    Port,
    /// A query or a fragment.
    #[error("it must end with its path: no `?` and no `#`")]
    Query,
}

impl FromStr for NodeUrl {
    type Err = NodeUrlError;

    fn from_str(text: &str) -> Result<Self, NodeUrlError> {
        let mut url: Url = text
            .parse()
            .map_err(|why: <Url as FromStr>::Err| NodeUrlError::Malformed(why.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(NodeUrlError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(NodeUrlError::Credentials);
        }
        if url.port() == Some(0) {
            return Err(NodeUrlError::Port);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(NodeUrlError::Query);
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(Self(url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_keeps_its_path_without_the_last_slash() {
        for (text, shown) in [
            ("http://10.0.0.5:3000", "http://10.0.0.5:3000"),
            ("https://app.internal/", "https://app.internal"),
            ("http://app/base/", "http://app/base"),
            ("HTTP://App:80/Base", "http://app/Base"),
            ("http://[::1]:3000", "http://[::1]:3000"),
        ] {
            assert_eq!(text.parse::<NodeUrl>().unwrap().to_string(), shown);
        }
    }

    /// RFC 6298: the first repetition of a SYN follows after a second.
    #[test]
    fn a_single_lost_packet_is_no_failed_connection_by_default() {
        let connect_timeout = UpstreamLimits::default().connect_timeout;
        assert!(connect_timeout >= Duration::from_millis(1_300));
        assert!(connect_timeout < CheckConfig::INTERVAL_DEFAULT);
    }

    #[test]
    fn what_is_no_plain_url_is_refused_without_repeating_it() {
        for text in [
            "app:3000",
            "/app",
            "http://",
            "ftp://hunter2",
            "http://app:hunter2@host",
            "http://hunter2@host",
            "http://host/?key=hunter2",
            "http://host/#hunter2",
            "http://host:hunter2",
            "http://host:0/hunter2",
        ] {
            let error = text.parse::<NodeUrl>().unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
