//! Parsing of a server's URL: libpq's TLS parameters here, the rest by `tokio_postgres`.
//!
//! Only the URL form is read; `key=value` strings are refused. No error repeats any part of the
//! URL other than a parameter's name and the value of one that has a few or a number, since the rest may be
//! a password.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use crate::postgres::server_error::ServerError;
use crate::postgres::ssl_mode::SslMode;
use tidegate_model::printable;

/// The parts of a URL.
pub(super) struct Parts {
    /// The URL without its TLS parameters, in the form `tokio_postgres` reads.
    pub(super) plain: String,
    /// The parameters of that.
    pub(super) query: String,
    /// The port before them, if it may be shown.
    pub(super) port: Option<String>,
    pub(super) tls: TlsParameters,
    pub(super) warnings: Vec<UrlWarning>,
}

/// What `tokio_postgres` knows, beside the parameters about TLS.
const KNOWN: [&str; 18] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslnegotiation",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// What [`Session`](super::Session) sets, whatever else a URL's `options` set.
const OWN_SETTINGS: [&str; 7] = [
    "timezone",
    "default_transaction_read_only",
    "statement_timeout",
    "idle_in_transaction_session_timeout",
    "client_min_messages",
    "log_parameter_max_length_on_error",
    "client_connection_check_interval",
];

/// libpq's values of `target_session_attrs`. The driver knows only some, and would refuse a good
/// primary by `read-write`: sessions are read-only by default.
const SESSION_ATTRS: [&str; 6] = [
    "any",
    "read-write",
    "read-only",
    "primary",
    "standby",
    "prefer-standby",
];

/// Longer values are cut where they are shown.
const VALUE_CHARS_MAX: usize = 64;

/// Says what in a URL has no effect. It names a parameter, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlWarning {
    /// Neither the gateway nor its driver has such a parameter.
    #[error("the URL parameter `{0}` is not known and has no effect")]
    Unknown(String),
    /// The same parameter, or one with the same meaning, comes later.
    #[error("the URL parameter `{0}` is overridden by a later one")]
    Repeated(String),
    /// The gateway sets it itself.
    #[error("the URL parameter `{0}` is overridden: the gateway sets {1}")]
    Overridden(&'static str, &'static str),
    /// It stands in the URL's first part, too.
    #[error("the URL parameter `{0}` overrides what stands before the `?`")]
    Overriding(&'static str),
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
    let (mut others, mut warnings) = (Vec::new(), Vec::new());
    let mut names = BTreeMap::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').ok_or(ServerError::Query)?;
        let known = decoded(name);
        if !tls.take(&known, value)? {
            if !KNOWN.contains(&&*known) {
                warnings.push(UrlWarning::Unknown(name.to_owned()));
                continue;
            }
            refuse_second_server(&known, location)?;
            warnings.extend(overridden(&known, value));
            warnings.extend(overriding(&known, credentials, location));
            if !chooses_server(&known, value) {
                others.push(parameter);
            }
        }
        if let Some(earlier) = names.insert(meaning(&known).to_owned(), name) {
            warnings.push(UrlWarning::Repeated(earlier.to_owned()));
        }
    }
    let query = others.join("&");
    let plain = format!("postgresql://{credentials}{location}?{query}");
    Ok(Parts {
        plain,
        query,
        port: shown_port(credentials, location),
        tls,
        warnings,
    })
}

/// Returns the value of a parameter that stands once in a query, as it may be shown.
pub(super) fn shown_value(query: &str, name: &str) -> Option<String> {
    let parameters = query.split('&').filter_map(|it| it.split_once('='));
    let mut values = parameters.filter(|(it, _)| decoded(it) == name);
    let (Some((_, value)), None) = (values.next(), values.next()) else {
        return None;
    };
    Some(shown(&decoded(value)))
}

/// Returns the port before the query as it may be shown: a number after credentials. Without these, or with other
/// characters, it may be a password whose `@` is missing.
fn shown_port(credentials: &str, location: &str) -> Option<String> {
    let authority = location.split('/').next()?;
    let (host, port) = authority.rsplit_once(':')?;
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let is_one = !host.contains(',');
    (credentials.ends_with('@') && is_number && is_one).then(|| shown(port))
}

/// Returns a value as it may be shown.
fn shown(value: &str) -> String {
    printable(value).chars().take(VALUE_CHARS_MAX).collect()
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// Returns the parameter that one stands for.
fn meaning(name: &str) -> &str {
    match name {
        "ssl" => "sslmode",
        name => name,
    }
}

/// Whether a parameter is for a driver that chooses among servers by their role.
fn chooses_server(name: &str, value: &str) -> bool {
    let value = decoded(value);
    name == "target_session_attrs" && SESSION_ATTRS.contains(&&*value)
}

/// Refuses a host or port beside the URL's own: the driver would take both.
fn refuse_second_server(name: &str, location: &str) -> Result<(), ServerError> {
    let has_host = location.split('/').next().is_some_and(|it| !it.is_empty());
    match name {
        "host" if has_host => Err(ServerError::SecondServer("host")),
        "port" if has_host => Err(ServerError::SecondServer("port")),
        _ => Ok(()),
    }
}

/// Returns the parameter that replaces a part before the `?`.
fn overriding(name: &str, credentials: &str, location: &str) -> Option<UrlWarning> {
    let (user, password) = match credentials.split_once(':') {
        Some((user, _)) => (user, true),
        None => (credentials.trim_end_matches('@'), false),
    };
    let has_database = || {
        let database = location.split_once('/');
        database.is_some_and(|(_, name)| !name.is_empty())
    };
    let (name, is_given) = match name {
        "user" => ("user", !user.is_empty()),
        "password" => ("password", password),
        "dbname" => ("dbname", has_database()),
        _ => return None,
    };
    is_given.then_some(UrlWarning::Overriding(name))
}

/// Returns what the gateway sets itself, whatever the URL says.
fn overridden(name: &str, value: &str) -> Option<UrlWarning> {
    match name {
        "application_name" => Some(UrlWarning::Overridden(
            "application_name",
            "it to `tidegate/` and its region",
        )),
        "connect_timeout" => Some(UrlWarning::Overridden(
            "connect_timeout",
            "it to [pool] connect_timeout",
        )),
        "target_session_attrs" if value != "any" => Some(UrlWarning::Overridden(
            "target_session_attrs",
            "the role of each server by asking it",
        )),
        "options" => {
            // `-c name=value`, `-cname=value` or `--name=value`; a `-` in a name is a `_`.
            let given = decoded(value).to_lowercase();
            let given = given.split_whitespace().filter_map(|it| it.split_once('='));
            let given: Vec<_> = given
                .map(|(name, _)| name.strip_prefix("-c").unwrap_or(name))
                .map(|name| name.trim_start_matches('-').replace('-', "_"))
                .collect();
            let is_given = |setting: &&&str| given.iter().any(|it| it == *setting);
            let setting = OWN_SETTINGS.iter().find(is_given)?;
            Some(UrlWarning::Overridden("options", setting))
        }
        _ => None,
    }
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
                self.mode = Some(mode.or(Err(ServerError::SslMode(shown(&name))))?);
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
