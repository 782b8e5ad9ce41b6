//! The other gateways of the fleet: how health spreads between them, and what each makes of it.
//!
//! Pure, as in foca: [`Fleet`] takes in what was received, which connections opened and closed and that time has
//! passed, and answers with [`Output`]s for a driver to carry out. [`Judge`] turns what the fleet knows into
//! the conditions that a decision is made from. No socket, no clock, no task; chance comes from a seed.
//!
//! # What a driver does
//!
//! | it | calls |
//! |---|---|
//! | resolved the addresses of a region | [`Fleet::set_addresses`] |
//! | opened a connection that [`Output::Dial`] asked for; could not, or lost one | [`Fleet::opened`], [`Fleet::closed`] |
//! | read bytes of any kind from a connection; the answer to a ping | [`Fleet::heard`], [`Fleet::pong`] |
//! | received an `Update` on the `Watch` of a control connection | [`Fleet::received`] |
//! | accepted or lost a `Watch` from a peer | [`Fleet::watch`], [`Fleet::unwatch`] |
//! | saw a handed-on request end; lost some with their tunnel | [`Fleet::handed`], [`Fleet::lost`] |
//! | handed on a request that probes may repeat | [`Fleet::remember`] |
//! | saw a probe end, of another region or of its own | [`Fleet::probed`], [`Fleet::probed_own`] |
//! | every 50 ms, and at once when it leaves | [`Fleet::tick`], then [`Judge::step`] |
//!
//! After each call it carries out the outputs, in order, and steps the judge when a connection was lost.

mod clock;
mod allowance;
mod dropped;
mod gateway_id;
mod wire;
mod digest;
mod record;
mod drain;
mod gateways;
mod said;
mod own;
mod watcher;
mod round_trips;
mod hearing;
mod link;
mod output;
mod addresses;
mod links;
mod paths;
mod seen;
mod suspicion;
mod opinion;
mod region;
mod fleet;
mod judge;

pub use digest::Digest;
pub use dropped::{Dropped, DroppedCounts};
pub use fleet::{Fleet, Identity};
pub use gateway_id::GatewayId;
pub use gateways::KnownGateway;
pub use judge::Judge;
pub use link::{ConnectionId, Purpose};
pub use links::{TUNNELS, TUNNELS_MAX};
pub use opinion::Opinion;
pub use output::{Output, WatcherId};
pub use own::Own;
pub use paths::PROBE_MAX;
pub use record::{GatewayConditions, Record};
pub use region::FleetRegion;
pub use said::Said;
pub use wire::{DrainRequest, DrainResponse, UPDATE_BYTES_MAX, WatchRequest};

#[cfg(test)]
mod tests;
