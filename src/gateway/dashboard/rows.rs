//! The tables: regions, nodes, levels, decisions, upstreams and buckets.

use std::fmt::Write as _;

use super::markup::{Text, at_most, attribute, percent, rate, time};
use super::seen::{Detail, Seen};
use super::verdict::{of_node, serves};
use crate::gateway::admin::{NodeEntry, RegionEntry, UpstreamNodeEntry};
use crate::gateway::use_of::use_of;
use crate::storage::BucketSeen;

/// A dash for what needs two readings of the counters, until there are two.
fn rate_of(seen: &Seen, rps: f64) -> String {
    if seen.rates.are_known() {
        rate(rps)
    } else {
        "–".to_owned()
    }
}

/// Says how many rows were left out, and where they are.
fn more(html: &mut String, columns: usize, left: usize, place: &str) {
    if left > 0 {
        let _ = write!(html, "<tr><td colspan=\"{columns}\">{left} more in {place}");
    }
}

/// Some of what is well, and some of what is not, in the order in which they are given.
fn chosen<T>(
    all: Vec<T>,
    is_well: impl Fn(&T) -> bool,
    well: usize,
    ailing: usize,
) -> (Vec<T>, usize) {
    let (count, mut well, mut ailing) = (all.len(), well, ailing);
    let is_chosen = |it: &T| {
        let left = if is_well(it) { &mut well } else { &mut ailing };
        let is_chosen = *left > 0;
        *left = left.saturating_sub(1);
        is_chosen
    };
    let chosen: Vec<_> = all.into_iter().filter(is_chosen).collect();
    let left = count - chosen.len();
    (chosen, left)
}

/// A list of the regions; without a policy, this region alone.
pub(super) fn regions(html: &mut String, seen: &Seen, own_state: &str, detail: Detail) {
    html.push_str("<ul class=\"regions\">");
    let (regions, own) = (&seen.topology.regions, &seen.topology.region);
    if !regions.iter().any(|it| it.region == *own) {
        let _ = write!(
            html,
            "<li data-region=\"{0}\" data-state=\"{own_state}\"><b>{0}</b> \
             <span class=\"state\">{own_state}</span><small>this gateway</small>",
            Text(own)
        );
    }
    // Of what is unknown nothing is wrong either.
    let is_well = |it: &&RegionEntry| matches!(&*it.state, "well" | "unknown");
    let regions = regions.iter().collect();
    let (regions, left) = chosen(regions, is_well, detail.well, detail.regions_ailing);
    for region in regions {
        region_item(html, seen, region);
    }
    html.push_str("</ul>");
    if left > 0 {
        let _ = write!(html, "<p>{left} more in /admin/regions</p>");
    }
}

fn region_item(html: &mut String, seen: &Seen, region: &RegionEntry) {
    let seconds = |ms: Option<f64>| time(ms.map(|ms| ms / 1e3));
    let _ = write!(
        html,
        "<li data-region=\"{0}\" data-state=\"{1}\"><b>{0}</b> <span class=\"state\">{1}</span><small>",
        Text(&region.region),
        Text(&region.state)
    );
    let own = region.region == seen.topology.region;
    match region.round_trip_ms {
        _ if region.state == "unknown" => {
            html.push_str("no node of it here and no fleet: nothing is known");
        }
        _ if own => html.push_str("this gateway"),
        Some(_) => {
            let _ = write!(html, "{} away", seconds(region.round_trip_ms));
        }
        None => html.push_str("distance unknown"),
    }
    // Of the same requests as the errors beside it.
    let whose = match seen.topology.fleet {
        Some(_) => "served",
        None => "sent",
    };
    let _ = write!(html, ", {} {whose}", rate(region.rps));
    if let Some(errors) = region.errors.filter(|it| *it > 0.0) {
        let _ = write!(html, ", {} errors", percent(Some(errors)));
    }
    if region.p99_ms.is_some() {
        let _ = write!(html, ", p99 {}", seconds(region.p99_ms));
    }
    if region.lag_ms.is_some() {
        let _ = write!(html, ", lag {}", seconds(region.lag_ms));
    } else if region.is_lag_unknown() {
        html.push_str(", lag unknown");
    }
    html.push_str("</small>");
}

/// The nodes of the database in the order in which they are tried.
pub(super) fn nodes(html: &mut String, seen: &Seen, detail: Detail) {
    html.push_str(
        "<table class=\"nodes\"><caption>Database nodes, in the order in which they are tried</caption>\
         <thead><tr><th scope=\"col\">Node</th><th scope=\"col\">Condition</th><th scope=\"col\">Lag</th>\
         <th scope=\"col\">Staleness</th><th scope=\"col\">Latency</th><th scope=\"col\">In use</th>\
         <th scope=\"col\">Served</th><th scope=\"col\">Reason</th><th class=\"act\"><span>Action</span></th>\
         </tr></thead><tbody>",
    );
    let nodes = seen.topology.nodes.iter().collect();
    let is_well = |it: &&NodeEntry| of_node(it).is_none();
    let (nodes, left) = chosen(nodes, is_well, detail.well, detail.nodes_ailing);
    for node in nodes {
        node_row(html, seen, node);
    }
    more(html, 9, left, "/admin/topology");
    html.push_str("</tbody></table>");
}

/// The end tags of cells and rows may be left out; `page.js` adds the buttons.
fn node_row(html: &mut String, seen: &Seen, node: &NodeEntry) {
    let connections = node.connections;
    let region = node.region.as_deref().unwrap_or("region unknown");
    let _ = write!(
        html,
        "<tr data-node=\"{name}\" data-condition=\"{condition}\" \
         data-standing=\"{standing}\" data-lag=\"{}\" data-staleness=\"{}\" data-role=\"{role}\">\
         <th scope=\"row\">{name}<small>{role}, {}</small><td><span class=\"state\">{condition}</span>\
         <small>{standing}</small><td>{}<td>{}<td>{}<td>{}/{}<td>{}<td class=\"why\">{}<td class=\"act\">",
        attribute(node.lag_secs),
        attribute(node.staleness_secs),
        Text(region),
        time(node.lag_secs),
        node.staleness_secs
            .map_or_else(|| "unknown".to_owned(), at_most),
        time(Some(node.latency_ms / 1e3)),
        connections.open.saturating_sub(connections.idle),
        connections.open,
        rate_of(seen, seen.rates.of_node(&node.node)),
        Text(&node.why),
        name = Text(&node.node),
        role = Text(&node.role),
        condition = Text(&node.condition),
        standing = Text(&node.standing),
    );
}

/// What was served at each level, and by whom.
pub(super) fn levels(html: &mut String, seen: &Seen) {
    html.push_str(
        "<table class=\"levels\"><caption>Levels, over the last seconds</caption><thead><tr>\
         <th scope=\"col\">Level</th><th scope=\"col\">Served</th><th scope=\"col\">Local</th>\
         <th scope=\"col\">p50</th><th scope=\"col\">p99</th><th scope=\"col\">By</th></tr></thead><tbody>",
    );
    for row in &seen.rates.levels {
        let seconds = |ms: Option<f64>| time(ms.map(|ms| ms / 1e3));
        let _ = write!(
            html,
            "<tr data-level=\"{0}\"><th scope=\"row\">{0}</th><td>{1}</td><td>{2}</td><td>{3}</td>\
             <td>{4}</td><td class=\"why\">",
            row.level,
            rate(row.rps),
            percent(row.local),
            seconds(row.p50_ms),
            seconds(row.p99_ms)
        );
        let by = seen.rates.served.iter().filter(|it| it.level == row.level);
        for (index, served) in by.take(3).enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            let (node, reason) = (Text(&served.node), Text(&served.reason));
            let _ = write!(html, "{comma}{node} ({reason}) {}", rate(served.rps));
        }
        html.push_str("</td></tr>");
    }
    if seen.rates.levels.is_empty() {
        html.push_str("<tr><td colspan=\"6\">Counting; rates appear after a second.</td></tr>");
    }
    html.push_str("</tbody></table>");
}

/// Where the traffic policy has sent requests, beside where it would have sent them with every region well.
pub(super) fn moves(html: &mut String, seen: &Seen, most: usize) {
    if seen.policy.is_none() {
        return;
    }
    html.push_str(
        "<table class=\"moves\"><caption>Decisions of the traffic policy</caption><thead><tr>\
         <th scope=\"col\">Policy</th><th scope=\"col\">Proposed</th><th scope=\"col\">Chosen</th>\
         <th scope=\"col\">Reason</th><th scope=\"col\">Requests</th></tr></thead><tbody>",
    );
    for it in seen.rates.moves.iter().take(most) {
        let moved = if it.proposed == it.region {
            ""
        } else {
            " class=\"moved\""
        };
        let _ = write!(
            html,
            "<tr{moved}><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            Text(&it.policy),
            Text(&it.proposed),
            Text(&it.region),
            Text(&it.reason),
            rate(it.rps)
        );
    }
    if seen.rates.moves.is_empty() {
        html.push_str("<tr><td colspan=\"5\">No requests in the last seconds.</td></tr>");
    }
    let left = seen.rates.moves.len().saturating_sub(most);
    more(html, 5, left, "/metrics");
    html.push_str("</tbody></table>");
}

/// The buckets of object storage; those that do not work are among the last to be left out.
pub(super) fn buckets(html: &mut String, seen: &Seen, detail: Detail) {
    let buckets = &seen.topology.buckets;
    if buckets.is_empty() {
        return;
    }
    html.push_str(
        "<table class=\"buckets\"><caption>Buckets of object storage</caption><thead><tr>\
         <th scope=\"col\">Bucket</th><th scope=\"col\">Status</th><th scope=\"col\">Latency</th>\
         <th scope=\"col\">Written this month</th><th scope=\"col\">Held</th></tr></thead><tbody>",
    );
    let is_well = |it: &&BucketSeen| it.status == "ONLINE" && it.writes;
    let (well, ailing) = (detail.upstreams_well, detail.nodes_ailing);
    let (shown, left) = chosen(buckets.iter().collect(), is_well, well, ailing);
    for bucket in shown {
        let refused = if bucket.writes {
            ""
        } else {
            ", takes no writes"
        };
        // A mirror, and what it should have by now.
        let behind = bucket.mirror_backlog.filter(|blobs| *blobs > 0);
        let behind = behind.map_or(String::new(), |blobs| {
            format!(", behind by {blobs}, {}", time(bucket.mirror_late_seconds))
        });
        let _ = write!(
            html,
            "<tr data-bucket=\"{name}\" data-status=\"{status}\"><th scope=\"row\">{name}<small>{}</small>\
             <td><span class=\"state\">{status}</span>{refused}{behind}<td>{}<td>{}<td>{}",
            Text(&bucket.provider),
            time(Some(bucket.latency_ms / 1e3)),
            use_of(bucket.written_bytes, bucket.soft_limit_bytes),
            use_of(bucket.held_bytes, bucket.quota_bytes),
            name = Text(&bucket.bucket),
            status = Text(&bucket.status),
        );
    }
    more(html, 5, left, "/admin/topology");
    html.push_str("</tbody></table>");
}

/// The nodes of every upstream.
pub(super) fn upstreams(html: &mut String, seen: &Seen, detail: Detail) {
    let upstreams = &seen.topology.upstreams;
    if upstreams.is_empty() {
        return;
    }
    html.push_str(
        "<table class=\"upstreams\"><caption>Upstream nodes, in the order in which they are tried</caption>\
         <thead><tr><th scope=\"col\">Node</th><th scope=\"col\">Standing</th><th scope=\"col\">Latency</th>\
         <th scope=\"col\">Under way</th><th scope=\"col\">Reason</th>\
         <th class=\"act\"><span>Action</span></th></tr></thead><tbody>",
    );
    let nodes = upstreams.iter().flat_map(|upstream| {
        let name = &*upstream.upstream;
        upstream.nodes.iter().map(move |node| (name, node))
    });
    let is_well = |it: &(&str, &UpstreamNodeEntry)| serves(it.1);
    let (well, ailing) = (detail.upstreams_well, detail.nodes_ailing);
    let (nodes, left) = chosen(nodes.collect(), is_well, well, ailing);
    for (upstream, node) in nodes {
        upstream_row(html, upstream, node);
    }
    more(html, 6, left, "/admin/topology");
    html.push_str("</tbody></table>");
}

/// It has no condition, lag or staleness, which are those of databases.
fn upstream_row(html: &mut String, upstream: &str, node: &UpstreamNodeEntry) {
    let _ = write!(
        html,
        "<tr data-node=\"{name}\" data-upstream=\"{upstream}\" data-role=\"upstream\" data-condition=\"\" \
         data-standing=\"{standing}\" data-lag=\"\" data-staleness=\"\"><th scope=\"row\">{name}\
         <small>{upstream}</small><td><span class=\"state\">{standing}</span><td>{}<td>{}\
         <td class=\"why\">{}<td class=\"act\">",
        time(Some(node.latency_ms / 1e3)),
        node.under_way,
        Text(&node.why),
        name = Text(&node.node),
        upstream = Text(upstream),
        standing = Text(&node.standing),
    );
}
