//! One connection pool per node.
//!
//! A request borrows a [`Lease`] and settles it when every answer has been read; a lease that is
//! dropped earlier (deadline, client disconnected) gives up its connection, because answers may
//! still be on the wire. Reads that are known to be quick share a few connections. Connections are
//! opened by separate tasks, so that a request's deadline never ends a connection attempt that the
//! next request could use.

mod catalogue;
mod spacing;
mod connection;
mod borrowed;
mod connection_limit;
mod gathering;
mod keep_warm;
mod lease;
mod together;
mod line;
mod node;
mod queue_delay;
mod settings;
mod standby;
mod turnover;

pub use catalogue::Catalogue;
pub use connection::WarmStatements;
pub use lease::Lease;
pub use line::lines_max;
pub use node::{Connections, Node, NodeConfig, PoolError};
pub use settings::{PoolSettings, SpillSettings};
pub use standby::Loads;

/// Why a pool cannot be made.
pub type PoolBuildError = deadpool::managed::BuildError;
