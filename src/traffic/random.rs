//! Random plans, facts and requests for tests, from a seed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use fastrand::Rng;
use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tidegate_model::PathPattern;

use crate::decide::Request;
use crate::facts::{Conditions, Facts, RegionStanding};
use crate::place::{GeoPoint, aws_place};
use crate::plan::{
    AffinityKey, Clauses, Condition, Country, Else, Join, Leave, Measure, Measures, OpenWindows,
    Plan, Policy, Quantity, Region, RegionIndex, RegionMask, Return, Sources, Tier, Window,
    WindowEffect,
};

const REGIONS: [&str; 12] = [
    "af-south-1",
    "ap-east-1",
    "ap-northeast-1",
    "ap-south-1",
    "ap-southeast-1",
    "ca-central-1",
    "eu-central-1",
    "eu-west-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-2",
];

const LITERALS: [&str; 7] = ["/", "/a", "/a/b", "/a/b/c", "/ab", "/accounts", "/b"];
const METHODS: [Method; 4] = [Method::GET, Method::POST, Method::HEAD, Method::DELETE];
const COUNTRIES: [&str; 5] = ["DE", "FR", "US", "JP", "BR"];
const HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("x-device"),
    HeaderName::from_static("x-tenant"),
    HeaderName::from_static("accept"),
];
const VALUES: [&str; 3] = ["one", "two", "a b"];
const NAMES: [&str; 3] = ["sid", "theme", "page"];
// The last one ends where the mapped addresses begin.
const NETWORKS: [&str; 5] = [
    "128.0.0.0/1",
    "0.0.0.0/0",
    "::/0",
    "8000::/1",
    "::fffe:0:0/96",
];

/// Makes random things of the language.
pub(crate) struct Random(pub(crate) Rng);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Rng::with_seed(seed))
    }

    pub(crate) fn plan(&mut self) -> Plan {
        let count = self.0.usize(1..=REGIONS.len());
        let regions = REGIONS[..count].iter().map(|name| Region {
            id: name.parse().unwrap(),
            place: aws_place(name),
            capacity: self.0.bool().then(|| self.0.u32(1..5_000)),
            load: None,
        });
        let regions: Vec<_> = regions.collect();
        let all = RegionMask::first(count);
        let mut policies: Vec<_> = (0..self.0.usize(0..6))
            .map(|at| self.policy(at, all))
            .collect();
        policies.push(Policy {
            matches: Condition::ALWAYS,
            ..self.policy(policies.len(), all)
        });
        let windows = (0..self.0.usize(0..3)).map(|at| Window {
            name: format!("window-{at}").into(),
            periods: Vec::new(),
            effect: if self.0.bool() {
                WindowEffect::Drain(self.some_of(all))
            } else {
                WindowEffect::Replace(self.clauses())
            },
        });
        Plan::new(Sources {
            regions,
            policies,
            windows: windows.collect(),
            defaults: self.clauses(),
        })
        .unwrap()
    }

    pub(crate) fn facts(&mut self, plan: &Plan) -> Facts {
        let all = plan.all_regions();
        let mut near: Vec<_> = all.iter().collect();
        self.0.shuffle(&mut near);
        let standings = plan.judgements().iter().map(|_| {
            let left = self.few_of(all);
            let ramping = self.few_of(all.without(left));
            let ramps = ramping.iter().map(|region| (region, self.0.u16(0..10_000)));
            RegionStanding {
                left,
                ramps: ramps.collect(),
            }
        });
        let standings = standings.collect();
        let conditions = Conditions {
            local: self.0.bool().then(|| self.one_of(all)),
            near,
            draining: self.few_of(all),
            unreachable: self.few_of(all),
            open: OpenWindows(self.0.u64(0..8)),
            standings,
        };
        Facts::new(plan, conditions)
    }

    pub(crate) fn headers(&mut self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for name in HEADERS {
            for _ in 0..self.0.usize(0..3) {
                headers.append(&name, HeaderValue::from_static(self.choice(&VALUES)));
            }
        }
        for _ in 0..self.0.usize(0..3) {
            let (name, value) = (self.choice(&NAMES), self.0.u8(..));
            headers.append(
                COOKIE,
                format!("{name}={value}; theme=one").parse().unwrap(),
            );
        }
        headers
    }

    pub(crate) fn request<'a>(&mut self, headers: &'a HeaderMap) -> Request<'a> {
        const PATHS: [&str; 7] = ["/", "/a", "/a/b", "/a/b/c/d", "/abc", "/accounts/1", "/zzz"];
        const METHOD_REFS: [&Method; 4] =
            [&Method::GET, &Method::POST, &Method::HEAD, &Method::PUT];
        const QUERIES: [&str; 4] = ["", "page=one", "page=a+b&sid", "theme=%74wo"];
        const HINTS: [&str; 4] = ["", "nowhere, eu-west-1", "us-east-1,ap-east-1", ",,\u{e9},"];
        Request {
            method: METHOD_REFS[self.0.usize(0..4)],
            path: self.choice(&PATHS),
            query: self.choice(&QUERIES),
            host: self.choice(&["app.example.com", "b.example"]),
            headers,
            client: self.client(),
            country: self.0.bool().then(|| self.country()),
            place: self.0.bool().then(|| self.place()),
            hint: self.choice(&HINTS),
            recorded: &[],
        }
    }

    pub(crate) fn place(&mut self) -> GeoPoint {
        let latitude = self.0.f64() * 180.0 - 90.0;
        GeoPoint::new(latitude, self.0.f64() * 360.0 - 180.0).unwrap()
    }

    pub(crate) fn some_of(&mut self, regions: RegionMask) -> RegionMask {
        let some = RegionMask(self.0.u64(..)).and(regions);
        some.or(RegionMask::of(self.one_of(regions)))
    }

    pub(crate) fn client(&mut self) -> IpAddr {
        match self.0.u8(0..3) {
            0 => IpAddr::V4(Ipv4Addr::from(self.0.u32(..))),
            1 => IpAddr::V6(Ipv4Addr::from(self.0.u32(..)).to_ipv6_mapped()),
            _ => IpAddr::V6(Ipv6Addr::from(self.0.u128(..))),
        }
    }

    fn policy(&mut self, at: usize, all: RegionMask) -> Policy {
        let only = self.0.bool().then(|| self.some_of(all));
        let within = only.unwrap_or(all);
        Policy {
            name: format!("policy-{at}").into(),
            matches: self.condition(3),
            only,
            tiers: (0..self.0.usize(1..4)).map(|_| self.tier(within)).collect(),
            affinity: (0..self.0.usize(0..3)).map(|_| self.key()).collect(),
            clauses: self.clauses(),
        }
    }

    fn tier(&mut self, within: RegionMask) -> Tier {
        match self.0.u8(0..5) {
            0 => Tier::Named(self.one_of(within)),
            1 => Tier::Local,
            2 => Tier::Nearest(self.some_of(within)),
            3 => Tier::Spread(self.some_of(within)),
            _ => {
                let regions = self.some_of(within).iter();
                Tier::Weighted(regions.map(|region| (region, self.0.u32(1..100))).collect())
            }
        }
    }

    fn key(&mut self) -> AffinityKey {
        match self.0.u8(0..4) {
            0 => AffinityKey::Cookie(self.choice(&NAMES).into()),
            1 => AffinityKey::Header(HEADERS[self.0.usize(0..3)].clone()),
            2 => AffinityKey::Path(self.0.u32(1..3)),
            _ => AffinityKey::Client { v4: 24, v6: 56 },
        }
    }

    fn condition(&mut self, depth: u8) -> Condition {
        let leaves_only = depth == 0;
        let value = |random: &mut Self| random.0.bool().then(|| random.choice(&VALUES).into());
        match self.0.u8(if leaves_only { 0..8 } else { 0..12 }) {
            0 => Condition::Path((0..self.0.usize(1..3)).map(|_| self.pattern()).collect()),
            1 => Condition::Method(vec![METHODS[self.0.usize(0..4)].clone()]),
            2 => Condition::Host("APP.example.com".into()),
            3 => Condition::Header(HEADERS[self.0.usize(0..3)].clone(), value(self)),
            4 => Condition::Cookie(self.choice(&NAMES).into(), value(self)),
            5 => Condition::Query(self.choice(&NAMES).into(), value(self)),
            6 => {
                let countries = (0..2).map(|_| self.country());
                Condition::Country(Box::new(countries.collect()))
            }
            7 => Condition::Client(vec![self.choice(&NETWORKS).parse().unwrap()]),
            8 | 9 => Condition::Not(Box::new(self.condition(depth - 1))),
            10 => Condition::All(self.conditions(depth - 1)),
            _ => Condition::Any(self.conditions(depth - 1)),
        }
    }

    fn conditions(&mut self, depth: u8) -> Vec<Condition> {
        (0..self.0.usize(0..4))
            .map(|_| self.condition(depth))
            .collect()
    }

    fn pattern(&mut self) -> PathPattern {
        let ending = self.choice(&["", "/*", "*"]);
        let pattern = format!("{}{ending}", self.choice(&LITERALS));
        pattern.replace("//", "/").parse().unwrap()
    }

    fn clauses(&mut self) -> Clauses {
        let measures = |random: &mut Self| {
            let measure = |quantity| Measure {
                quantity,
                bound: random.0.u64(1..4) * 10_000,
            };
            let measures = Quantity::ALL.map(measure).to_vec();
            Measures::new(Join::Or, measures[..random.0.usize(1..4)].to_vec())
        };
        Clauses {
            leave: self.0.bool().then(|| Leave {
                when: measures(self),
                hold: Duration::from_secs(2),
            }),
            comeback: self.0.bool().then(|| Return {
                when: measures(self),
                hold: Duration::from_secs(60),
                ramp: Duration::from_secs(self.0.u64(0..3) * 100),
            }),
            retry: None,
            panic_below: self.0.bool().then(|| self.0.u32(0..1_000_000)),
            otherwise: match self.0.u8(0..3) {
                0 => None,
                1 => Some(Else::Local),
                _ => Some(Else::Status(self.0.u16(400..600))),
            },
            survive: None,
        }
    }

    fn few_of(&mut self, regions: RegionMask) -> RegionMask {
        let few = RegionMask(self.0.u64(..)).and(RegionMask(self.0.u64(..)));
        few.and(regions)
    }

    fn one_of(&mut self, regions: RegionMask) -> RegionIndex {
        let nth = self.0.usize(0..regions.len() as usize);
        regions.iter().nth(nth).unwrap()
    }

    fn country(&mut self) -> Country {
        self.choice(&COUNTRIES).parse().unwrap()
    }

    fn choice(&mut self, from: &[&'static str]) -> &'static str {
        from[self.0.usize(0..from.len())]
    }
}
