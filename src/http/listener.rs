//! A bound socket that survives every error of `accept`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Duration, Instant, sleep};

use super::TlsAcceptor;
use super::limits::WARNING_INTERVAL;
use tidegate_telemetry::{Throttle, names};

/// Connections that the kernel may queue for `accept`; TCP makes further ones retry. Linux
/// caps it at `net.core.somaxconn`, by default this number.
const BACKLOG: u32 = 4096;

const BACKOFF_MIN: Duration = Duration::from_millis(5);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// A listening socket with its name in metrics and logs.
#[derive(Debug)]
pub struct Listener {
    pub(super) name: &'static str,
    socket: TcpListener,
    backoff: Duration,
    warnings: Throttle,
    errors: metrics::Counter,
    /// Absent where clients use cleartext.
    pub(super) tls: Option<Arc<TlsAcceptor>>,
}

impl Listener {
    /// Binds and listens, with `SO_REUSEADDR`, so that a restart need not wait for old connections
    /// to expire.
    ///
    /// # Errors
    /// If the address is in use, not local or not permitted.
    pub fn bind(name: &'static str, address: SocketAddr) -> io::Result<Self> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let socket = socket.listen(BACKLOG)?;
        Ok(Self {
            name,
            socket,
            backoff: BACKOFF_MIN,
            warnings: Throttle::new(WARNING_INTERVAL),
            errors: metrics::counter!(names::ACCEPT_ERRORS, "listener" => name),
            tls: None,
        })
    }

    /// The same for clients that use TLS, if there is an acceptor.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<TlsAcceptor>>) -> Self {
        Self { tls, ..self }
    }

    /// The address that was bound, with the actual port if 0 was requested.
    ///
    /// # Errors
    /// If the socket has lost its address, which does not happen to a listening socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Waits for the next connection. Errors are counted. After an error of one connection there is
    /// no delay; after one of the process (no free file, no memory) there is a growing delay,
    /// because the kernel would report it again at once. Cancel-safe.
    pub async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.socket.accept().await {
                Ok(accepted) => {
                    self.backoff = BACKOFF_MIN;
                    return accepted;
                }
                Err(error) => self.recover(&error).await,
            }
        }
    }

    async fn recover(&mut self, error: &io::Error) {
        self.errors.increment(1);
        if is_about_one_connection(error) {
            return;
        }
        if let Some(suppressed) = self.warnings.pass(Instant::now()) {
            let listener = self.name;
            tracing::warn!(listener, %error, suppressed, "new connections cannot be accepted");
        }
        let delay = self.backoff;
        self.backoff = (delay * 2).min(BACKOFF_MAX);
        sleep(delay).await;
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn running_out_of_files_is_waited_out_with_a_growing_delay() {
        const EMFILE: i32 = 24;
        let mut listener = Listener::bind("test", ([127, 0, 0, 1], 0).into()).unwrap();
        let start = Instant::now();
        for _ in 0..20 {
            listener
                .recover(&io::Error::from_raw_os_error(EMFILE))
                .await;
        }
        assert_eq!(listener.backoff, BACKOFF_MAX);
        assert!(
            start.elapsed() > Duration::from_secs(10),
            "{:?}",
            start.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_died_in_the_queue_costs_no_time() {
        let mut listener = Listener::bind("test", ([127, 0, 0, 1], 0).into()).unwrap();
        let start = Instant::now();
        listener
            .recover(&io::ErrorKind::ConnectionAborted.into())
            .await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
