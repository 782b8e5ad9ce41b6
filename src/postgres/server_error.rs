//! Why a URL does not name a server.

use super::ssl_mode::SslMode;
use super::tls_error::TlsError;

/// Why a URL does not name a server. Contains no values from the URL except those of parameters that have a few or
/// a number, and the file names of certificates.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// It is not a PostgreSQL URL.
    #[error("must start with postgres:// or postgresql://")]
    Scheme,
    /// An `@` is where none is allowed.
    #[error("in user and password, `@` must be written %40 and `/` %2F")]
    Credentials,
    /// A query parameter has no value.
    #[error("every parameter after `?` must be name=value")]
    Query,
    /// A parameter or part is unknown or has an impossible value.
    #[error("{0}")]
    Parameter(String),
    /// `sslmode` is none of libpq's.
    #[error("sslmode={0} is not one of disable, allow, prefer, require, verify-ca and verify-full")]
    SslMode(String),
    /// libpq's rule: public roots prove nothing without verifying the host name.
    #[error("sslrootcert=system needs sslmode=verify-full, not {0}")]
    WeakMode(SslMode),
    /// libpq's rule: without a negotiation there is no way to go on without TLS.
    #[error("sslnegotiation=direct needs sslmode=require, verify-ca or verify-full, not {0}")]
    WeakDirect(SslMode),
    /// No server listens on port 0.
    #[error("the port is 0")]
    NoPort,
    /// There is no host.
    #[error("does not name a host")]
    NoHost,
    /// There are several hosts.
    #[error("names several hosts, but a node must be one server")]
    SeveralHosts,
    /// A parameter names a host or a port beside the URL's own.
    #[error(
        "has the parameter `{0}` although a host stands before the `?`: write `host:port` there"
    )]
    SecondServer(&'static str),
    /// Certificates or keys cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl ServerError {
    pub(super) fn parameter(name: &str) -> Self {
        Self::Parameter(format!("invalid value for option `{name}`"))
    }
}
