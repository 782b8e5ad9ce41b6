use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;
use crate::decide::RegionReason;
use crate::facts::Conditions;
use crate::fixtures::{Client, plan_of, tiers};
use crate::plan::{Condition, RegionIndex, RegionMask, Tier};
use crate::random::Random;

/// Decides, records the decision, reads it and decides again with a copy of the plan.
fn is_decided_again(seed: u64, requests: usize) {
    let mut random = Random::new(seed);
    let plan = random.plan();
    let copy = Random::new(seed).plan();
    let facts = random.facts(&plan);
    for _ in 0..requests {
        let headers = random.headers();
        let request = random.request(&headers);
        let decision = decide(&plan, &facts, &request);
        let receipt = Receipt::new((0, 7), &plan, &facts, &request, &decision);
        let line = receipt.line().unwrap();
        assert!(!line.contains('\n'));
        let read = Receipt::read(&line).unwrap();
        assert_eq!(read, receipt);
        let open = read.windows_by_name(&copy);
        assert_eq!(read.missing(&copy, open).unwrap(), None, "{line}");
        let replayed = read.replay(&copy, open).unwrap();
        assert_eq!(
            read.decision.verdict(&replayed),
            Verdict::Same,
            "{line}\n{replayed:?}"
        );
    }
}

/// Decides by another plan: what a receipt does not tell is found, and all else is what the request would get.
fn is_judged_rightly(seed: u64) {
    let mut random = Random::new(seed);
    let (plan, other) = (random.plan(), random.plan());
    let facts = random.facts(&plan);
    let headers = random.headers();
    let request = random.request(&headers);
    let decision = decide(&plan, &facts, &request);
    let receipt = Receipt::new((0, 7), &plan, &facts, &request, &decision);
    let open = OpenWindows(random.0.u64(0..8));
    let line = receipt.line().unwrap();
    // As a version wrote it that did not name what it had looked for.
    let mut earlier: serde_json::Value = serde_json::from_str(&line).unwrap();
    earlier["request"].as_object_mut().unwrap().remove("names");
    for line in [line, earlier.to_string()] {
        let read = Receipt::read(&line).unwrap();
        if read.missing(&other, open).unwrap().is_some() {
            continue;
        }
        let there = Facts::new(&other, read.facts.conditions(&other, open));
        let decision = decide(&other, &there, &request);
        let expected = RecordedDecision::new(&other, &there, &request, &decision);
        assert_eq!(read.replay(&other, open).unwrap(), expected, "{line}");
    }
}

proptest! {
    #[test]
    fn a_receipt_is_decided_again_the_same_way(seed: u64) {
        is_decided_again(seed, 8);
    }

    #[test]
    fn a_receipt_is_not_judged_by_what_it_does_not_tell(seed: u64) {
        is_judged_rightly(seed);
    }
}

#[test]
fn the_field_that_a_receipt_does_not_tell_is_named() {
    const REGIONS: &str = "region us-east-1 region eu-west-1\n";
    const LAST: &str = "policy all { prefer us-east-1 | eu-west-1 }";
    let plan = |policy: &str| {
        let text = format!("{REGIONS}{policy}{LAST}");
        let source = crate::syntax::Source::new("x.policy", text.as_bytes());
        crate::compile(&source).plan.expect(policy)
    };
    let missing = |recorded: &str, replayed: &str| {
        let (plan, other) = (plan(recorded), plan(replayed));
        let facts = Facts::new(&plan, Conditions::default());
        let client = Client::with_key(1);
        let request = client.request();
        let decision = decide(&plan, &facts, &request);
        let receipt = Receipt::new((0, 0), &plan, &facts, &request, &decision);
        let read = Receipt::read(&receipt.line().unwrap()).unwrap();
        read.missing(&other, OpenWindows::default()).unwrap()
    };
    let matching = |condition: &str| format!("policy p {{ match {condition} prefer eu-west-1 }}\n");
    for (condition, field) in [
        ("header x-new", "header x-new"),
        ("cookie sid", "cookie sid"),
        ("query page", "query page"),
        ("client in (192.0.2.0/24)", "client address"),
    ] {
        let other = matching(condition);
        assert_eq!(missing("", &other).as_deref(), Some(field));
        assert_eq!(missing(&other, &other), None);
        let elsewhere = matching(&format!("path /elsewhere and {condition}"));
        assert_eq!(missing("", &elsewhere), None);
    }
    let spread = "policy p { match method in (GET) prefer spread(us-east-1, eu-west-1) affinity cookie sid }\n";
    assert_eq!(missing("", spread).as_deref(), Some("cookie sid"));
    assert_eq!(missing(spread, spread), None);
    // As the policy has it.
    let network = spread.replace("cookie sid", "client /16");
    assert_eq!(missing("", &network).as_deref(), Some("client /16"));
    let absent = spread.replace("sid", "other");
    assert_eq!(missing(&absent, &absent), None);
    let named = spread.replace("spread(us-east-1, eu-west-1)", "us-east-1 | eu-west-1");
    assert_eq!(missing("", &named), None);
}

#[test]
fn what_no_gateway_writes_is_refused() {
    let good = receipt_of(&Client::with_key(1));
    for (part, by) in [
        ("\"reason\":\"spread\"", "\"reason\":\"magic\""),
        ("\"cookie sid\":", "\"session sid\":"),
        ("\"near\":[]", "\"near\":[\"a\",\"b\",\"a\"]"),
        (
            "\"states\":{",
            "\"states\":{\"leave never\":{\"ramps\":{\"a\":10001}},",
        ),
        ("\"states\":{", "\"states\":{\"x\":{},"),
        (
            "\"states\":{",
            "\"states\":{\"leave never\":{\"left\":[\"a\",\"a\"]},",
        ),
        (
            "\"states\":{",
            "\"states\":{\"leave never\":{\"left\":[\"a\"],\"ramps\":{\"a\":1}},",
        ),
        ("\"near\":[]", "\"near\":[],\"draining\":[\"a\",\"a\"]"),
        ("\"time_ms\":1", "\"time_ms\":-1"),
        ("\"path\":\"/\"", "\"path\":\"x\""),
        ("\"path\":\"/\"", "\"path\":\"/x\\n\""),
        ("\"path\":\"/\"", "\"path\":\"/a/../b\""),
        ("\"host\":\"app", "\"host\":\"a\\nb"),
        ("\"cookie sid\":\"", "\"cookie sid\":\"x"),
        (
            "\"cookie sid\":\"",
            "\"cookie sid\":\"+000000000000001\",\"cookie s\":\"",
        ),
    ] {
        let line = good.replacen(part, by, 1);
        assert_ne!(line, good);
        let refused = Receipt::read(&line).unwrap_err();
        let is_named = matches!(refused, ReceiptError::Request(_) | ReceiptError::Field(_));
        assert!(is_named, "{refused}");
    }
}

#[test]
#[ignore = "takes minutes in the profile of the tests"]
fn a_million_receipts_are_decided_again_the_same_way() {
    for seed in 0..10_000 {
        is_decided_again(seed, 100);
    }
}

fn receipt_of(client: &Client) -> String {
    let plan = plan_of(4, vec![Tier::Spread(RegionMask::first(4))]);
    let facts = Facts::new(&plan, Conditions::default());
    let decision = decide(&plan, &facts, &client.request());
    let receipt = Receipt::new((1, 2), &plan, &facts, &client.request(), &decision);
    receipt.line().unwrap()
}

#[test]
fn neither_session_nor_address_nor_a_header_that_no_policy_names_is_written_down() {
    let mut client = Client::with_key(987_654_321);
    client
        .headers
        .insert("authorization", "Bearer abc".parse().unwrap());
    let line = receipt_of(&client);
    for secret in ["987654321", "203.0.113.7", "Bearer"] {
        assert!(!line.contains(secret), "{line}");
    }
}

#[test]
fn another_plan_shows_what_would_differ() {
    let (plan, client) = (tiers(), Client::with_key(1));
    let facts = Facts::new(&plan, Conditions::default());
    let request = client.request();
    let decision = decide(&plan, &facts, &request);
    let receipt = Receipt::new((0, 1), &plan, &facts, &request, &decision);
    let other = plan_of(2, vec![Tier::Named(RegionIndex(0))]);
    let replayed = receipt.replay(&other, OpenWindows::default()).unwrap();
    assert_eq!(receipt.decision.verdict(&replayed), Verdict::Differs);
    assert_eq!(replayed.region.as_deref(), Some("ap-northeast-1"));
}

#[test]
fn a_reason_that_was_put_in_afterwards_is_not_judged() {
    for reason in [RegionReason::Hop, RegionReason::NoTunnel] {
        let recorded = RecordedDecision {
            policy: "p".to_owned(),
            region: None,
            status: None,
            proposed: None,
            standbys: Vec::new(),
            reason: reason.as_str().to_owned(),
        };
        let replayed = RecordedDecision {
            reason: "nearest".to_owned(),
            ..recorded.clone()
        };
        assert_eq!(recorded.verdict(&replayed), Verdict::NotJudged);
    }
}

#[test]
fn a_bad_line_is_refused_and_so_is_a_request_that_cannot_be() {
    for line in ["", "{}", "[]", "{\"time_ms\":1", "\u{0}"] {
        assert!(
            matches!(Receipt::read(line), Err(ReceiptError::Json(_))),
            "{line}"
        );
    }
    let good = receipt_of(&Client::with_key(1));
    let plan = plan_of(4, vec![Tier::Spread(RegionMask::first(4))]);
    let spoilt = [
        ("\"GET\"", "\"G T\"", "method"),
        ("5250000", "995250000", "place"),
        ("\"path\"", "\"country\":\"D1\",\"path\"", "country"),
        (
            "\"path\"",
            "\"headers\":[[\"a b\",\"\"]],\"path\"",
            "header",
        ),
    ];
    for (part, by, field) in spoilt {
        let line = good.replacen(part, by, 1);
        assert_ne!(line, good);
        let receipt = Receipt::read(&line).unwrap();
        let refused = receipt.replay(&plan, OpenWindows::default()).unwrap_err();
        assert!(
            matches!(refused, ReceiptError::Request(it) if it == field),
            "{refused}"
        );
    }
}

#[test]
fn networks_of_clients_are_decided_again_by_the_recorded_address() {
    let mut random = Random::new(0);
    let plan = loop {
        let plan = random.plan();
        let named = plan.policies().iter().any(|policy| {
            let mut client = false;
            policy
                .matches
                .leaves(&mut |leaf| client |= matches!(leaf, Condition::Client(_)));
            client
        });
        if named {
            break plan;
        }
    };
    let facts = Facts::new(&plan, Conditions::default());
    let client = Client::with_key(1);
    let request = Request {
        client: IpAddr::V4(Ipv4Addr::new(200, 1, 2, 3)),
        ..client.request()
    };
    let decision = decide(&plan, &facts, &request);
    let receipt = Receipt::new((0, 0), &plan, &facts, &request, &decision);
    assert!(receipt.line().unwrap().contains("200.1.2.3"));
}
