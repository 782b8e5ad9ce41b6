use proptest::prelude::*;

use super::*;
use crate::facts::{Conditions, Facts, RegionStanding};
use crate::fixtures::{Client, plan_of, region_of, tiers};
use crate::place::GeoPoint;
use crate::plan::{Plan, RegionIndex, RegionMask, Tier};
use crate::random::Random;

/// The regions of a thousand keys as facts change.
fn regions(plan: &Plan, facts: &Facts, keys: u64) -> Vec<RegionIndex> {
    let region = |key| match decide(plan, facts, &Client::with_key(key).request()).region {
        Target::Region(region) => region,
        other => panic!("{other:?}"),
    };
    (0..keys).map(region).collect()
}

fn standing(left: RegionMask, ramps: Vec<(RegionIndex, u16)>) -> Conditions {
    Conditions {
        standings: vec![RegionStanding { left, ramps }],
        ..Conditions::default()
    }
}

proptest! {
    #[test]
    fn a_decision_is_the_same_in_any_order_and_from_another_copy_of_plan_and_facts(seed: u64) {
        let made = |seed| {
            let mut random = Random::new(seed);
            let plan = random.plan();
            let facts = random.facts(&plan);
            let headers: Vec<_> = (0..20).map(|_| random.headers()).collect();
            (plan, facts, headers, random)
        };
        let (plan, facts, headers, mut random) = made(seed);
        let requests: Vec<_> = headers.iter().map(|headers| random.request(headers)).collect();
        let first: Vec<_> = requests.iter().map(|it| decide(&plan, &facts, it)).collect();
        let (plan, facts, ..) = made(seed);
        let mut order: Vec<_> = (0..requests.len()).collect();
        random.0.shuffle(&mut order);
        for at in order {
            prop_assert_eq!(decide(&plan, &facts, &requests[at]), first[at]);
        }
    }

    #[test]
    fn only_is_never_left_and_nothing_is_sent_to_a_drained_or_unreachable_region(seed: u64) {
        let mut random = Random::new(seed);
        let plan = random.plan();
        let facts = random.facts(&plan);
        let headers = random.headers();
        let request = random.request(&headers);
        let decision = decide(&plan, &facts, &request);
        let policy = &plan.policies()[decision.policy];
        let only = policy.only.unwrap_or(plan.all_regions());
        let standbys = decision.standbys.in_order(&plan, &facts, &request, decision.policy);
        let mut seen: Vec<_> = standbys.collect();
        if let Target::Region(region) = decision.region {
            seen.push(region);
        }
        let shut = facts.draining().or(facts.conditions().unreachable);
        let set: RegionMask = seen.iter().copied().collect();
        prop_assert_eq!(set.len() as usize, seen.len(), "a region is repeated");
        prop_assert!(set.without(only).is_empty());
        prop_assert!(set.and(shut).is_empty());
        let left = facts.policy(decision.policy).left;
        prop_assert!(facts.policy(decision.policy).panics || set.and(left).is_empty());
        prop_assert_eq!(seen.is_empty(), decision.reason == RegionReason::Else);
        prop_assert!(decision.proposed.is_none_or(|proposed| only.has(proposed)));
    }

    #[test]
    fn the_index_finds_the_first_policy_that_matches(seed: u64) {
        let mut random = Random::new(seed);
        let plan = random.plan();
        for _ in 0..8 {
            let headers = random.headers();
            let request = random.request(&headers);
            let mut policies = plan.policies().iter();
            let first = policies.position(|policy| mismatch(&policy.matches, &request).is_none());
            prop_assert_eq!(Some(governing(&plan, &request)), first);
        }
    }

    #[test]
    fn a_key_moves_twice_when_its_region_leaves_and_returns_and_no_other_key_moves(
        seed: u64,
        leaving in 0u8..8,
        weighted: bool,
    ) {
        let all = RegionMask::first(8);
        let leaving = RegionIndex(leaving);
        let mut random = Random::new(seed);
        let weights = all.iter().map(|region| (region, random.0.u32(1..50)));
        let tier = if weighted { Tier::Weighted(weights.collect()) } else { Tier::Spread(all) };
        let plan = plan_of(8, vec![tier]);
        let phases = std::iter::once(standing(RegionMask::EMPTY, vec![]))
            .chain([standing(RegionMask::of(leaving), vec![])])
            .chain((0..10_000).step_by(500).map(|at| standing(RegionMask::EMPTY, vec![(leaving, at)])))
            .chain([standing(RegionMask::EMPTY, vec![])]);
        let seen: Vec<_> = phases
            .map(|conditions| regions(&plan, &Facts::new(&plan, conditions), 200))
            .collect();
        for key in 0..200 {
            let moves = seen.windows(2).filter(|two| two[0][key] != two[1][key]).count();
            let own = seen[0][key] == leaving;
            prop_assert_eq!(moves, if own { 2 } else { 0 });
        }
    }
}

#[test]
fn a_key_moves_twice_from_the_nearest_region_too() {
    let plan = plan_of(8, vec![Tier::Nearest(RegionMask::first(8))]);
    let home = regions(&plan, &Facts::new(&plan, Conditions::default()), 1)[0];
    let left = Facts::new(&plan, standing(RegionMask::of(home), vec![]));
    assert!(!regions(&plan, &left, 500).contains(&home));
    let mut back = 0;
    for position in (0..=10_000).step_by(100) {
        let facts = Facts::new(&plan, standing(RegionMask::EMPTY, vec![(home, position)]));
        let now = regions(&plan, &facts, 500);
        let now = now.iter().filter(|region| **region == home).count();
        assert!(now >= back, "a key was admitted and sent away again");
        back = now;
    }
    assert_eq!(back, 500);
}

/// The values are from another implementation of `SipHash`, in Python.
#[test]
fn keys_are_placed_as_in_every_release_before() {
    let plan = plan_of(8, vec![Tier::Spread(RegionMask::first(8))]);
    let facts = Facts::new(&plan, Conditions::default());
    let places = regions(&plan, &facts, 16)
        .iter()
        .map(|region| region.0)
        .collect::<Vec<_>>();
    assert_eq!(places, [4, 5, 2, 7, 2, 1, 5, 7, 7, 3, 6, 1, 2, 2, 0, 7]);
    let weights = (0..8).map(|at| (RegionIndex(at), u32::from(at) + 1));
    let plan = plan_of(8, vec![Tier::Weighted(weights.collect())]);
    let facts = Facts::new(&plan, Conditions::default());
    let places = regions(&plan, &facts, 16)
        .iter()
        .map(|region| region.0)
        .collect::<Vec<_>>();
    assert_eq!(places, [4, 7, 6, 7, 2, 7, 5, 7, 7, 6, 6, 1, 2, 2, 7, 7]);
}

/// As above.
#[test]
fn a_ramp_lets_keys_in_as_in_every_release_before() {
    for (key, position) in [("0", 3_418), ("1", 9_410), ("2", 5_494), ("3", 6_228)] {
        let key = crate::hash::Key::of(key.as_bytes());
        assert!(!key.is_let_in(position) && key.is_let_in(position + 1));
    }
}

#[test]
fn weights_are_kept_to() {
    let plan = plan_of(
        2,
        vec![Tier::Weighted(vec![
            (RegionIndex(0), 90),
            (RegionIndex(1), 10),
        ])],
    );
    let facts = Facts::new(&plan, Conditions::default());
    let placed = regions(&plan, &facts, 20_000);
    let second = placed.iter().filter(|region| region.0 == 1).count();
    assert!((1_850..=2_150).contains(&second), "{second}");
}

#[test]
fn tiers_are_tried_in_their_order() {
    let (plan, client) = (tiers(), Client::with_key(1));
    let decided = |left: &[u8]| {
        let left = left.iter().copied().map(RegionIndex).collect();
        let facts = Facts::new(&plan, standing(left, vec![]));
        let decision = decide(&plan, &facts, &client.request());
        (decision.region, decision.proposed, decision.reason)
    };
    let region = |at| Target::Region(RegionIndex(at));
    let proposed = Some(RegionIndex(3));
    assert_eq!(decided(&[]), (region(3), proposed, RegionReason::Named));
    assert_eq!(decided(&[1]), (region(3), proposed, RegionReason::Named));
    assert_eq!(decided(&[3]), (region(2), proposed, RegionReason::Left));
    assert_eq!(decided(&[3, 2]), (region(1), proposed, RegionReason::Left));
    assert_eq!(
        decided(&[3, 1, 2]),
        (Target::Status(503), proposed, RegionReason::Else)
    );
}

#[test]
fn standbys_are_what_comes_next_one_after_the_other() {
    let (plan, client) = (tiers(), Client::with_key(1));
    let facts = Facts::new(&plan, Conditions::default());
    let request = client.request();
    let decision = decide(&plan, &facts, &request);
    let standbys = decision
        .standbys
        .in_order(&plan, &facts, &request, decision.policy);
    assert_eq!(
        standbys.collect::<Vec<_>>(),
        [RegionIndex(2), RegionIndex(1)]
    );
}

#[test]
fn draining_is_named_before_left_and_left_before_ramping() {
    let (plan, client) = (tiers(), Client::with_key(1));
    let first = RegionMask::of(RegionIndex(3));
    let reason =
        |conditions| decide(&plan, &Facts::new(&plan, conditions), &client.request()).reason;
    let ramping = vec![(RegionIndex(3), 0)];
    assert_eq!(
        reason(standing(RegionMask::EMPTY, ramping.clone())),
        RegionReason::Ramping
    );
    assert_eq!(reason(standing(first, ramping)), RegionReason::Left);
    let drained = Conditions {
        draining: first,
        ..standing(first, vec![])
    };
    assert_eq!(reason(drained), RegionReason::Draining);
    let unreachable = Conditions {
        unreachable: first,
        ..Conditions::default()
    };
    assert_eq!(reason(unreachable), RegionReason::Left);
}

#[test]
fn a_key_that_no_ramp_lets_in_is_served_by_the_first_region_all_the_same() {
    let (plan, client) = (tiers(), Client::with_key(1));
    let ramps = [1, 2, 3].map(|at| (RegionIndex(at), 0)).to_vec();
    let facts = Facts::new(&plan, standing(RegionMask::EMPTY, ramps));
    let decision = decide(&plan, &facts, &client.request());
    assert_eq!(decision.region, Target::Region(RegionIndex(3)));
    assert_eq!(decision.reason, RegionReason::Named);
}

#[test]
fn below_the_bound_left_is_ignored_but_not_what_is_drained_or_unreachable() {
    let plan = region_of(&[1_000, 1_000, 1_000, 1_000], 500_000);
    let client = Client::with_key(1);
    let decided = |left: u64, draining: u64, unreachable: u64| {
        let conditions = Conditions {
            draining: RegionMask(draining),
            unreachable: RegionMask(unreachable),
            ..standing(RegionMask(left), vec![])
        };
        let decision = decide(&plan, &Facts::new(&plan, conditions), &client.request());
        (decision.region, decision.reason)
    };
    let region = |at| Target::Region(RegionIndex(at));
    assert_eq!(decided(0b0011, 0, 0), (region(2), RegionReason::Left));
    assert_eq!(decided(0b0111, 0, 0), (region(0), RegionReason::Panic));
    // Of the two undrained ones only one is well: half of them.
    assert_eq!(decided(0b0001, 0b1100, 0), (region(1), RegionReason::Left));
    assert_eq!(decided(0b0111, 0, 0b0001), (region(1), RegionReason::Left));
    assert_eq!(
        decided(0b1111, 0b0001, 0),
        (region(1), RegionReason::Draining)
    );
    assert_eq!(
        decided(0b1111, 0, 0b1111),
        (Target::Status(503), RegionReason::Else)
    );
}

#[test]
fn a_hint_comes_first_among_the_nearest_in_its_order() {
    let plan = plan_of(4, vec![Tier::Nearest(RegionMask(0b0111))]);
    let facts = Facts::new(&plan, Conditions::default());
    let client = Client::with_key(1);
    let hinted = |hint| {
        let request = Request {
            hint,
            ..client.request()
        };
        let decision = decide(&plan, &facts, &request);
        let standbys = decision
            .standbys
            .in_order(&plan, &facts, &request, decision.policy);
        let Target::Region(first) = decision.region else {
            panic!("no region");
        };
        std::iter::once(first)
            .chain(standbys)
            .map(|it| it.0)
            .collect::<Vec<_>>()
    };
    let plain = hinted("");
    assert_eq!(hinted("nowhere"), plain);
    // The fourth region is not part of the tier.
    let name = |at: u8| plan.region_id(RegionIndex(at)).as_str();
    let [last, third] = [plain[2], plain[1]];
    let hint = format!("{}, nowhere ,{},{}", name(3), name(last), name(third));
    assert_eq!(hinted(&hint), [last, third, plain[0]]);
    let flood = "nowhere,".repeat(HINTS_MAX) + name(last);
    assert_eq!(hinted(&flood), plain);
}

#[test]
fn without_a_place_the_nearest_is_the_nearest_to_this_gateway() {
    let plan = plan_of(4, vec![Tier::Nearest(plan_regions())]);
    let conditions = Conditions {
        near: [2, 0, 1].map(RegionIndex).to_vec(),
        ..Conditions::default()
    };
    let facts = Facts::new(&plan, conditions);
    let client = Client {
        place: None,
        ..Client::with_key(1)
    };
    let request = client.request();
    let decision = decide(&plan, &facts, &request);
    assert_eq!(decision.region, Target::Region(RegionIndex(2)));
    let standbys = decision
        .standbys
        .in_order(&plan, &facts, &request, decision.policy);
    assert_eq!(standbys.map(|it| it.0).collect::<Vec<_>>(), [0, 1, 3]);
}

fn plan_regions() -> RegionMask {
    RegionMask::first(4)
}

#[test]
fn local_is_the_gateways_own_region_where_it_is_declared() {
    let plan = plan_of(4, vec![Tier::Local, Tier::Named(RegionIndex(1))]);
    let decided = |local| {
        let conditions = Conditions {
            local,
            ..Conditions::default()
        };
        let client = Client::with_key(1);
        let decision = decide(&plan, &Facts::new(&plan, conditions), &client.request());
        (decision.region, decision.reason)
    };
    let region = |at| Target::Region(RegionIndex(at));
    assert_eq!(
        decided(Some(RegionIndex(2))),
        (region(2), RegionReason::Local)
    );
    assert_eq!(decided(None), (region(1), RegionReason::Named));
}

#[test]
fn a_place_at_the_end_of_the_earth_is_as_good_as_any() {
    let plan = plan_of(8, vec![Tier::Nearest(RegionMask::first(8))]);
    let facts = Facts::new(&plan, Conditions::default());
    for (latitude, longitude) in [(90.0, 0.0), (-90.0, 180.0), (0.0, -180.0)] {
        let client = Client {
            place: GeoPoint::new(latitude, longitude),
            ..Client::with_key(1)
        };
        let decision = decide(&plan, &facts, &client.request());
        assert_eq!(decision.reason, RegionReason::Nearest);
    }
}
