//! The driver of the fleet: mutual TLS with the gateways of other regions, and what they tell each other.

mod refusal;
mod identity;
mod certificates;
mod trust;
mod credentials;
mod renewal;
mod settings;
mod event;
mod resolve;
mod heard;
mod grpc;
mod dial;
mod listener;
mod view;
mod driver;
mod membership;

pub use certificates::{CertificatesError, CertificatesPlan, write_certificates};
pub use credentials::{CredentialFiles, CredentialsError};
pub use driver::OwnHealth;
pub use membership::{Membership, MembershipError};
pub use refusal::Refusal;
pub use settings::{FLEET_CA, FLEET_CERTIFICATE, FLEET_KEY, FLEET_LISTEN, FleetConfig, PEER, Peer};
pub use view::{FleetRegionView, FleetView};
