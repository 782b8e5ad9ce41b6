//! `[fleet]`: what an operator may set.

use std::net::SocketAddr;

use tidegate_model::RegionId;
use tidegate_model::settings::Setting;

use super::credentials::CredentialFiles;

/// The listener of the fleet.
pub const FLEET_LISTEN: Setting = Setting {
    key: "fleet.listen",
    variable: Some("FLEET_ADDR"),
    default: || "off".to_owned(),
    range: || "an IP address and a port, or `off`".to_owned(),
    meaning: "The listener for gateways of other regions; see [the fleet](fleet.md).",
    ..Setting::UNNAMED
};

/// The certificate of this gateway.
pub const FLEET_CERTIFICATE: Setting = Setting {
    key: "fleet.certificate",
    variable: Some("FLEET_CERT"),
    default: || "none".to_owned(),
    range: || "the path of a PEM file, leaf first".to_owned(),
    meaning: "The certificate that peers see: with one URI `tidegate://region/…` of this region.",
    ..Setting::UNNAMED
};

/// Its key.
pub const FLEET_KEY: Setting = Setting {
    key: "fleet.key",
    variable: Some("FLEET_KEY"),
    default: || "none".to_owned(),
    range: || "the path of a PEM file".to_owned(),
    meaning: "The key of the certificate, unencrypted.",
    ..Setting::UNNAMED
};

/// The fleet's CA.
pub const FLEET_CA: Setting = Setting {
    key: "fleet.ca",
    variable: Some("FLEET_CA"),
    default: || "none".to_owned(),
    range: || "the path of a PEM file".to_owned(),
    meaning: "The CA of this one fleet, and its lists of revoked certificates (version 2).",
    ..Setting::UNNAMED
};

/// The keys of `[fleet]` that are about its listener, as the file names them.
pub const FLEET_SECTION: &[Setting] = &[
    Setting {
        key: "listen",
        variable: None,
        meaning: "As `FLEET_ADDR`.",
        ..FLEET_LISTEN
    },
    Setting {
        key: "certificate",
        variable: None,
        meaning: "As `FLEET_CERT`. Renewed files are taken over without a reload.",
        ..FLEET_CERTIFICATE
    },
    Setting {
        key: "key",
        variable: None,
        meaning: "As `FLEET_KEY`.",
        ..FLEET_KEY
    },
    Setting {
        key: "ca",
        variable: None,
        meaning: "As `FLEET_CA`.",
        ..FLEET_CA
    },
];

/// The keys of `peers`.
pub const PEER: &[Setting] = &[
    Setting {
        key: "region",
        range: RegionId::SETTING.range,
        meaning: "The region of the peer; this gateway's own for its siblings. Several entries are several gateways.",
        ..Setting::UNNAMED
    },
    Setting {
        key: "address",
        range: || "the name or the IP address of a host, and a port".to_owned(),
        meaning: "Where its gateways are: all that the name resolves to.",
        ..Setting::UNNAMED
    },
];

/// The fleet that a gateway belongs to.
#[derive(Clone, Debug)]
pub struct FleetConfig {
    /// Where peers connect to.
    pub listen: SocketAddr,
    /// What is shown to them.
    pub files: CredentialFiles,
    /// Whom this gateway connects to.
    pub peers: Vec<Peer>,
}

/// The gateways of one region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The region that their certificates must have.
    pub region: RegionId,
    /// A host and a port.
    pub address: String,
}
