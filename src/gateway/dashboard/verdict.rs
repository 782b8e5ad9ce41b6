//! Whether anything is wrong, what, and what to do: pure, from what the page shows.

use super::markup::{rate, time};
use super::seen::Seen;
use crate::gateway::admin::{NodeEntry, RegionEntry, Topology, UpstreamNodeEntry};
use crate::storage::BucketSeen;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// Nothing to do.
    Well,
    /// Requests are served, with less to spare or staler than usual.
    Attention,
    /// Requests fail.
    Trouble,
}

impl Severity {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Attention => "attention",
            Self::Trouble => "trouble",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug)]
pub(super) struct Concern {
    pub(super) severity: Severity,
    /// What it is, and what follows from it for requests.
    pub(super) what: String,
    /// What to do.
    pub(super) advice: &'static str,
}

impl Concern {
    fn new(severity: Severity, what: String, advice: &'static str) -> Self {
        Self {
            severity,
            what,
            advice,
        }
    }
}

/// All that is wrong, worst first.
pub(super) fn concerns(seen: &Seen) -> Vec<Concern> {
    let topology = &seen.topology;
    let mut concerns: Vec<_> = no_primary(&topology.nodes).into_iter().collect();
    concerns.extend(topology.nodes.iter().filter_map(of_node));
    let regions = topology.regions.iter();
    concerns.extend(regions.filter_map(|it| of_region(it, topology)));
    for upstream in &topology.upstreams {
        let usable = upstream.nodes.iter().filter(|it| serves(it)).count();
        let all = upstream.nodes.len();
        let name = &upstream.upstream;
        let advice =
            "Look at the application's own log; its nodes are checked again by themselves.";
        if usable == 0 && all > 0 {
            let what = format!("No node of the upstream {name} works: its requests fail.");
            concerns.push(Concern::new(Severity::Trouble, what, advice));
        } else if usable < all {
            let what = format!("{usable} of {all} nodes of the upstream {name} serve.");
            concerns.push(Concern::new(Severity::Attention, what, advice));
        }
    }
    concerns.extend(topology.buckets.iter().filter_map(of_bucket));
    concerns.extend(of_rates(seen));
    if topology.fleet.as_ref().is_some_and(|fleet| fleet.suspect) {
        let what = "This gateway has lost more than half of the other regions and suspects itself.";
        let advice = "Check the network of this region: the other gateways are likely to be well.";
        concerns.push(Concern::new(Severity::Attention, what.to_owned(), advice));
    }
    // Stable: of equally bad ones, the order above.
    concerns.sort_by_key(|it| std::cmp::Reverse(it.severity));
    concerns
}

fn of_bucket(bucket: &BucketSeen) -> Option<Concern> {
    let name = &bucket.bucket;
    let (what, advice) = match (&*bucket.status, bucket.writes) {
        ("OFFLINE", _) => (
            format!(
                "The bucket {name} does not answer: other buckets serve its requests as far as they can."
            ),
            "See the provider's status page, and check it with `tidegate storage bucket check`.",
        ),
        ("DISCONNECTED", _) => (
            format!("The bucket {name} fails too often, or is slower than a repository wants."),
            "See the log for what it answers.",
        ),
        (_, false) => (
            format!(
                "The bucket {name} has named a quota: writes go elsewhere until the next month."
            ),
            "Raise the quota at the provider, then `tidegate storage bucket enable`.",
        ),
        _ => return None,
    };
    Some(Concern::new(Severity::Attention, what, advice))
}

fn no_primary(nodes: &[NodeEntry]) -> Option<Concern> {
    let serves = |it: &NodeEntry| it.role == "primary" && it.condition == "fresh";
    if nodes.iter().any(serves) {
        return None;
    }
    let what = "No primary takes writes: writes and strong reads fail; other reads go on.";
    let advice = "Start the primary, or promote a replica: the gateway follows by itself.";
    Some(Concern::new(Severity::Trouble, what.to_owned(), advice))
}

/// Whether a node of an upstream gets requests.
pub(super) fn serves(node: &UpstreamNodeEntry) -> bool {
    is_asked(&node.standing)
}

/// Whether a node with a standing gets requests.
fn is_asked(standing: &str) -> bool {
    !matches!(standing, "failed" | "probe-due" | "drained")
}

/// What is wrong with a node of the database.
pub(super) fn of_node(node: &NodeEntry) -> Option<Concern> {
    let (name, behind) = (&node.node, time(node.lag_secs));
    let (what, advice) = match &*node.condition {
        "unreachable" => (
            format!("{name} does not answer its monitor: it is not asked."),
            "See whether the server runs and the network to it works.",
        ),
        "lagging" => (
            format!("{name} is {behind} behind: fresher nodes are asked before it."),
            "See whether its replay is paused, and how much the primary writes.",
        ),
        "disconnected" => (
            format!("{name} receives nothing from the primary: its data gets older."),
            "See its log for why its WAL receiver does not run.",
        ),
        "diverged" => (
            format!("{name} has another history than the primary: it is not asked."),
            "Rebuild it from the primary (pg_rewind or a new base backup).",
        ),
        "promoted" => (
            format!("{name} takes writes although it is not the primary: it is not asked."),
            "Fence it now, so that no client writes to it.",
        ),
        "unknown" => (
            format!("Too little is known about {name}: it is not asked yet."),
            "Wait for its first sample; if it stays so, see this gateway's log.",
        ),
        _ if node.standing == "drained" => (
            if node.role == "primary" {
                format!("{name} is drained: it serves only what no other node can answer.")
            } else {
                format!("{name} is drained: it serves nothing.")
            },
            "Undrain it when the maintenance is over.",
        ),
        _ if matches!(&*node.standing, "failed" | "probe-due") => (
            format!("{name} answers its monitor but has failed requests: it is not asked now."),
            "See this gateway's log for why; it is tried again by itself.",
        ),
        _ => return None,
    };
    Some(Concern::new(Severity::Attention, what, advice))
}

/// Whether a region can take requests of another one. Policies also take one for well of whose nodes nothing is known
/// since they failed.
fn takes(region: &RegionEntry, topology: &Topology) -> bool {
    let is_there = |node: &Option<String>| node.as_deref() == Some(&*region.region);
    let answers = || {
        let of_database = topology.nodes.iter();
        let mut of_database = of_database.map(|it| (&it.region, &it.standing));
        let of_upstreams = topology.upstreams.iter().flat_map(|it| &it.nodes);
        let mut of_upstreams = of_upstreams.map(|it| (&it.region, &it.standing));
        let answers =
            |(at, standing): (&Option<String>, &String)| is_there(at) && is_asked(standing);
        of_database.any(answers) || of_upstreams.any(answers)
    };
    matches!(&*region.state, "well" | "ramping") && (topology.fleet.is_some() || answers())
}

/// What is wrong with a region. Its requests go elsewhere only if another one can take them.
fn of_region(region: &RegionEntry, topology: &Topology) -> Option<Concern> {
    let name = &region.region;
    let mut others = topology.regions.iter().filter(|it| it.region != *name);
    let follows = if others.any(|it| takes(it, topology)) {
        ": requests for it go elsewhere."
    } else {
        ", and no other region can take its requests."
    };
    let (what, advice) = match &*region.state {
        // Policies take an unknown one for well, and the page says of it what it is.
        "well" | "unknown" => return None,
        "ramping" => (
            format!("The region {name} returns: its clients come back step by step."),
            "Nothing, unless it leaves again.",
        ),
        "draining" => (
            format!("The region {name} is draining{follows}"),
            "Undrain it when the maintenance is over.",
        ),
        "left" => (
            format!("The region {name} has left by the traffic policy{follows}"),
            "Look at that region's errors, p99, lag and saturation below.",
        ),
        _ if *name == topology.region => (
            format!("No node of this region, {name}, works{follows}"),
            "See below what is wrong with its nodes, and whether they are drained.",
        ),
        _ => (
            format!("The region {name} cannot be reached from here{follows}"),
            "See whether its gateways run and the network between the regions works.",
        ),
    };
    Some(Concern::new(Severity::Attention, what, advice))
}

fn of_rates(seen: &Seen) -> Vec<Concern> {
    let (rates, spill) = (&seen.rates, seen.topology.spill);
    let trouble = |what, advice| Concern::new(Severity::Trouble, what, advice);
    let mut concerns = Vec::new();
    if rates.errors > 0.0 {
        let what = format!("Requests fail with 5xx: {}.", rate(rates.errors));
        let advice = "Search this gateway's log for \"a request failed\"; each has its request id.";
        concerns.push(trouble(what, advice));
    }
    if rates.sheds > 0.0 {
        let what = format!(
            "Requests are refused to protect the nodes: {}.",
            rate(rates.sheds)
        );
        let advice = "See which nodes' connections are all in use; add replicas or connections.";
        concerns.push(trouble(what, advice));
    }
    if spill.active >= spill.concurrency_max.max(1) {
        let what = format!(
            "The spill budget is used up: {} of {} reads run on the primary.",
            spill.active, spill.concurrency_max
        );
        let advice = "Bring the replicas back: further reads that need the primary are refused.";
        concerns.push(Concern::new(Severity::Attention, what, advice));
    }
    concerns
}
