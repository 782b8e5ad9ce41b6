//! One connection and the settings of its session.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode as Negotiation;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, SimpleQueryMessage, Socket};
use tracing::Instrument;

use crate::postgres::{Server, SslMode};
use tidegate_model::ServerIdentity;
use tidegate_model::error_chain;

/// Time a transaction may wait for the gateway; it sends a whole transaction at once, so a longer
/// wait means that the gateway or the path to it is gone.
const IDLE_IN_TRANSACTION_MAX: Duration = Duration::from_secs(10);

/// Makes the server check every second whether the gateway still waits for a running statement: one
/// that was given up does not continue until its timeout. Servers before PostgreSQL 14, and those
/// on systems without support for it, refuse the option.
const GIVEN_UP_CHECK: &str = "-c client_connection_check_interval=1000";

/// A client and its connection, by how it is encrypted.
type Opened<T> = Result<
    (
        Client,
        tokio_postgres::Connection<Socket, <T as MakeTlsConnect<Socket>>::Stream>,
    ),
    tokio_postgres::Error,
>;

/// The settings of every session.
///
/// Transactions are read-only by default, times are printed in UTC, and errors do not contain
/// parameters' values, so that a parameter that does not parse is reported in one form. They are
/// sent as startup options, which `reset all` restores.
#[derive(Clone, Debug)]
pub struct Session {
    /// The name in `pg_stat_activity`, such as `tidegate/eu-west-1`.
    pub application_name: String,
    /// Longest statement; PostgreSQL itself ends a longer one.
    pub statement_timeout: Duration,
}

impl Session {
    /// Opens a session. The future of the connection transfers its bytes and must be polled.
    ///
    /// With `sslmode=prefer` and `allow` it opens a second connection the other way when the server
    /// refuses the first, as libpq does.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses.
    pub async fn open<T>(&self, config: &Config, mode: SslMode, tls: T) -> Opened<T>
    where
        T: MakeTlsConnect<Socket> + Clone,
    {
        let (first, second) = mode.negotiations();
        let refusal = match (self.negotiate(config, first, tls.clone()).await, second) {
            (Err(error), Some(second)) if is_refusal(&error) => (error, second),
            (opened, _) => return opened,
        };
        let (error, second) = refusal;
        let reason = error_chain::chain(&error);
        tracing::debug!(reason, %mode, "the server refuses one way of sslmode: trying the other");
        let opened = self.negotiate(config, second, tls).await;
        match error.code() == Some(&SqlState::INVALID_PASSWORD) {
            // What the server says of the other way would only hide it.
            true => opened.map_err(|_other| error),
            false => opened,
        }
    }

    async fn negotiate<T>(&self, config: &Config, negotiation: Negotiation, tls: T) -> Opened<T>
    where
        T: MakeTlsConnect<Socket> + Clone,
    {
        let mut config = config.clone();
        config.ssl_mode(negotiation);
        config.application_name(&self.application_name);
        let given = config.get_options().unwrap_or_default().to_owned();
        let options = format!("{given} {}", self.options());
        config.options(format!("{options} {GIVEN_UP_CHECK}"));
        let opened = config.connect(tls.clone()).await;
        let lacks_check = [
            &SqlState::UNDEFINED_OBJECT,
            &SqlState::INVALID_PARAMETER_VALUE,
        ];
        match opened {
            Err(error) if error.code().is_some_and(|code| lacks_check.contains(&code)) => {
                config.options(options);
                config.connect(tls).await
            }
            opened => opened,
        }
    }

    fn options(&self) -> String {
        format!(
            "-c timezone=UTC \
             -c default_transaction_read_only=on \
             -c statement_timeout={} \
             -c idle_in_transaction_session_timeout={} \
             -c client_min_messages=warning \
             -c log_parameter_max_length_on_error=0",
            self.statement_timeout.as_millis(),
            IDLE_IN_TRANSACTION_MAX.as_millis(),
        )
    }
}

/// Whether a server has refused a connection for what it is, so that it may take another: by an
/// SQLSTATE of invalid authorization (`pg_hba.conf`) or of connections (poolers), or by no handshake.
fn is_refusal(error: &tokio_postgres::Error) -> bool {
    match error.code().map(SqlState::code) {
        Some(code) => code.starts_with("28") || code.starts_with("08"),
        // The driver has no other word for it.
        None => error
            .to_string()
            .starts_with("error performing TLS handshake"),
    }
}

/// Queries which life of which server is at the other end of a connection.
///
/// # Errors
/// If the server does not answer, or gives an unexpected answer.
pub async fn identify(client: &Client) -> Result<ServerIdentity, ConnectError> {
    let sql = format!("select {}", ServerIdentity::COLUMNS);
    let messages = client.simple_query(&sql).await?;
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) if row.len() == 3 => Some(row),
        _ => None,
    });
    row.and_then(|row| ServerIdentity::parse(row.get(0), row.get(1), row.get(2)))
        .ok_or(ConnectError::Identity)
}

/// An open connection; dropping it closes it.
#[derive(Debug)]
pub struct Connection {
    /// Sends statements; concurrent ones are pipelined.
    pub client: Arc<Client>,
    /// The server that answered when the connection opened; it stays the same while it is open.
    pub identity: ServerIdentity,
    driver: Driver,
}

impl Connection {
    /// Waits until the connection has ended, on either side. Cancel-safe.
    pub async fn closed(&mut self) {
        if !self.driver.0.is_finished() {
            // An error would be a panic of the driver, which also ends the connection.
            let _ended = (&mut self.driver.0).await;
        }
    }
}

/// Opens one connection and sets up its session, within `deadline` in total.
///
/// # Errors
/// If the server cannot be reached, refuses, or takes longer.
pub async fn connect(
    server: &Server,
    session: &Session,
    deadline: Duration,
) -> Result<Connection, ConnectError> {
    tokio::time::timeout(deadline, open(server, session))
        .await
        .unwrap_or(Err(ConnectError::Timeout(deadline)))
}

async fn open(server: &Server, session: &Session) -> Result<Connection, ConnectError> {
    let (config, mode) = (server.pg_config(), server.ssl_mode());
    let (client, connection) = session.open(config, mode, server.tls()).await?;
    let driver = async move {
        if let Err(error) = connection.await {
            tracing::debug!(
                reason = error_chain::chain(&error),
                "database connection ended"
            );
        }
    };
    let driver = Driver(tokio::spawn(driver.in_current_span()));
    let identity = identify(&client).await?;
    Ok(Connection {
        client: Arc::new(client),
        identity,
        driver,
    })
}

/// The task that transfers bytes between the client and its socket.
#[derive(Debug)]
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        // It would end by itself once the client is dropped, but not while a dead peer prevents it
        // from writing its last message.
        self.0.abort();
    }
}

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It took longer than allowed.
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    /// The server could not be reached or refused.
    #[error("{}", error_chain::chain(.0))]
    Failed(#[from] tokio_postgres::Error),
    /// The server does not identify itself as PostgreSQL does.
    #[error("the server does not identify itself as PostgreSQL does")]
    Identity,
    /// It was not attempted: the last attempts failed, and more would overload the server.
    #[error("the last attempts failed, and no more are allowed in this second")]
    TooOften,
}

impl ConnectError {
    /// Returns what a server says that has as many connections as it, the database or the role may have
    /// (SQLSTATE 53300).
    #[must_use]
    pub fn limit_reached(&self) -> Option<&str> {
        let Self::Failed(error) = self else {
            return None;
        };
        let refusal = error.as_db_error()?;
        (*refusal.code() == SqlState::TOO_MANY_CONNECTIONS).then(|| refusal.message())
    }
}
