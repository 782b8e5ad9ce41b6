//! Answers to probes, all from memory: no probe ever costs a query.
//!
//! `/health/edge` reports whether this region should get traffic, `/readyz` whether this process
//! can serve at all, `/livez` and `/health/live` that it runs.

mod report;
mod probes;

pub use probes::{HealthState, admin_routes, edge, live, peer_routes, public_routes, ready};
pub use report::{HealthFacts, HealthReport};
