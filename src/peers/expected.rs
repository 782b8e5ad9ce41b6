//! Which regions' gateways may dial this one.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tidegate_model::RegionId;
use tokio::time::sleep;

use super::settings::Peer;
use super::vouched::LOOKED_AT_EVERY;

/// The regions that are listed now, and this gateway's own.
#[derive(Clone, Debug)]
pub(super) struct ExpectedRegions(Arc<ArcSwap<Vec<RegionId>>>);

impl ExpectedRegions {
    pub(super) fn new(own: &RegionId, peers: &[Peer]) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(regions(own, peers))))
    }

    /// Takes the peers that are listed from now on.
    pub(super) fn set(&self, own: &RegionId, peers: &[Peer]) {
        self.0.store(Arc::new(regions(own, peers)));
    }

    pub(super) fn has(&self, region: &RegionId) -> bool {
        self.0.load().contains(region)
    }

    /// Completes when a region is no longer listed.
    pub(super) async fn until_unlisted(&self, region: &RegionId) {
        while self.has(region) {
            sleep(LOOKED_AT_EVERY).await;
        }
        tracing::warn!(%region, "an open connection to a peer is ended: its region is no longer listed");
    }
}

fn regions(own: &RegionId, peers: &[Peer]) -> Vec<RegionId> {
    let listed = peers.iter().map(|peer| &peer.region);
    std::iter::once(own).chain(listed).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_regions_and_its_own_are_expected_until_the_list_changes() {
        let [own, listed, other] =
            ["eu-west-1", "us-east-1", "eu-north-1"].map(|it| it.parse::<RegionId>().unwrap());
        let peer = |region: &RegionId| Peer {
            region: region.clone(),
            address: "gateways:8443".to_owned(),
        };
        let expected = ExpectedRegions::new(&own, &[peer(&listed)]);
        assert!(expected.has(&own) && expected.has(&listed) && !expected.has(&other));
        expected.set(&own, &[peer(&other)]);
        assert!(expected.has(&own) && !expected.has(&listed) && expected.has(&other));
    }
}
