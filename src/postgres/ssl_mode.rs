//! The TLS that a server must offer, in libpq's terms.
//!
//! See <https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION>.

use std::fmt;
use std::str::FromStr;

use tokio_postgres::config::SslMode as Negotiation;

/// Whether connections are encrypted and which parts of the server's certificate are checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Never encrypted.
    Disable,
    /// Not encrypted, but where the server refuses that, encrypted and unverified.
    Allow,
    /// Encrypted and unverified, but where the server does not offer or refuses that, not encrypted;
    /// libpq's default.
    #[default]
    Prefer,
    /// Always encrypted, unverified; with `sslrootcert` the same as `verify-ca`.
    Require,
    /// Encrypted, the certificate chains to a trusted root, the host name is not checked.
    VerifyCa,
    /// Encrypted, the certificate chains to a trusted root and names the host.
    VerifyFull,
}

impl SslMode {
    /// Returns libpq's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    /// Returns how to negotiate a connection, and how to negotiate a second one if the server refuses
    /// the first; the connector handles certificates.
    #[must_use]
    pub fn negotiations(self) -> (Negotiation, Option<Negotiation>) {
        match self {
            Self::Disable => (Negotiation::Disable, None),
            Self::Allow => (Negotiation::Disable, Some(Negotiation::Require)),
            Self::Prefer => (Negotiation::Prefer, Some(Negotiation::Disable)),
            Self::Require | Self::VerifyCa | Self::VerifyFull => (Negotiation::Require, None),
        }
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for SslMode {
    type Err = UnknownSslMode;

    fn from_str(name: &str) -> Result<Self, UnknownSslMode> {
        Ok(match name {
            "disable" => Self::Disable,
            "allow" => Self::Allow,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => return Err(UnknownSslMode),
        })
    }
}

/// A text is not one of libpq's modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownSslMode;
