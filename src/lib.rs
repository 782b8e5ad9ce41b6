//! Tidegate: a regional edge gateway with read-replica consistency routing.
//!
//! The folders are listed in the order of their arrows: each imports only from those above it. Crates of
//! their own, below all of these: `src/model`.

pub mod postgres;
pub mod http;
pub mod regions;
pub mod auth;
pub mod cache;
pub mod sql;
pub mod upstream;
pub mod endpoint;
pub mod testkit;
pub mod gateway;
