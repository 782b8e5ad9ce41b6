//! The driver of the fleet: mutual TLS with the gateways of other regions, and what they tell each other.

mod refusal;
mod refusal_log;
mod identity;
mod certificates;
mod trust;
mod untimely;
mod credentials;
mod renewal;
mod vouched;
mod settings;
mod expected;
mod built_in;
mod order;
mod event;
mod resolve;
mod heard;
mod grpc;
mod dial;
mod peer_limits;
mod fleet_drain;
mod served_peer;
mod listener;
mod view;
mod shown;
mod connections;
mod judging;
mod driver;
mod membership;
mod operate;

pub use built_in::{BUILT_IN, built_in_policy};
pub use certificates::{CertificatesError, CertificatesPlan, write_certificates};
pub use credentials::{CredentialFiles, CredentialsError};
pub use driver::{FleetParts, OwnHealth};
pub use fleet_drain::FleetDrain;
pub use membership::{Membership, MembershipError};
pub use order::{DrainError, DrainOrder};
pub use refusal::Refusal;
pub use settings::{
    FLEET_CA, FLEET_CERTIFICATE, FLEET_KEY, FLEET_LISTEN, FLEET_SECTION, FleetConfig, PEER, Peer,
};
pub use untimely::Untimely;
pub use view::{FleetRegionView, FleetView, LAG_UNKNOWN, LAGS, shown_lag};
