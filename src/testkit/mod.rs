//! Three regions on one machine, on real PostgreSQL, driven as real processes.
//!
//! `tidegate demo` shows them and the integration tests break them. Nothing here links against the
//! gateway: the released binary is started as a child process.

mod wait;
mod process_tree;
mod free_port;
mod workspace;
mod postgres_binaries;
mod postgres_install;
mod postgres_server;
mod postgres_sql;
mod template;
mod cluster;
mod delay_proxy;
mod gateway_process;
mod rate_feed;
mod demo_fleet;
mod demo_traffic;
mod world;
mod screen;
mod http_client;
mod view;
mod tour;
mod run;

pub use cluster::Cluster;
pub use delay_proxy::DelayProxy;
pub use free_port::free_port;
pub use gateway_process::{GatewayCommand, GatewayProcess};
pub use postgres_binaries::PostgresBinaries;
pub use postgres_server::{PostgresServer, Shutdown, Variables};
pub use run::{Options, run};
pub use wait::until;
pub use workspace::Workspace;
