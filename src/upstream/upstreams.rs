//! All upstreams of a configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Upstream;
use super::UpstreamConfig;
use tidegate_model::ConfigError;
use tidegate_telemetry::names;

/// Upstreams by name.
#[derive(Debug, Default)]
pub struct Upstreams(BTreeMap<String, Arc<Upstream>>);

impl Upstreams {
    /// Makes all upstreams; those that have not changed since `before` keep their state.
    ///
    /// # Errors
    /// If the file of an upstream's roots cannot be used, or a node needs TLS and the system has none.
    pub fn build(configs: &[UpstreamConfig], before: &Self) -> Result<Self, ConfigError> {
        let mut upstreams = BTreeMap::new();
        for config in configs {
            let known = before.get(&config.name);
            let unchanged = known.filter(|known| *known.settings() == config.settings);
            let upstream = match unchanged {
                Some(known) => Arc::clone(known),
                None => {
                    let refuse = |error| ConfigError::new(&config.place, error);
                    Arc::new(Upstream::new(config).map_err(refuse)?)
                }
            };
            upstreams.insert(config.name.clone(), upstream);
        }
        Ok(Self(upstreams))
    }

    /// Keeps drained what an operator has drained in `before`, which these replace immediately.
    pub fn keep_drains(&self, before: &Self) {
        for upstream in self.iter() {
            if let Some(known) = before.get(upstream.name()) {
                upstream.keep_drains(known);
            }
        }
    }

    /// The upstream with a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.0.get(name)
    }

    /// Every upstream, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.0.values()
    }

    /// Starts to check and to report on all upstreams.
    pub fn watch(&self) {
        if !self.0.is_empty() {
            // They begin at zero, so that a first miss shows as an increase.
            for result in ["stated", "asked", "missed"] {
                metrics::counter!(names::UPSTREAM_POSITIONS, "result" => result).increment(0);
            }
        }
        self.iter().for_each(Upstream::watch);
    }

    /// Ends that for those that are not in `after`; nothing is reported on them any more.
    pub async fn retire(&self, after: &Self) {
        for upstream in self.iter() {
            let kept = after.get(upstream.name());
            if !kept.is_some_and(|kept| Arc::ptr_eq(kept, upstream)) {
                upstream.retire().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::super::{UpstreamLimits, UpstreamNodeConfig, UpstreamSettings};
    use super::*;
    use tidegate_model::Place;
    use tidegate_steering::Standing;
    use tidegate_steering::SteeringSettings;

    fn config(timeout: u64, nodes: &[&str]) -> UpstreamConfig {
        let node = |url: &&str| UpstreamNodeConfig {
            region: None,
            url: url.parse().unwrap(),
        };
        UpstreamConfig {
            place: Place::Name("test"),
            name: "app".to_owned(),
            settings: UpstreamSettings {
                nodes: nodes.iter().map(node).collect(),
                roots: None,
                check: None,
                limits: UpstreamLimits {
                    timeout: Some(Duration::from_secs(timeout)),
                    ..UpstreamLimits::default()
                },
                steering: SteeringSettings::default(),
            },
        }
    }

    fn drained(upstreams: &Upstreams) -> Vec<bool> {
        let upstream = upstreams.get("app").unwrap();
        let ranking = upstream.selector().ranking(Instant::now());
        let standing = |node| ranking.of(node).standing;
        let nodes = 0..upstream.nodes().len();
        nodes
            .map(|node| standing(node) == Standing::Drained)
            .collect()
    }

    #[tokio::test]
    async fn a_drain_set_while_others_are_made_ready_is_kept() {
        let before = Upstreams::build(
            &[config(1, &["http://a", "http://b"])],
            &Upstreams::default(),
        );
        let before = before.unwrap();
        let drain = |node, drained| {
            let upstream = before.get("app").unwrap();
            upstream.selector().drain(node, drained, Instant::now());
        };
        drain(0, true);
        let changed = [config(2, &["http://c", "http://b", "http://a"])];
        let after = Upstreams::build(&changed, &before).unwrap();
        drain(0, false);
        drain(1, true);
        after.keep_drains(&before);
        assert_eq!(drained(&after), [false, true, false]);
        let unchanged = Upstreams::build(&changed, &after).unwrap();
        unchanged.keep_drains(&after);
        assert_eq!(drained(&unchanged), [false, true, false]);
    }
}
