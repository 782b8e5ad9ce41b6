//! Requests on rows whose application decides itself about caching: the shared cache of RFC 9111 between
//! the client and the backend.
//!
//! [`CachePlan`] says what a request may do with stored answers, [`OwnRules`] does it.

mod keys;
mod plan;
mod arrived;
mod write;
mod cached;
mod send;

pub(super) use cached::OwnRules;
pub(super) use plan::CachePlan;
pub(super) use send::send;
