//! One PostgreSQL server: its URL, its TLS, one connection to it.
//!
//! There is no pool here and no choice between servers.

mod connection;
mod server;
mod ssl_mode;
mod tls;
mod url;

pub use connection::{ConnectError, Connection, Session, connect, identify};
pub use server::{Server, ServerError};
pub use ssl_mode::SslMode;
pub use tls::TlsError;
