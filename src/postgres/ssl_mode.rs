//! The TLS that a server must offer, in libpq's terms.
//!
//! See <https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION>.

use std::fmt;
use std::str::FromStr;

/// Whether connections are encrypted and which parts of the server's certificate are checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Never encrypted.
    Disable,
    /// Encrypted if the server offers it, unverified; libpq's default. `allow` means this too.
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
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    /// Returns what the protocol negotiation needs to know; the connector handles certificates.
    pub(super) fn negotiation(self) -> tokio_postgres::config::SslMode {
        match self {
            Self::Disable => tokio_postgres::config::SslMode::Disable,
            Self::Prefer => tokio_postgres::config::SslMode::Prefer,
            Self::Require | Self::VerifyCa | Self::VerifyFull => {
                tokio_postgres::config::SslMode::Require
            }
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
            "allow" | "prefer" => Self::Prefer,
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
