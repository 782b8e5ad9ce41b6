//! A gateway's id: new with every start, so that a restart needs no clock.

use std::fmt;

use ring::digest::{SHA256, digest};
use tidegate_model::RegionId;

const RANDOM_BITS: u32 = 48;

/// Names one process of Tidegate: the first 16 bits are its region's, the others random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayId(pub u64);

/// The 16 bits that the ids of a region's gateways begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix(u16);

impl GatewayId {
    /// Makes an id of random bits.
    pub(crate) fn new(prefix: Prefix, random: u64) -> Self {
        let random = random & ((1 << RANDOM_BITS) - 1);
        Self(u64::from(prefix.0) << RANDOM_BITS | random)
    }
}

impl fmt::Display for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Prefix {
    /// Hashes a region's name.
    pub(crate) fn of(region: &RegionId) -> Self {
        let hash = digest(&SHA256, region.as_str().as_bytes());
        let hash = hash.as_ref();
        Self(u16::from_be_bytes([hash[0], hash[1]]))
    }

    /// Returns whether an id is one of this region's.
    pub(crate) fn begins(self, id: GatewayId) -> bool {
        id.0 >> RANDOM_BITS == u64::from(self.0)
    }
}
