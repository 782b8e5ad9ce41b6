//! The decision of the traffic policy: which of 30 regions serves, by the last of 64 policies.

use std::hint::black_box;

use divan::Bencher;
use tidegate_traffic::decide::{RegionDecision, decide};
use tidegate_traffic::facts::{Conditions, Facts, RegionStanding};
use tidegate_traffic::plan::{Plan, RegionIndex, Tier};

use crate::policies::{
    CLIENTS, POLICIES, all_regions, all_well, clients, header, path, plan, request,
};

/// Decisions timed at once: enough that reading the clock does not dominate the measurement, and
/// short enough that a busy machine rarely switches to another task.
const SAMPLE_SIZE: u32 = CLIENTS as u32;
const SAMPLES: u32 = 20_000;

fn measure(bencher: Bencher<'_, '_>, plan: &Plan, conditions: Conditions, policy: usize) {
    let facts = Facts::new(plan, conditions);
    let clients = clients();
    let requests: Vec<_> = clients.iter().map(request).collect();
    assert!(
        requests
            .iter()
            .all(|request| decide(plan, &facts, request).policy == policy)
    );
    let mut next = requests.iter().cycle();
    bencher.bench_local(|| -> Option<RegionDecision> {
        let request = next.next()?;
        Some(decide(
            black_box(plan),
            black_box(&facts),
            black_box(request),
        ))
    });
}

#[divan::bench(sample_count = SAMPLES, sample_size = SAMPLE_SIZE)]
fn region_nearest(bencher: Bencher<'_, '_>) {
    let plan = plan(&Tier::Nearest(all_regions()), path);
    measure(bencher, &plan, all_well(), POLICIES - 1);
}

/// A third of the regions have left and another third are coming back.
#[divan::bench(sample_count = SAMPLES, sample_size = SAMPLE_SIZE)]
fn region_nearest_left(bencher: Bencher<'_, '_>) {
    let plan = plan(&Tier::Nearest(all_regions()), path);
    let every_third = |first: u8| (first..30).step_by(3).map(RegionIndex);
    let standing = RegionStanding {
        left: every_third(0).collect(),
        ramps: every_third(1).map(|region| (region, 5_000)).collect(),
    };
    let conditions = Conditions {
        standings: vec![standing],
        ..all_well()
    };
    measure(bencher, &plan, conditions, POLICIES - 1);
}

#[divan::bench(sample_count = SAMPLES, sample_size = SAMPLE_SIZE)]
fn region_spread(bencher: Bencher<'_, '_>) {
    let plan = plan(&Tier::Spread(all_regions()), path);
    measure(bencher, &plan, all_well(), POLICIES - 1);
}

#[divan::bench(sample_count = SAMPLES, sample_size = SAMPLE_SIZE)]
fn region_weighted(bencher: Bencher<'_, '_>) {
    let weights = all_regions().iter().map(|region| (region, 10));
    let plan = plan(&Tier::Weighted(weights.collect()), path);
    measure(bencher, &plan, all_well(), POLICIES - 1);
}

#[divan::bench(sample_count = SAMPLES, sample_size = SAMPLE_SIZE)]
fn region_by_64_headers(bencher: Bencher<'_, '_>) {
    let plan = plan(&Tier::Nearest(all_regions()), header);
    measure(bencher, &plan, all_well(), POLICIES - 1);
}
