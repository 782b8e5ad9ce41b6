//! Tidegate: a regional edge gateway with read-replica consistency routing.
//!
//! The modules are listed in the order of their dependencies: each imports only from those above it. The
//! other folders of `src/` are separate crates, below all of these modules.

pub mod postgres;
pub mod http;
pub mod regions;
pub mod auth;
pub mod cache;
pub mod sql;
pub mod upstream;
pub mod tunnels;
pub mod storage;
pub mod endpoint;
pub mod peers;
pub mod policy_store;
pub mod testkit;
pub mod gateway;
