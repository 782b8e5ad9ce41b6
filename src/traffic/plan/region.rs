//! Regions by number, and sets of them in one word.

use tidegate_model::RegionId;

use crate::place::GeoPoint;

/// Most regions of a plan: a set of them is one word.
pub const REGIONS_MAX: usize = 64;

/// A region by its place in the plan's list, which is in the order of the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionIndex(pub u8);

impl RegionIndex {
    /// Returns the index for slices.
    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}

/// A declared region.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// Its name.
    pub id: RegionId,
    /// Its location: as declared, or as built in for AWS's regions.
    pub place: Option<GeoPoint>,
    /// Its capacity, in requests per second.
    pub capacity: Option<u32>,
    /// The load that enters there, in requests per second.
    pub load: Option<u32>,
}

/// A set of regions.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct RegionMask(pub u64);

impl RegionMask {
    /// No region.
    pub const EMPTY: Self = Self(0);

    /// Returns the set of one region.
    pub const fn of(region: RegionIndex) -> Self {
        Self(1 << region.0)
    }

    /// Returns the first `count` regions of a plan; at most 64.
    pub const fn first(count: usize) -> Self {
        if count >= REGIONS_MAX {
            return Self(u64::MAX);
        }
        Self((1 << count) - 1)
    }

    /// Returns whether the set has a region.
    pub const fn has(self, region: RegionIndex) -> bool {
        self.0 & (1 << region.0) != 0
    }

    /// Returns whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns how many regions the set has.
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Returns the regions of both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns the regions of either set.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the regions that the other set does not have.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns the regions in the order of their names.
    pub fn iter(self) -> impl Iterator<Item = RegionIndex> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let next = (rest != 0).then(|| RegionIndex(rest.trailing_zeros() as u8))?;
            rest &= rest - 1;
            Some(next)
        })
    }
}

impl FromIterator<RegionIndex> for RegionMask {
    fn from_iter<I: IntoIterator<Item = RegionIndex>>(regions: I) -> Self {
        let regions = regions.into_iter();
        regions.fold(Self::EMPTY, |set, region| set.or(Self::of(region)))
    }
}

impl std::fmt::Debug for RegionMask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set()
            .entries(self.iter().map(|region| region.0))
            .finish()
    }
}
