//! Upstream endpoints: a real gateway before real HTTP servers, which fail in real ways.

#[path = "../../../src/regions/tests/address_database.rs"]
mod address_database;
mod answers;
mod cached;
mod decision;
mod early;
mod failover;
mod kept;
pub(crate) mod kit;
mod loops;
mod overload;
mod own_rules;
mod passing;
mod policy;
mod positions;
mod server_errors;
mod steering;
mod streaming;
mod traffic;
pub(crate) mod tls;
pub(crate) mod websocket;
