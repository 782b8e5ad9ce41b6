//! The nearest of some places to a client: the core of most decisions, so without branches.

use crate::place::GeoPoint;
use crate::plan::{REGIONS_MAX, RegionIndex, RegionMask};

/// Places that are processed together, so that the compiler can use vector instructions.
const LANES: usize = 4;
const BLOCKS: usize = REGIONS_MAX / LANES;

/// The low bits of a score, which are a region's number and not part of its nearness.
const INDEX_BITS: u64 = REGIONS_MAX as u64 - 1;

/// By the bits of four regions of a set: which of four scores count.
const CHOSEN: [[u64; LANES]; 1 << LANES] = chosen();

/// The regions' places, coordinate by coordinate.
#[derive(Debug)]
pub(crate) struct Places {
    vectors: [[[f64; LANES]; 3]; BLOCKS],
    /// The value of the low bits: greater for a region with an earlier name.
    order: [[u64; LANES]; BLOCKS],
    blocks: usize,
}

impl Places {
    pub(crate) fn new(places: impl Iterator<Item = GeoPoint>) -> Self {
        let mut vectors = [[[0.0; LANES]; 3]; BLOCKS];
        let mut count = 0;
        for (at, place) in places.enumerate() {
            for (axis, value) in place.vector().into_iter().enumerate() {
                vectors[at / LANES][axis][at % LANES] = value;
            }
            count = at + 1;
        }
        let order = |block, lane| INDEX_BITS - (block * LANES + lane) as u64;
        Self {
            vectors,
            order: std::array::from_fn(|block| std::array::from_fn(|lane| order(block, lane))),
            blocks: count.div_ceil(LANES),
        }
    }

    /// Returns the region among some that is nearest to a client; within a metre, the first by name.
    ///
    /// A score is 3 plus the scalar product; its last six bits, at most a metre, are the region's
    /// number. A score that does not count is 0.
    pub(crate) fn nearest(&self, client: &GeoPoint, among: RegionMask) -> Option<RegionIndex> {
        let [x, y, z] = client.vector();
        let mut best = [0.0; LANES];
        for (block, ([east, ahead, up], order)) in self
            .vectors
            .iter()
            .zip(&self.order)
            .enumerate()
            .take(self.blocks)
        {
            let chosen = &CHOSEN[(among.0 >> (block * LANES)) as usize % CHOSEN.len()];
            for lane in 0..LANES {
                let nearness = east[lane] * x + ahead[lane] * y + up[lane] * z;
                let score = (3.0 + nearness).to_bits() & !INDEX_BITS | order[lane];
                best[lane] = greater(best[lane], f64::from_bits(score & chosen[lane]));
            }
        }
        let best = best.into_iter().fold(0.0, greater);
        let index = INDEX_BITS - (best.to_bits() & INDEX_BITS);
        (best > 0.0).then_some(RegionIndex(index as u8))
    }
}

/// Written so that it is one instruction: `f64::max` also handles NaN.
fn greater(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

const fn chosen() -> [[u64; LANES]; 1 << LANES] {
    let mut chosen = [[0; LANES]; 1 << LANES];
    let mut set = 0;
    while set < chosen.len() {
        let mut lane = 0;
        while lane < LANES {
            if set >> lane & 1 == 1 {
                chosen[set][lane] = u64::MAX;
            }
            lane += 1;
        }
        set += 1;
    }
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place() -> impl Strategy<Value = GeoPoint> {
        (-90.0..90.0, -180.0..180.0)
            .prop_map(|(latitude, longitude)| GeoPoint::new(latitude, longitude).unwrap())
    }

    proptest! {
        #[test]
        fn no_region_among_the_chosen_is_nearer(
            regions in prop::collection::vec(place(), 1..=REGIONS_MAX),
            client in place(),
            among: u64,
        ) {
            let among = RegionMask(among).and(RegionMask::first(regions.len()));
            let found = Places::new(regions.iter().copied()).nearest(&client, among);
            prop_assert_eq!(found.is_none(), among.is_empty());
            if let Some(found) = found {
                prop_assert!(among.has(found));
                let distance = |region: RegionIndex| regions[region.get()].distance_km(&client);
                for other in among.iter() {
                    prop_assert!(distance(found) <= distance(other) + 0.01);
                }
            }
        }
    }

    #[test]
    fn a_tie_is_won_by_the_first_name() {
        let place = GeoPoint::new(50.0, 8.0).unwrap();
        let places = Places::new([place; 5].into_iter());
        let nearest = |among| places.nearest(&place, RegionMask(among));
        assert_eq!(nearest(0b11110), Some(RegionIndex(1)));
        assert_eq!(nearest(0b10000), Some(RegionIndex(4)));
    }
}
