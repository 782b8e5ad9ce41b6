//! The process: configuration, assembly, reload, the admin listener, health answers and the command line.
//!
//! The only room that may use all others.

mod assembly;
mod error;
mod frontend;
mod nodes;
mod own_health;
mod policy_in_force;
mod reload;
mod statement_check;
mod storage;

pub mod admin;
pub mod cli;
pub mod dashboard;
mod levels;
mod use_of;
pub mod config;
pub mod health;

pub use assembly::Gateway;
pub use error::GatewayError;
