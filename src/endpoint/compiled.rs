//! One endpoint of the configuration, compiled.

use std::sync::Arc;

use crate::config::{EndpointAuth, EndpointConfig, EndpointMethod, TargetConfig};
use crate::sql::{SqlTarget, SqlTargetError};
use crate::upstream::{Upstream, Upstreams};
use tidegate_model::{ConfigError, Place};
use tidegate_telemetry::EndpointMetrics;

/// One endpoint, ready to serve.
#[derive(Debug)]
pub struct Endpoint {
    /// Its place in the file.
    pub place: Place,
    /// The methods that it answers.
    pub method: EndpointMethod,
    /// The path template, which also labels logs and metrics.
    pub template: String,
    /// The authentication that it requires.
    pub auth: EndpointAuth,
    /// What it does.
    pub target: Target,
    /// Its metrics.
    pub metrics: EndpointMetrics,
}

/// What an endpoint does.
#[derive(Debug)]
pub enum Target {
    /// Runs a statement.
    Sql(SqlTarget),
    /// Forwards the request.
    Upstream {
        /// The upstream.
        upstream: Arc<Upstream>,
        /// Whether all clients get the same answer.
        cache: bool,
    },
}

/// What an answer that any client may receive depends on, besides the path.
#[derive(Debug, Clone, Copy)]
pub enum Shared<'a> {
    /// These query parameters, sorted.
    Parameters(&'a [String]),
    /// The query as sent.
    Query,
}

/// Why an endpoint of the configuration cannot be used. Displays without the key and its value,
/// which are added in a [`ConfigError`].
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The statement or its related keys.
    #[error(transparent)]
    Sql(#[from] SqlTargetError),
    /// An upstream that does not exist.
    #[error("there is no [[upstream]] named `{0}`")]
    NoUpstream(String),
    /// A template that does not begin with a slash.
    #[error("it must begin with `/`")]
    NoSlash,
    /// A template that the router refuses.
    #[error("{0}")]
    Template(matchit::InsertError),
    /// A method and template that are already used.
    #[error("the same method and path are already used at {0}")]
    Repeated(Place),
}

impl EndpointError {
    /// Adds the place, the key and its value to the error.
    pub(super) fn refuse(&self, endpoint: &EndpointConfig) -> ConfigError {
        let statement = match &endpoint.target {
            TargetConfig::Sql(sql) => &*sql.statement,
            TargetConfig::Upstream(_) => "",
        };
        let (key, value) = match self {
            Self::Sql(SqlTargetError::AnyMethod) => ("method", endpoint.method.to_string()),
            Self::Sql(SqlTargetError::UnusedBodyString(name)) => ("body_strings", name.clone()),
            Self::Sql(_) => ("sql", statement.to_owned()),
            Self::NoUpstream(name) => ("upstream", name.clone()),
            Self::NoSlash | Self::Template(_) | Self::Repeated(_) => {
                ("path", endpoint.path.clone())
            }
        };
        ConfigError::of_key(&endpoint.place, key, &value, self)
    }
}

impl Endpoint {
    /// Compiles one endpoint.
    ///
    /// # Errors
    /// Names the key and states what is wrong with it.
    pub fn compile(config: &EndpointConfig, upstreams: &Upstreams) -> Result<Self, EndpointError> {
        if !config.path.starts_with('/') {
            return Err(EndpointError::NoSlash);
        }
        let target = match &config.target {
            TargetConfig::Sql(sql) => Target::Sql(SqlTarget::compile(config, sql)?),
            TargetConfig::Upstream(target) => {
                let upstream = upstreams.get(&target.name);
                let missing = || EndpointError::NoUpstream(target.name.clone());
                Target::Upstream {
                    upstream: Arc::clone(upstream.ok_or_else(missing)?),
                    cache: target.cache,
                }
            }
        };
        Ok(Self {
            place: config.place.clone(),
            method: config.method.clone(),
            template: config.path.clone(),
            auth: config.auth,
            metrics: EndpointMetrics::new(&config.path),
            target,
        })
    }

    /// What an answer depends on besides the path; none if it depends on more than path and query,
    /// or is not a plain 200, so that no other client may receive it.
    #[must_use]
    pub fn shared(&self) -> Option<Shared<'_>> {
        match &self.target {
            Target::Sql(sql) => sql.shared_parameters.as_deref().map(Shared::Parameters),
            Target::Upstream { cache, .. } => cache.then_some(Shared::Query),
        }
    }
    /// Its statement, if it runs one.
    #[must_use]
    pub fn sql(&self) -> Option<&SqlTarget> {
        match &self.target {
            Target::Sql(sql) => Some(sql),
            Target::Upstream { .. } => None,
        }
    }
}
