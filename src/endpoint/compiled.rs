//! One endpoint of the configuration, compiled.

use std::sync::Arc;

use super::Backend;
use crate::endpoint::{EndpointAuth, EndpointConfig, EndpointMethod, TargetConfig};
use crate::sql::{SqlPlace, SqlTarget, SqlTargetError};
use crate::upstream::Upstreams;
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
    /// What serves it.
    pub backend: Backend,
    /// Its metrics.
    pub metrics: Arc<EndpointMetrics>,
}

/// Why an endpoint of the configuration cannot be used. Displays without the key and its value,
/// which are added in a [`ConfigError`].
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The statement or its related keys.
    #[error(transparent)]
    Sql(#[from] SqlTargetError),
    /// Whether a statement may write depends on its method.
    #[error("it goes with `upstream` only")]
    AnyMethod,
    /// An upstream that is not there.
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
            Self::AnyMethod => ("method", endpoint.method.to_string()),
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
        let backend = match &config.target {
            TargetConfig::Sql(sql) => {
                let EndpointMethod::One(method) = &config.method else {
                    return Err(EndpointError::AnyMethod);
                };
                let place = SqlPlace {
                    method,
                    template: &config.path,
                    is_open: config.auth == EndpointAuth::None,
                };
                Backend::Sql(SqlTarget::compile(place, sql)?)
            }
            TargetConfig::Upstream(target) => {
                let upstream = upstreams.get(&target.name);
                let missing = || EndpointError::NoUpstream(target.name.clone());
                Backend::Upstream {
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
            metrics: Arc::new(EndpointMetrics::new(&config.path)),
            backend,
        })
    }

    /// Its statement, if it runs one.
    #[must_use]
    pub fn sql(&self) -> Option<&SqlTarget> {
        self.backend.sql()
    }
}
