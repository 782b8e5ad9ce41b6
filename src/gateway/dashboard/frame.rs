//! One state of the gateway as HTML: the part of the page that changes.

use std::fmt::Write as _;

use super::map::map;
use super::markup::{Text, percent, rate};
use super::rows;
use super::seen::Seen;
use super::verdict::{Concern, Severity, concerns};

/// Most bytes of a frame, which is sent to every viewer four times a second.
pub(super) const FRAME_BYTES_MAX: usize = 8 * 1024 - 16;
/// How many rows of a table there are at most; fewer if a frame would be too large.
const ROWS_MAX: usize = 24;
/// How many things that are wrong are listed: the worst ones.
const CONCERNS_MAX: usize = 5;

/// Writes a frame without a line break; what would be too large has fewer rows.
pub(super) fn frame(seen: &Seen) -> String {
    let concerns = concerns(seen);
    let mut most = ROWS_MAX;
    loop {
        let html = with_rows(seen, &concerns, most);
        if html.len() <= FRAME_BYTES_MAX || most == 0 {
            return html;
        }
        most /= 2;
    }
}

fn with_rows(seen: &Seen, concerns: &[Concern], most: usize) -> String {
    let severity = concerns.iter().map(|it| it.severity).max();
    let severity = severity.unwrap_or(Severity::Well);
    let own_state = match severity {
        Severity::Trouble => "unhealthy",
        Severity::Attention | Severity::Well => "well",
    };
    let mut html = String::with_capacity(FRAME_BYTES_MAX);
    let _ = write!(
        html,
        "<div id=\"live\" data-verdict=\"{}\">",
        severity.as_str()
    );
    verdict(&mut html, concerns, severity);
    html.push_str("<section class=\"where\"><h2>Regions</h2>");
    map(&mut html, seen);
    rows::regions(&mut html, seen, own_state, most);
    html.push_str("</section><section class=\"who\"><h2>Nodes</h2>");
    rows::nodes(&mut html, seen, most);
    rows::upstreams(&mut html, seen, most);
    html.push_str("</section><section class=\"what\"><h2>Traffic</h2>");
    rows::levels(&mut html, seen);
    rows::moves(&mut html, seen, most.min(6));
    html.push_str("</section>");
    facts(&mut html, seen);
    html.push_str("</div>");
    html
}

fn verdict(html: &mut String, concerns: &[Concern], severity: Severity) {
    html.push_str("<section class=\"verdict\"><h2>");
    html.push_str(match severity {
        Severity::Well => "All is well",
        Severity::Attention => "Serving, but look at this",
        Severity::Trouble => "Requests fail",
    });
    html.push_str("</h2>");
    if concerns.is_empty() {
        html.push_str("<p>Every node answers, and nothing was refused.</p>");
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
        &format!("{} refused by load shedding", rate(rates.sheds)),
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
