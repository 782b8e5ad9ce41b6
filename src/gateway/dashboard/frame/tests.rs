use std::sync::Arc;

use super::super::rates::Rates;
use super::*;
use crate::gateway::admin::{
    ConnectionsEntry, NodeEntry, RegionEntry, SpillEntry, Topology, UpstreamEntry,
    UpstreamNodeEntry,
};
use crate::gateway::levels::LevelRow;
use crate::peers::FleetView;
use crate::storage::BucketSeen;

fn application(index: usize) -> UpstreamNodeEntry {
    UpstreamNodeEntry {
        node: format!("10.0.0.{index}:8080"),
        region: None,
        url: String::new(),
        standing: if index == 5 { "failed" } else { "trusted" }.to_owned(),
        breaker: "closed".to_owned(),
        why: "nothing speaks against it; placed by latency".to_owned(),
        latency_ms: 2.0,
        under_way: 1,
    }
}

/// Regions with a node each, and ten at least; one in eight nodes and regions is down.
fn seen(count: usize) -> Seen {
    let is_down = |index: usize| index % 8 == 7;
    let region = |index| RegionEntry {
        region: format!("ap-southeast-{index}"),
        state: if is_down(index) {
            "unreachable"
        } else {
            "well"
        }
        .to_owned(),
        since_s: 1.0,
        nodes: 1,
        round_trip_ms: Some(81.0),
        rps: 0.0,
        errors: Some(0.1),
        p99_ms: Some(35.0),
        lag_ms: Some(12.0),
        lag: "known".to_owned(),
        capacity_rps: None,
        saturation: None,
        gateways: None,
        tunnels: None,
        drained_for_s: None,
        revision: None,
    };
    let node = |index| NodeEntry {
        node: format!("ap-southeast-{index}"),
        region: Some(format!("ap-southeast-{index}")),
        role: if index == 0 { "primary" } else { "replica" }.to_owned(),
        standing: "trusted".to_owned(),
        breaker: "closed".to_owned(),
        why: "it answers; placed by latency".to_owned(),
        latency_ms: 12.0,
        condition: if is_down(index) {
            "unreachable"
        } else {
            "fresh"
        }
        .to_owned(),
        lag_secs: Some(0.012),
        staleness_secs: Some(0.05),
        connections: ConnectionsEntry {
            open: 8,
            idle: 2,
            waiting: 0,
        },
    };
    Seen {
        topology: Topology {
            region: "ap-southeast-1".to_owned(),
            nodes: (0..count.max(10)).map(node).collect(),
            spill: SpillEntry {
                active: 0,
                concurrency_max: 8,
            },
            upstreams: vec![UpstreamEntry {
                upstream: "app".to_owned(),
                nodes: (0..6).map(application).collect(),
            }],
            regions: (0..count).map(region).collect(),
            buckets: Vec::new(),
            fleet: None,
        },
        rates: Arc::new(Rates::default()),
        policy: None,
        has_cache: true,
    }
}

#[test]
fn a_frame_of_any_usual_size_fits_and_has_every_node_that_is_not_well() {
    for count in [3, 12, 64] {
        let seen = seen(count);
        let html = frame(&seen);
        assert!(html.len() <= FRAME_BYTES_MAX, "{count}: {}", html.len());
        for index in (0..count.max(10)).filter(|index| index % 8 == 7) {
            let row = format!("<tr data-node=\"ap-southeast-{index}\"");
            assert!(html.contains(&row), "{count}: {row} in {html}");
        }
        for index in (0..count).filter(|index| index % 8 == 7) {
            let item = format!("<li data-region=\"ap-southeast-{index}\"");
            assert!(html.contains(&item), "{count}: {item} in {html}");
        }
        assert!(html.contains("<tr data-node=\"10.0.0.5:8080\""), "{html}");
    }
}

#[test]
fn ten_nodes_are_all_in_a_frame_and_the_document_has_every_row() {
    let rows = |html: &str| html.matches("data-condition=\"fresh\"").count();
    assert_eq!(rows(&frame(&seen(3))), 9);
    assert_eq!(rows(&whole(&seen(64))), 56);
    assert!(frame(&seen(64)).contains("data-cut") && !whole(&seen(64)).contains("data-cut"));
}

#[test]
fn a_frame_fits_even_if_nothing_is_well() {
    let mut seen = seen(64);
    for node in &mut seen.topology.nodes {
        node.condition = "unreachable".to_owned();
    }
    for region in &mut seen.topology.regions {
        region.state = "unreachable".to_owned();
    }
    let html = frame(&seen);
    assert!(html.len() <= FRAME_BYTES_MAX, "{}", html.len());
    assert!(html.matches("<tr data-node=\"ap-").count() >= 6, "{html}");
}

#[test]
fn a_bucket_shows_its_state_and_how_much_of_its_limits_is_used_and_a_bad_one_is_never_left_out() {
    let bucket = |index: usize| BucketSeen {
        bucket: format!("logs-{index}"),
        provider: "aws".to_owned(),
        status: if index == 7 { "OFFLINE" } else { "ONLINE" }.to_owned(),
        latency_ms: 12.0,
        writes: index != 8,
        written_bytes: 512 << 20,
        soft_limit_bytes: Some(1 << 30),
        held_bytes: 3 << 30,
        quota_bytes: None,
        mirror_backlog: (index == 9).then_some(120),
        mirror_late_seconds: (index == 9).then_some(7.0),
    };
    let mut seen = seen(64);
    seen.topology.buckets = (0..64).map(bucket).collect();
    let html = whole(&seen);
    assert!(
        html.contains("512.0 MiB of 1.0 GiB, 50 %<td>3.0 GiB"),
        "{html}"
    );
    assert!(html.contains("ONLINE</span>, behind by 120, 7"), "{html}");
    assert_eq!(html.matches(", behind by").count(), 1);
    assert_eq!(html.matches("data-bucket=").count(), 64);
    for said in [
        "The bucket logs-7 does not answer",
        "The bucket logs-8 has named a quota",
    ] {
        assert!(
            concerns(&seen).iter().any(|it| it.what.contains(said)),
            "{said}"
        );
    }
    let html = frame(&seen);
    assert!(html.len() <= FRAME_BYTES_MAX);
    for index in [7, 8] {
        let row = format!("<tr data-bucket=\"logs-{index}\"");
        assert!(html.contains(&row), "{row}");
    }
}

#[test]
fn a_document_of_many_long_names_fits_and_says_what_it_leaves_out() {
    let node = |index| UpstreamNodeEntry {
        // As long as a text can be, and longer still once it is escaped.
        node: "'".repeat(300),
        standing: "failed".to_owned(),
        ..application(index)
    };
    let upstream = |index: usize| UpstreamEntry {
        upstream: format!("app-{index}"),
        nodes: (0..32).map(node).collect(),
    };
    let mut seen = seen(64);
    seen.topology.upstreams = (0..12).map(upstream).collect();
    let html = whole(&seen);
    assert!(html.len() <= WHOLE_BYTES_MAX, "{}", html.len());
    assert!(html.matches("data-upstream=").count() >= 24);
    assert!(html.contains("data-cut") && html.contains(" more in /admin/topology"));
    let html = frame(&seen);
    assert!(html.len() <= FRAME_BYTES_MAX, "{}", html.len());
}

/// Nothing is wrong.
fn well() -> Seen {
    let mut seen = seen(3);
    seen.topology.nodes.truncate(3);
    seen.topology.upstreams.clear();
    assert!(concerns(&seen).is_empty());
    seen
}

fn rates(limited: f64) -> Arc<Rates> {
    let level = LevelRow {
        level: "eventual",
        rps: 100.0,
        local: Some(1.0),
        p50_ms: Some(1.0),
        p99_ms: Some(2.0),
    };
    Arc::new(Rates {
        levels: vec![level],
        limited,
        ..Rates::default()
    })
}

#[test]
fn the_first_sentence_is_true_while_a_rate_limit_refuses_and_before_anything_is_counted() {
    let mut seen = well();
    assert!(frame(&seen).contains("<p>Every node answers; requests are being counted.</p>"));
    seen.rates = rates(0.0);
    let none = "<p>Every node answers, no request fails, and none is refused by a limit.</p>";
    assert!(frame(&seen).contains(none));
    seen.rates = rates(3.2);
    let html = frame(&seen);
    assert!(html.contains("All is well") && !html.contains("none is refused"));
    assert!(html.contains("Rate limits refuse 3.2/s with 429"), "{html}");
}

#[test]
fn a_region_of_which_nothing_is_known_is_not_shown_as_well_and_has_no_lag() {
    let mut seen = well();
    seen.rates = rates(0.0);
    let region = &mut seen.topology.regions[2];
    "unknown".clone_into(&mut region.state);
    (region.nodes, region.lag_ms) = (0, None);
    "none".clone_into(&mut region.lag);
    let ailing = &mut seen.topology.regions[1];
    ailing.lag_ms = None;
    "unknown".clone_into(&mut ailing.lag);
    let html = frame(&seen);
    assert_eq!(html.matches("lag unknown").count(), 1, "{html}");
    let item = html
        .split("<li data-region=")
        .find(|it| it.starts_with("\"ap-southeast-2"));
    let item = item.and_then(|it| it.split("</small>").next()).unwrap();
    assert!(item.contains("data-state=\"unknown\""), "{item}");
    assert!(
        item.contains("nothing is known") && !item.contains("lag"),
        "{item}"
    );
    assert!(html.contains("Nothing is known of 1 region."), "{html}");
}

#[test]
fn a_regions_errors_stand_beside_the_requests_that_they_are_of() {
    let mut seen = well();
    // Decisions are counted apart: there are none for a region that is tried only where another one fails.
    seen.topology.regions[1].rps = 1.0;
    let html = frame(&seen);
    assert!(html.contains(", 1.0/s sent, 10 % errors"), "{html}");
    seen.topology.fleet = Some(FleetView::default());
    let html = frame(&seen);
    assert!(html.contains(", 1.0/s served, 10 % errors"), "{html}");
}

/// What is said of the regions of a policy, whose states are given; this one is the second.
fn said_of_regions(states: [&str; 3]) -> Vec<String> {
    let mut seen = well();
    for (region, state) in seen.topology.regions.iter_mut().zip(states) {
        state.clone_into(&mut region.state);
    }
    concerns(&seen).into_iter().map(|it| it.what).collect()
}

#[test]
fn requests_go_elsewhere_only_if_another_region_can_take_them() {
    assert_eq!(
        said_of_regions(["unknown", "unreachable", "draining"]),
        [
            "No node of this region, ap-southeast-1, works, and no other region can take its requests.",
            "The region ap-southeast-2 is draining, and no other region can take its requests.",
        ]
    );
    assert_eq!(
        said_of_regions(["well", "unreachable", "unreachable"]),
        [
            "No node of this region, ap-southeast-1, works: requests for it go elsewhere.",
            "The region ap-southeast-2 cannot be reached from here: requests for it go elsewhere.",
        ]
    );
}

#[test]
fn requests_go_elsewhere_only_if_a_node_there_is_known_to_answer() {
    let mut seen = well();
    "unreachable".clone_into(&mut seen.topology.regions[1].state);
    "draining".clone_into(&mut seen.topology.regions[2].state);
    // Policies take the first one for well until its node is probed.
    "probe-due".clone_into(&mut seen.topology.nodes[0].standing);
    let said = |seen: &Seen| {
        let concerns = concerns(seen).into_iter();
        let mut said = concerns.map(|it| it.what);
        said.find(|it| it.starts_with("No node of this region"))
    };
    let none =
        "No node of this region, ap-southeast-1, works, and no other region can take its requests.";
    assert_eq!(said(&seen).as_deref(), Some(none));
    seen.topology.fleet = Some(FleetView::default());
    let elsewhere = "No node of this region, ap-southeast-1, works: requests for it go elsewhere.";
    assert_eq!(said(&seen).as_deref(), Some(elsewhere));
}
