//! Which life of which server is at the other end of a connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Identifies one life of one server: a restart or another machine behind the same name differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServerIdentity {
    /// The server's own address for the connection; none on a Unix socket.
    pub address: Option<IpAddr>,
    /// The server's own port for the connection; none on a Unix socket.
    pub port: Option<i32>,
    /// When the postmaster started, in microseconds since 1970 by the server's clock.
    pub started_at_us: i64,
}

impl ServerIdentity {
    /// SQL expressions, in the order of [`ServerIdentity::parse`].
    pub const COLUMNS: &str = "host(inet_server_addr()), inet_server_port(), \
        (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint";

    /// Reads the columns as text; returns `None` if they are not in the form that PostgreSQL
    /// prints.
    pub fn parse(address: Option<&str>, port: Option<&str>, started: Option<&str>) -> Option<Self> {
        Some(Self {
            address: address.map(str::parse).transpose().ok()?,
            port: port.map(str::parse).transpose().ok()?,
            started_at_us: started?.parse().ok()?,
        })
    }

    /// Returns whether both are lives of a server at one address and port.
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        (self.address, self.port) == (other.address, other.port)
    }
}

/// Displays the address, which is the same for two lives of one server.
impl fmt::Display for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port.and_then(|port| u16::try_from(port).ok());
        match (self.address, port) {
            (Some(address), Some(port)) => SocketAddr::new(address, port).fmt(f),
            _ => f.write_str("a Unix socket"),
        }
    }
}
