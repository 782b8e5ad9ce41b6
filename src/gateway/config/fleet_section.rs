//! `[fleet]`, as the file writes it.

use serde::Deserialize;
use toml::Spanned;

/// The keys of the section.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FleetSection {
    pub(super) listen: Option<Spanned<String>>,
    pub(super) certificate: Option<Spanned<String>>,
    pub(super) key: Option<Spanned<String>>,
    pub(super) ca: Option<Spanned<String>>,
    pub(super) peers: Vec<PeerSection>,
}

/// One of the peers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PeerSection {
    pub(super) region: Spanned<String>,
    pub(super) address: Spanned<String>,
}
