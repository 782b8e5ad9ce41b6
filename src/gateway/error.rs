//! Why a gateway cannot start or continue.

use std::io;
use std::net::SocketAddr;

use crate::auth::AuthSetupError;
use crate::gateway::admin::RecorderError;
use crate::http::TlsSetupError;
use crate::peers::MembershipError;
use crate::postgres::pool::PoolBuildError;
use tidegate_model::{ConfigError, TokenKeysError};
use tidegate_telemetry::trace::ExporterError;

/// Why a gateway cannot start or continue.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Metrics cannot be recorded.
    #[error("metrics: {0}")]
    Recorder(#[from] RecorderError),
    /// JWTs cannot be verified.
    #[error("JWT verification: {0}")]
    Verifier(#[from] AuthSetupError),
    /// No random token key.
    #[error("token keys: {0}")]
    TokenKeys(#[from] TokenKeysError),
    /// A pool cannot be made.
    #[error("pool: {0}")]
    Pool(#[from] PoolBuildError),
    /// The certificate of the public listener cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
    /// A listener cannot be bound.
    #[error("{0} = \"{1}\": {2}")]
    Listen(&'static str, SocketAddr, #[source] io::Error),
    /// It cannot take part in its fleet.
    #[error(transparent)]
    Fleet(#[from] MembershipError),
    /// Traces cannot be sent.
    #[error(transparent)]
    Traces(#[from] ExporterError),
    /// Signals cannot be handled.
    #[error("signals: {0}")]
    Signals(#[source] io::Error),
}
