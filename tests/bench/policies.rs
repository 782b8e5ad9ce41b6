//! The input for measuring the decision of a region: 30 regions, 64 policies of which the last one
//! matches, and clients.

#[path = "../regions.rs"]
mod regions;

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tidegate_model::{Covers, PathPattern};
use tidegate_traffic::decide::Request;
use tidegate_traffic::facts::Conditions;
use tidegate_traffic::place::{GeoPoint, aws_place};
use tidegate_traffic::plan::{
    AffinityKey, Clauses, Condition, Country, Plan, Policy, Region, RegionIndex, RegionMask,
    Sources, Tier,
};

use regions::REGIONS;

pub(crate) const POLICIES: usize = 64;
/// Requests that are decided in turns, each from another client.
pub(crate) const CLIENTS: usize = 64;
/// 64 policies of which the last one matches the requests, and the one that every file ends with.
pub(crate) fn plan(tier: &Tier, wants: impl Fn(usize) -> Vec<Condition>) -> Plan {
    let policy = |number: usize| Policy {
        name: format!("policy-{number}").into(),
        matches: Condition::All(wants(number)),
        ..everything(tier)
    };
    let policies = (0..POLICIES).map(policy).chain([everything(tier)]);
    sources(policies.collect())
}

/// A path, a method and a country; only the path differs, so that nothing else determines the
/// match.
pub(crate) fn path(number: usize) -> Vec<Condition> {
    let path = PathPattern::new(format!("/area-{number}"), Covers::Below);
    let countries = ["DE", "FR", "IE"].map(country).into_iter().collect();
    vec![
        Condition::Path(vec![path]),
        Condition::Method(vec![Method::GET, Method::HEAD]),
        Condition::Country(Box::new(countries)),
    ]
}

/// In addition a header; only the header differs.
pub(crate) fn header(number: usize) -> Vec<Condition> {
    let name = HeaderName::try_from(format!("x-tenant-{number}")).expect("a header's name");
    let header = Condition::Header(name, Some("gold".into()));
    path(POLICIES - 1).into_iter().chain([header]).collect()
}

fn sources(policies: Vec<Policy>) -> Plan {
    let region = |name: &&str| Region {
        id: name.parse().expect("a region"),
        place: aws_place(name),
        capacity: Some(1_000),
        load: None,
    };
    let sources = Sources {
        regions: REGIONS.iter().map(region).collect(),
        policies,
        ..Sources::default()
    };
    Plan::new(sources).expect("the plan is sound")
}

fn everything(tier: &Tier) -> Policy {
    Policy {
        name: "everything".into(),
        matches: Condition::ALWAYS,
        only: None,
        tiers: vec![tier.clone()],
        affinity: vec![AffinityKey::Cookie("sid".into())],
        clauses: Clauses::default(),
    }
}

fn country(code: &str) -> Country {
    code.parse().expect("a country")
}

pub(crate) fn all_regions() -> RegionMask {
    RegionMask::first(REGIONS.len())
}

/// The headers that a browser sends, and a session.
fn headers(client: usize) -> HeaderMap {
    let mut headers: HeaderMap = [
        ("accept", "application/json, text/plain, */*"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("accept-language", "de-DE,de;q=0.9,en;q=0.8"),
        ("cache-control", "no-cache"),
        ("referer", "https://app.example.com/area-63/items"),
        ("sec-fetch-dest", "empty"),
        ("sec-fetch-mode", "cors"),
        ("sec-fetch-site", "same-origin"),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        ),
        ("cloudfront-viewer-country", "DE"),
        ("x-tenant-63", "gold"),
    ]
    .into_iter()
    .map(|(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    })
    .collect();
    let session = format!("theme=dark; sid=0198f3c2-7b5e-7d1a-9c41-{client:012}");
    headers.insert("cookie", session.parse().expect("a header's value"));
    headers
}

pub(crate) struct Client {
    headers: HeaderMap,
    place: GeoPoint,
}

pub(crate) fn clients() -> Vec<Client> {
    let client = |number: usize| Client {
        headers: headers(number),
        place: GeoPoint::new(
            (number * 37 % 130) as f64 - 55.0,
            (number * 101 % 360) as f64 - 180.0,
        )
        .expect("a place"),
    };
    (0..CLIENTS).map(client).collect()
}

pub(crate) fn request(client: &Client) -> Request<'_> {
    Request {
        method: &Method::GET,
        path: "/area-63/items/42",
        query: "page=2",
        host: "app.example.com",
        headers: &client.headers,
        client: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)),
        country: Some(country("DE")),
        place: Some(client.place),
        hint: "",
        recorded: &[],
    }
}

pub(crate) fn all_well() -> Conditions {
    Conditions {
        local: Some(RegionIndex(0)),
        ..Conditions::default()
    }
}
