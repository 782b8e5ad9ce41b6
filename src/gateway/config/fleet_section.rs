//! `[fleet]`, as the file writes it.

use serde::Deserialize;
use toml::Spanned;

/// The keys of the section.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FleetSection {
    pub(super) name: Option<Spanned<String>>,
    pub(super) state_dir: Option<Spanned<String>>,
    pub(super) trusted_keys: Vec<Spanned<String>>,
    pub(super) listen: Option<Spanned<String>>,
    pub(super) certificate: Option<Spanned<String>>,
    pub(super) key: Option<Spanned<String>>,
    pub(super) ca: Option<Spanned<String>>,
    pub(super) peers: Vec<PeerSection>,
}

impl FleetSection {
    /// Whether the file says anything about the fleet.
    pub(super) fn is_used(&self) -> bool {
        let values = [&self.name, &self.state_dir, &self.listen, &self.certificate];
        let lists = self.peers.is_empty() && self.trusted_keys.is_empty();
        values.into_iter().any(Option::is_some) || !lists
    }
}

/// Reads a fleet's name.
///
/// # Errors
/// Says what it may be.
pub fn fleet_word(name: &str) -> Result<String, &'static str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match (1..=64).contains(&name.len()) && name.chars().all(is_word) {
        true => Ok(name.to_owned()),
        false => Err("expected one word of at most 64 letters, digits, -, _ and ."),
    }
}

/// One of the peers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PeerSection {
    pub(super) region: Spanned<String>,
    pub(super) address: Spanned<String>,
}
