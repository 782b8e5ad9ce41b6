//! One cluster: its servers' URLs and TLS, connections to them, a pool for each node, and the
//! monitor that knows the nodes' condition.
//!
//! Which of several nodes serves a request is not decided here.

mod connection;
pub mod monitor;
pub mod pool;
mod reset;
mod server;
mod server_error;
mod ssl_mode;
mod tls;
mod tls_error;
mod url;

pub use connection::{ConnectError, Connection, Session, connect, identify};
pub(crate) use reset::{reset_after_read, reset_after_write};
pub use server::Server;
pub use server_error::ServerError;
pub use ssl_mode::SslMode;
pub use tls_error::TlsError;
pub use url::UrlWarning;
