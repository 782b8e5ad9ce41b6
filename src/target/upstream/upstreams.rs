//! All upstreams of a configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Upstream;
use crate::config::{ConfigError, UpstreamConfig};

/// Upstreams by name.
#[derive(Debug, Default)]
pub struct Upstreams(BTreeMap<String, Arc<Upstream>>);

impl Upstreams {
    /// Makes all ready; those that have not changed since `before` go on with what they know,
    /// and what an operator has drained stays drained.
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
                    let refuse = |error| ConfigError::new(&config.place, error);
                    let upstream = Upstream::new(config).map_err(refuse)?;
                    if let Some(known) = known {
                        upstream.keep_drains(known);
                    }
                    Arc::new(upstream)
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

    /// Starts to check and to tell of all.
    pub fn watch(&self) {
        self.iter().for_each(Upstream::watch);
    }

    /// Ends that for those that are not among `after`; nothing is told of them any more.
    pub async fn retire(&self, after: &Self) {
        for upstream in self.iter() {
            let kept = after.get(upstream.name());
            if !kept.is_some_and(|kept| Arc::ptr_eq(kept, upstream)) {
                upstream.retire().await;
            }
        }
    }
}
