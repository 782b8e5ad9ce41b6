//! One endpoint of the configuration, compiled.

use std::sync::Arc;

use super::{Backend, EndpointAuth, EndpointConfig, EndpointError, EndpointMethod};
use crate::sql::SqlTarget;
use crate::upstream::Upstreams;
use tidegate_model::Place;
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
    /// Its backend.
    pub backend: Backend,
    /// Its metrics.
    pub metrics: Arc<EndpointMetrics>,
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
        Ok(Self {
            place: config.place.clone(),
            method: config.method.clone(),
            template: config.path.clone(),
            auth: config.auth,
            metrics: Arc::new(EndpointMetrics::new(&config.path)),
            backend: Backend::compile(config, upstreams)?,
        })
    }

    /// Its statement, if it runs one.
    #[must_use]
    pub fn sql(&self) -> Option<&SqlTarget> {
        self.backend.sql()
    }
}
