//! Which region serves a request: the traffic policy in force, and what this gateway sees of the
//! regions.
//!
//! The language and the decision are in `tidegate_traffic`, which is pure. Here are its drivers:
//! [`PolicyFile`] is read and compiled, [`RegionJudge`] turns samples and the state of nodes into the
//! facts of the decision, and [`TrafficPolicy`] decides requests by them. Deliberately absent: other
//! gateways; a region's quantities are what this gateway sees of its nodes there.

mod settings;
mod receipts;
mod policy_file;
mod geo;
mod location;
mod node;
mod record;
mod carried;
mod judge;
mod seen;
mod traffic;
mod judging;
mod plans;
mod route;
mod decided;

pub use geo::{GeoDatabase, GeoError};
pub use judge::RegionJudge;
pub use location::ClientLocation;
pub use node::RegionNode;
pub use plans::{PolicyTrial, TrafficPlans, TrialCounters};
pub use policy_file::{PolicyFile, PolicyFileError};
pub use receipts::{ObserveSettings, Receipts};
pub use record::RegionView;
pub use route::{NoRegion, Reaches, RegionRoute, route_field};
pub use seen::REGION_STATES;
pub use settings::{GEOIP_DATABASE, TRAFFIC_POLICY};
pub use traffic::{Entrance, RegionSummary, TrafficPolicy};

#[cfg(test)]
mod tests;
