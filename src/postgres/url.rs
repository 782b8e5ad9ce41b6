//! Parsing of a server's URL: libpq's TLS parameters here, the rest by `tokio_postgres`.
//!
//! Only the URL form is read; `key=value` strings are refused. No error repeats any part of the
//! URL other than a parameter's name and the value of `sslmode`, since the rest may be a password.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use crate::postgres::server_error::ServerError;
use crate::postgres::ssl_mode::SslMode;

/// The parts of a URL.
pub(super) struct Parts {
    /// The URL without its TLS parameters, in the form `tokio_postgres` reads.
    pub(super) plain: String,
    pub(super) tls: TlsParameters,
}

/// What the URL says about TLS, as written.
#[derive(Debug, Default)]
pub(super) struct TlsParameters {
    pub(super) mode: Option<SslMode>,
    pub(super) root_certificate: Option<RootCertificate>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

/// Where trusted roots come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RootCertificate {
    /// The operating system's store.
    System,
    /// A PEM file.
    File(PathBuf),
}

pub(super) fn parse(url: &str) -> Result<Parts, ServerError> {
    let rest = url
        .strip_prefix("postgres://")
        .or_else(|| url.strip_prefix("postgresql://"))
        .ok_or(ServerError::Scheme)?;
    let credentials_length = credentials_length(rest)?;
    let (credentials, location) = rest.split_at(credentials_length);
    let (location, query) = location.split_once('?').unwrap_or((location, ""));
    let mut tls = TlsParameters::default();
    let mut others = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').ok_or(ServerError::Query)?;
        if !tls.take(name, value)? {
            others.push(parameter);
        }
    }
    let others = others.join("&");
    let plain = format!("postgresql://{credentials}{location}?{others}");
    Ok(Parts { plain, tls })
}

/// Returns the length of `user:password@`, or 0 without it.
///
/// Any other `@` is refused: it is more likely a password that needs percent-encoding than a name,
/// and what follows it would be shown as the host or the database.
fn credentials_length(rest: &str) -> Result<usize, ServerError> {
    let authority_length = rest.find('/').unwrap_or(rest.len());
    let length = rest[..authority_length].find('@').map_or(0, |at| at + 1);
    if rest[length..].contains('@') {
        return Err(ServerError::Credentials);
    }
    Ok(length)
}

impl TlsParameters {
    /// Keeps the parameter if it concerns TLS, and returns whether it does.
    fn take(&mut self, name: &str, value: &str) -> Result<bool, ServerError> {
        let decoded = || {
            let value = percent_decode_str(value).decode_utf8();
            value.or(Err(ServerError::parameter(name)))
        };
        match name {
            "sslmode" => {
                let name = decoded()?;
                let mode = name.parse::<SslMode>();
                self.mode = Some(mode.or(Err(ServerError::SslMode(name.into_owned())))?);
            }
            // libpq accepts this from JDBC's URLs.
            "ssl" if value == "true" => self.mode = Some(SslMode::Require),
            "sslrootcert" => {
                self.root_certificate = Some(match &*decoded()? {
                    "system" => RootCertificate::System,
                    path => RootCertificate::File(path.into()),
                });
            }
            "sslcert" => self.certificate = Some(PathBuf::from(&*decoded()?)),
            "sslkey" => self.key = Some(PathBuf::from(&*decoded()?)),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Returns the mode in force, by libpq's rules for its combination with `sslrootcert`.
    pub(super) fn effective_mode(&self) -> Result<SslMode, ServerError> {
        let system = self.root_certificate == Some(RootCertificate::System);
        match (self.mode, &self.root_certificate) {
            (None, _) if system => Ok(SslMode::VerifyFull),
            (None, _) => Ok(SslMode::default()),
            (Some(mode), _) if system && mode != SslMode::VerifyFull => {
                Err(ServerError::WeakMode(mode))
            }
            (Some(SslMode::Require), Some(_)) => Ok(SslMode::VerifyCa),
            (Some(mode), _) => Ok(mode),
        }
    }
}
