//! All upstreams of a configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Upstream;
use crate::config::{ConfigError, UpstreamConfig};

/// Upstreams by name.
#[derive(Debug, Default)]
pub struct Upstreams(BTreeMap<String, Arc<Upstream>>);

impl Upstreams {
    /// Makes all ready; those that have not changed since `before` go on with what they know.
    ///
    /// # Errors
    /// When a node wants TLS and the system has no root certificates.
    pub fn build(configs: &[UpstreamConfig], before: &Self) -> Result<Self, ConfigError> {
        let mut upstreams = BTreeMap::new();
        for config in configs {
            let known = before.get(&config.name);
            let unchanged = known.filter(|known| *known.settings() == config.settings);
            let upstream = match unchanged {
                Some(known) => Arc::clone(known),
                None => {
                    let refuse = |error| ConfigError::new(config.place.clone(), error);
                    Arc::new(Upstream::new(config).map_err(refuse)?)
                }
            };
            upstreams.insert(config.name.clone(), upstream);
        }
        Ok(Self(upstreams))
    }

    /// The upstream of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.0.get(name)
    }

    /// Every upstream, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.0.values()
    }

    /// Starts the checks of all.
    pub fn watch(&self) {
        self.iter().for_each(Upstream::watch);
    }
}
