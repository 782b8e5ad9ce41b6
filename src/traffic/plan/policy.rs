//! A policy: what it matches, where it sends requests, and by which keys.

use http::HeaderName;

use crate::plan::{Clauses, Condition, RegionIndex, RegionMask};

/// Most policies of a plan.
pub const POLICIES_MAX: usize = 256;

/// `policy NAME { … }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its name.
    pub name: Box<str>,
    /// Which requests it governs.
    pub matches: Condition,
    /// The regions to which all tiers, retries, panics and standbys are restricted.
    pub only: Option<RegionMask>,
    /// Where requests go, in the order of preference.
    pub tiers: Vec<Tier>,
    /// The keys, the first of which that the request has is hashed; without any, the client's
    /// address.
    pub affinity: Vec<AffinityKey>,
    /// The policy's own clauses.
    pub clauses: Clauses,
}

/// One tier of `prefer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tier {
    /// One region.
    Named(RegionIndex),
    /// The gateway's own region.
    Local,
    /// Regions by their distance to the client.
    Nearest(RegionMask),
    /// Regions by the key, all alike.
    Spread(RegionMask),
    /// Regions by the key, in proportion to their weights, which are above 0.
    Weighted(Vec<(RegionIndex, u32)>),
}

impl Tier {
    /// Returns the regions of the tier, for a gateway in `local`.
    pub fn regions(&self, local: Option<RegionIndex>) -> RegionMask {
        match self {
            Self::Named(region) => RegionMask::of(*region),
            Self::Local => local.into_iter().collect(),
            Self::Nearest(regions) | Self::Spread(regions) => *regions,
            Self::Weighted(weights) => weights.iter().map(|(region, _)| *region).collect(),
        }
    }
}

/// Where an affinity key comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AffinityKey {
    /// The value of a cookie.
    Cookie(Box<str>),
    /// The value of a header.
    Header(HeaderName),
    /// The first segments of the path.
    Path(u32),
    /// The network of the client's address, by prefix lengths of both kinds.
    Client {
        /// Of an IPv4 address: 0 to 32.
        v4: u8,
        /// Of an IPv6 address: 0 to 128.
        v6: u8,
    },
}

impl AffinityKey {
    /// The client's whole address, which is hashed if there is no other key.
    pub const ADDRESS: Self = Self::Client { v4: 32, v6: 128 };
}
