//! The regions that a request to an endpoint can be sent to.

use super::{Backend, Frontend};
use crate::regions::{Reaches, RegionRoute};
use crate::tunnels::Tunnels;
use tidegate_model::RegionId;

/// An endpoint's backend and the tunnels to other regions.
#[derive(Clone, Copy)]
pub(super) struct Reach<'a> {
    pub(super) own: &'a RegionId,
    pub(super) backend: &'a Backend,
    /// None without a fleet.
    pub(super) tunnels: Option<&'a Tunnels>,
}

impl<'a> Reach<'a> {
    pub(super) fn of(frontend: &'a Frontend, backend: &'a Backend) -> Self {
        Self {
            own: &frontend.observer.region,
            backend,
            tunnels: frontend.tunnels.as_deref(),
        }
    }

    /// Whether this gateway's own backend serves a region.
    pub(super) fn is_here(&self, region: &RegionId) -> bool {
        region == self.own || self.backend.has_node_in(region)
    }

    /// Whether a request is handed to another region's gateway first.
    pub(super) fn hands_on(&self, route: &RegionRoute) -> bool {
        let region = route.routed.region.as_ref();
        self.tunnels.is_some() && region.is_some_and(|region| !self.is_here(region))
    }
}

impl Reaches for Reach<'_> {
    fn has_node_in(&self, region: &RegionId) -> bool {
        let is_open = |tunnels: &Tunnels| tunnels.is_open(region);
        self.backend.has_node_in(region) || self.tunnels.is_some_and(is_open)
    }

    fn has_fleet(&self) -> bool {
        self.tunnels.is_some()
    }
}
