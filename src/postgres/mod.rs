//! One cluster: its servers' URLs and TLS, connections to them, a pool for each node, and the monitor that
//! knows how the nodes are.
//!
//! Which of several nodes serves a request is not decided here.

mod connection;
pub mod monitor;
pub mod pool;
mod server;
mod ssl_mode;
mod tls;
mod url;

pub use connection::{ConnectError, Connection, Session, connect, identify};
pub use server::{Server, ServerError};
pub use ssl_mode::SslMode;
pub use tls::TlsError;
pub use url::UrlWarning;
