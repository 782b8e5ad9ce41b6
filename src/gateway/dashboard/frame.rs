//! One state of the gateway as HTML: the part of the page that changes.

use std::fmt::Write as _;

use super::map::map;
use super::markup::{Text, percent, rate};
use super::rows;
use super::seen::{Detail, Seen};
use super::verdict::{Concern, Severity, concerns};

/// Most bytes of a frame, which is sent to every viewer four times a second.
pub(super) const FRAME_BYTES_MAX: usize = 8 * 1024 - 16;
/// Most bytes of the state in the document: all that a page loads is at most 300 KiB.
pub(super) const WHOLE_BYTES_MAX: usize = 256 * 1024;
/// How many things that are wrong are listed: the worst ones.
const CONCERNS_MAX: usize = 5;

const ALL: Detail = Detail {
    ways: true,
    map: true,
    moves: usize::MAX,
    upstreams_well: usize::MAX,
    well: usize::MAX,
    regions_ailing: usize::MAX,
    nodes_ailing: usize::MAX,
};

/// With less and less detail, the least important first: what is not well goes last.
fn less(step: usize) -> Option<Detail> {
    let after = |limits: [usize; 5], from: usize| match step {
        it if it < from => usize::MAX,
        it => limits.get(it - from).copied().unwrap_or(0),
    };
    (step < 16).then(|| Detail {
        ways: step < 1,
        moves: if step < 2 { 6 } else { 0 },
        upstreams_well: if step < 3 { usize::MAX } else { 0 },
        map: step < 4,
        well: after([24, 12, 6, 3, 0], 5),
        regions_ailing: after([16, 8, 4, 0, 0], 10),
        nodes_ailing: after([24, 12, 6, 3, 0], 11),
    })
}

/// All of it, then some rows of each table, then what a frame has.
fn less_of_all(step: usize) -> Option<Detail> {
    let some = |most| Detail {
        moves: most,
        upstreams_well: most,
        well: most,
        nodes_ailing: most,
        ..ALL
    };
    match step {
        0 => Some(ALL),
        1 => Some(some(96)),
        2 => Some(some(24)),
        _ => less(step),
    }
}

/// Writes the whole state, or as much of it as a document may have.
pub(super) fn whole(seen: &Seen) -> String {
    fitting(seen, less_of_all, WHOLE_BYTES_MAX)
}

/// Writes a frame without a line break, with as much detail as fits.
pub(super) fn frame(seen: &Seen) -> String {
    fitting(seen, less, FRAME_BYTES_MAX)
}

/// Writes with the first of the details that fits.
fn fitting(seen: &Seen, details: fn(usize) -> Option<Detail>, bytes_max: usize) -> String {
    let concerns = concerns(seen);
    let mut html = String::new();
    for detail in (0..).map_while(details) {
        html = written(seen, &concerns, detail);
        if html.len() <= bytes_max {
            break;
        }
    }
    html
}

fn written(seen: &Seen, concerns: &[Concern], detail: Detail) -> String {
    let severity = concerns.iter().map(|it| it.severity).max();
    let severity = severity.unwrap_or(Severity::Well);
    let own_state = match severity {
        Severity::Trouble => "unhealthy",
        Severity::Attention | Severity::Well => "well",
    };
    let mut html = String::with_capacity(FRAME_BYTES_MAX);
    // A node that is not in it is then not gone.
    let cut = match detail.upstreams_well {
        usize::MAX => "",
        _ => " data-cut",
    };
    let severity_name = severity.as_str();
    let _ = write!(
        html,
        "<div id=\"live\" data-verdict=\"{severity_name}\"{cut}>"
    );
    verdict(&mut html, seen, concerns, severity);
    html.push_str("<section class=\"where\"><h2>Regions</h2>");
    if detail.map {
        map(&mut html, seen, detail.ways);
    }
    rows::regions(&mut html, seen, own_state, detail);
    html.push_str("</section><section class=\"who\"><h2>Nodes</h2>");
    rows::nodes(&mut html, seen, detail);
    rows::upstreams(&mut html, seen, detail);
    rows::buckets(&mut html, seen, detail);
    html.push_str("</section><section class=\"what\"><h2>Traffic</h2>");
    rows::levels(&mut html, seen);
    if detail.moves > 0 {
        rows::moves(&mut html, seen, detail.moves);
    }
    html.push_str("</section>");
    facts(&mut html, seen);
    html.push_str("</div>");
    html
}

fn verdict(html: &mut String, seen: &Seen, concerns: &[Concern], severity: Severity) {
    html.push_str("<section class=\"verdict\"><h2>");
    html.push_str(match severity {
        Severity::Well => "All is well",
        Severity::Attention => "Serving, but look at this",
        Severity::Trouble => "Requests fail",
    });
    html.push_str("</h2>");
    if concerns.is_empty() {
        all_well(html, seen);
    } else {
        html.push_str("<ul>");
        for concern in concerns.iter().take(CONCERNS_MAX) {
            let (severity, what) = (concern.severity.as_str(), Text(&concern.what));
            let _ = write!(
                html,
                "<li class=\"{severity}\">{what} <em>{}</em></li>",
                concern.advice
            );
        }
        if concerns.len() > CONCERNS_MAX {
            let _ = write!(html, "<li>and {} more</li>", concerns.len() - CONCERNS_MAX);
        }
        html.push_str("</ul>");
    }
    html.push_str("</section>");
}

/// What was looked at to find nothing wrong, and what belongs to it: a rate limit that refuses does its work.
fn all_well(html: &mut String, seen: &Seen) {
    html.push_str(match (seen.rates.are_known(), seen.rates.limited > 0.0) {
        (false, _) => "<p>Every node answers; requests are being counted.",
        (true, false) => "<p>Every node answers, no request fails, and none is refused by a limit.",
        (true, true) => "<p>Every node answers, and no request fails.",
    });
    if seen.rates.limited > 0.0 {
        let limited = rate(seen.rates.limited);
        let _ = write!(
            html,
            " Rate limits refuse {limited} with 429: clients above theirs."
        );
    }
    let regions = seen.topology.regions.iter();
    let unknown = regions.filter(|it| it.state == "unknown").count();
    if unknown > 0 {
        let regions = if unknown == 1 { "region" } else { "regions" };
        let _ = write!(html, " Nothing is known of {unknown} {regions}.");
    }
    html.push_str("</p>");
}

/// Numbers about the whole gateway.
fn facts(html: &mut String, seen: &Seen) {
    let (rates, spill) = (&seen.rates, seen.topology.spill);
    html.push_str("<section class=\"facts\"><h2>In numbers</h2><dl>");
    let mut fact = |name: &str, value: &str, more: &str| {
        let _ = write!(
            html,
            "<div><dt>{name}</dt><dd>{value}<small>{more}</small></dd></div>"
        );
    };
    if seen.has_cache {
        let share = (rates.cacheable > 0.0).then(|| rates.cached / rates.cacheable);
        fact(
            "Cache",
            &percent(share),
            &format!("from memory, of {}", rate(rates.cacheable)),
        );
    }
    let spilled = format!(
        "of {} reads at a time on the primary, {}",
        spill.concurrency_max,
        rate(rates.spilled)
    );
    fact("Spill", &spill.active.to_string(), &spilled);
    fact(
        "Hedges",
        &rate(rates.hedges),
        &format!("{} won", rate(rates.hedges_won)),
    );
    fact(
        "Retries",
        &rate(rates.retries),
        &format!(
            "{} refused by load shedding, {} by rate limits",
            rate(rates.sheds),
            rate(rates.limited)
        ),
    );
    if let Some(policy) = &seen.policy {
        let revision = match policy.revision {
            0 => "file".to_owned(),
            revision => format!("revision {revision}"),
        };
        let rollout = match (&policy.stage, policy.candidate) {
            (Some(stage), Some(candidate)) => {
                let share = percent(Some(policy.share));
                format!(
                    "rollout of revision {candidate}: {}, {share} here",
                    Text(stage)
                )
            }
            _ => "no rollout is open".to_owned(),
        };
        fact("Traffic policy", &revision, &rollout);
    }
    if let Some(fallbacks) = rates.storage_fallbacks {
        fact(
            "Object storage",
            &rate(fallbacks),
            "went on with another bucket",
        );
    }
    html.push_str("</dl>");
    if seen.has_cache {
        html.push_str(
            "<button type=\"button\" data-post=\"/admin/cache/purge?prefix=/\" data-name=\"cache\">Purge cache</button>",
        );
    }
    html.push_str("</section>");
}

#[cfg(test)]
mod tests;
