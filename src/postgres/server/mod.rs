//! One server, as given by its URL.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode as Negotiation, SslNegotiation};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::postgres::server_error::ServerError;
use crate::postgres::ssl_mode::SslMode;
use crate::postgres::tls;
use crate::postgres::url::{self, UrlWarning};
use tidegate_model::settings::Setting;

/// Silence after which the kernel probes whether the other end is still alive. `tokio_postgres`
/// would wait two hours, longer than the state of most NATs and load balancers.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_IDLE_UPSTREAM: Duration = Duration::from_secs(2 * 60 * 60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// Time that sent bytes may remain unacknowledged before the kernel gives up the connection.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(15);

/// One PostgreSQL server: its address, the role that connects, and the TLS that it must offer.
///
/// Parsed from `postgres://` or `postgresql://` URLs with libpq's parameters. Both `Display` and
/// `Debug` print the URL with the password masked.
#[derive(Clone)]
pub struct Server {
    config: Config,
    mode: SslMode,
    tls: MakeRustlsConnect,
    warnings: Vec<UrlWarning>,
}

impl Server {
    /// The primary of a process.
    pub const PRIMARY: Setting = Setting {
        key: "database_url",
        variable: Some("DATABASE_URL"),
        flag: Some("--database-url"),
        range: || "a database URL".to_owned(),
        shown: Self::without_password,
        meaning: "The primary. It may [move](failover.md#when-the-primary-moves) while the process runs.",
        ..Setting::UNNAMED
    };

    /// The replica beside a process.
    pub const READ_REPLICA: Setting = Setting {
        key: "read_replica_url",
        variable: Some("DATABASE_READ_REPLICA_URL"),
        flag: Some("--read-replica-url"),
        default: || "none".to_owned(),
        range: || "a database URL".to_owned(),
        shown: Self::without_password,
        meaning: "The local replica. Without it, reads use other replicas or the primary.",
        ..Setting::UNNAMED
    };

    /// A database URL as it may be shown.
    #[must_use]
    pub fn without_password(url: &str) -> String {
        let server = url.parse::<Self>();
        server.map_or_else(|_| "…".to_owned(), |server| server.to_string())
    }

    /// Returns the parameters of a connection.
    pub fn pg_config(&self) -> &Config {
        &self.config
    }

    /// Returns the TLS connector that goes with [`Server::pg_config`].
    pub fn tls(&self) -> MakeRustlsConnect {
        self.tls.clone()
    }

    /// Returns the name or address of the host, or the folder of its socket.
    #[must_use]
    pub fn host(&self) -> String {
        match self.config.get_hosts() {
            [Host::Tcp(host)] => host.clone(),
            [Host::Unix(path)] => path.display().to_string(),
            _ => String::new(),
        }
    }

    /// Returns the port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.config.get_ports().first().copied().unwrap_or(5432)
    }

    /// Returns the name of the database: without one in the URL, that of the role.
    #[must_use]
    pub fn database(&self) -> &str {
        let database = self.config.get_dbname();
        database.or(self.config.get_user()).unwrap_or_default()
    }

    /// Returns what in the URL has no effect, or replaces another part of it.
    pub fn warnings(&self) -> &[UrlWarning] {
        &self.warnings
    }

    /// Returns the mode in force.
    pub fn ssl_mode(&self) -> SslMode {
        self.mode
    }
}

impl FromStr for Server {
    type Err = ServerError;

    /// Parses the URL and reads the certificate files that it names.
    fn from_str(url: &str) -> Result<Self, ServerError> {
        let url::Parts {
            plain,
            query,
            port,
            tls,
            warnings,
        } = url::parse(url)?;
        let mut config: Config = plain
            .parse()
            .map_err(|error| parse_failure(&error, &query, port))?;
        check_one_host(&mut config)?;
        set_keepalives(&mut config);
        let unix = matches!(config.get_hosts(), [Host::Unix(_)]);
        let mode = match tls.effective_mode()? {
            // As in libpq: there is no TLS on a Unix socket and no need for it.
            _ if unix => SslMode::Disable,
            mode => mode,
        };
        let (negotiation, _second) = mode.negotiations();
        let direct = config.get_ssl_negotiation() == SslNegotiation::Direct;
        if direct && negotiation != Negotiation::Require {
            return Err(ServerError::WeakDirect(mode));
        }
        config.ssl_mode(negotiation);
        let tls = tls::connector(mode, &tls)?;
        Ok(Self {
            config,
            mode,
            tls,
            warnings,
        })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgresql://")?;
        if let Some(user) = self.config.get_user() {
            let password = self.config.get_password().map_or("", |_| ":***");
            write!(f, "{user}{password}@")?;
        }
        match self.config.get_hosts() {
            [Host::Tcp(host)] if host.contains(':') => write!(f, "[{host}]")?,
            [Host::Tcp(host)] => f.write_str(host)?,
            [Host::Unix(path)] => write!(f, "{}", path.display())?,
            _ => {}
        }
        if let [port] = self.config.get_ports() {
            write!(f, ":{port}")?;
        }
        let database = self.config.get_dbname().unwrap_or("");
        write!(f, "/{database}?sslmode={}", self.mode)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({self})")
    }
}

/// Keeps the message about the invalid part. `tokio_postgres` names options, not values: one of the query is
/// added, which is none of a user, a password or a database, or the port before the query where that may be shown.
fn parse_failure(error: &tokio_postgres::Error, query: &str, port: Option<String>) -> ServerError {
    let cause = std::error::Error::source(error);
    let cause = cause.map_or_else(|| error.to_string(), ToString::to_string);
    let option = cause.strip_prefix("invalid value for option `");
    let option = option.and_then(|it| it.strip_suffix('`'));
    let value = option.and_then(|name| {
        let port = port.filter(|_| name == "port");
        url::shown_value(query, name).or(port)
    });
    ServerError::Parameter(match value {
        Some(value) => format!("{cause}: \"{value}\""),
        None => cause,
    })
}

fn check_one_host(config: &mut Config) -> Result<(), ServerError> {
    if config.get_ports().contains(&0) {
        return Err(ServerError::NoPort);
    }
    match (config.get_hosts().len(), config.get_hostaddrs()) {
        (0, []) => Err(ServerError::NoHost),
        (0, &[address]) => {
            // TLS needs a name for the server.
            config.host(address.to_string());
            Ok(())
        }
        (1, [] | [_]) if config.get_ports().len() <= 1 => Ok(()),
        _ => Err(ServerError::SeveralHosts),
    }
}

/// Omits what the URL leaves at the default.
fn set_keepalives(config: &mut Config) {
    if config.get_keepalives_idle() == KEEPALIVE_IDLE_UPSTREAM {
        config.keepalives_idle(KEEPALIVE_IDLE);
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_interval(KEEPALIVE_INTERVAL);
    }
    if config.get_keepalives_retries().is_none() {
        config.keepalives_retries(KEEPALIVE_RETRIES);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(TCP_USER_TIMEOUT);
    }
}

#[cfg(test)]
mod tests;
