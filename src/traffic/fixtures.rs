//! Small plans and clients for tests.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, Method};

use crate::decide::Request;
use crate::place::{GeoPoint, aws_place};
use crate::plan::{
    AffinityKey, Clauses, Condition, Join, Judgement, Leave, Measure, Measures, Plan, Policy,
    Quantity, Region, RegionIndex, RegionMask, Return, Sources, Tier,
};

const REGIONS: [&str; 8] = [
    "ap-northeast-1",
    "ap-southeast-1",
    "eu-central-1",
    "eu-west-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-2",
];

/// `leave when errors > 2% or p99 > 400ms or lag > 5s for 2s`, and back as in the contract.
pub(crate) fn judgement() -> Judgement {
    use std::time::Duration;
    let measures = |bounds: &[(Quantity, u64)]| {
        let bounds = bounds.iter();
        let measures = bounds.map(|&(quantity, bound)| Measure { quantity, bound });
        measures.collect::<Vec<_>>()
    };
    Judgement {
        leave: Some(Leave {
            when: Measures::new(
                Join::Or,
                measures(&[
                    (Quantity::Errors, 20_000),
                    (Quantity::P99, 400_000),
                    (Quantity::Lag, 5_000_000),
                ]),
            ),
            hold: Duration::from_secs(2),
        }),
        comeback: Some(Return {
            when: Measures::new(
                Join::And,
                measures(&[(Quantity::Errors, 5_000), (Quantity::P99, 250_000)]),
            ),
            hold: Duration::from_secs(60),
            ramp: Duration::from_secs(300),
        }),
    }
}

/// A plan of the first regions, with one policy and the default judgement.
pub(crate) fn plan_of(count: usize, tiers: Vec<Tier>) -> Plan {
    plan_with(&vec![None; count], tiers, None)
}

/// A plan of one region that never leaves by what it is judged by.
pub(crate) fn plan_without_clauses() -> Plan {
    let plan = plan_of(1, vec![Tier::Named(RegionIndex(0))]);
    let sources = Sources {
        regions: plan.regions().to_vec(),
        policies: plan.policies().to_vec(),
        ..Sources::default()
    };
    Plan::new(sources).unwrap()
}

/// A region first, then the nearest of two.
pub(crate) fn tiers() -> Plan {
    let nearest = Tier::Nearest(RegionMask(0b0110));
    plan_of(4, vec![Tier::Named(RegionIndex(3)), nearest])
}

/// Regions with capacities, one after the other, and a bound below which it panics.
pub(crate) fn region_of(capacities: &[u32], panic_below: u32) -> Plan {
    let capacities: Vec<_> = capacities.iter().copied().map(Some).collect();
    let tiers = (0..capacities.len() as u8).map(|at| Tier::Named(RegionIndex(at)));
    plan_with(&capacities, tiers.collect(), Some(panic_below))
}

fn plan_with(capacities: &[Option<u32>], tiers: Vec<Tier>, panic_below: Option<u32>) -> Plan {
    let regions = REGIONS
        .iter()
        .zip(capacities)
        .map(|(name, capacity)| Region {
            id: name.parse().unwrap(),
            place: aws_place(name),
            capacity: *capacity,
            load: None,
        });
    let policy = Policy {
        name: "everything".into(),
        matches: Condition::ALWAYS,
        only: None,
        tiers,
        affinity: vec![AffinityKey::Cookie("sid".into())],
        clauses: Clauses::default(),
    };
    let judgement = judgement();
    let sources = Sources {
        regions: regions.collect(),
        policies: vec![policy],
        defaults: Clauses {
            leave: judgement.leave,
            comeback: judgement.comeback,
            panic_below,
            ..Clauses::default()
        },
        windows: Vec::new(),
    };
    Plan::new(sources).unwrap()
}

/// A client in Berlin with a session.
pub(crate) struct Client {
    pub(crate) headers: HeaderMap,
    pub(crate) place: Option<GeoPoint>,
}

impl Client {
    pub(crate) fn with_key(key: u64) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("cookie", format!("sid={key}").parse().unwrap());
        Self {
            headers,
            place: GeoPoint::new(52.5, 13.4),
        }
    }

    pub(crate) fn request(&self) -> Request<'_> {
        Request {
            method: &Method::GET,
            path: "/",
            query: "",
            host: "app.example.com",
            headers: &self.headers,
            client: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)),
            country: None,
            place: self.place,
            hint: "",
            recorded: &[],
        }
    }
}
