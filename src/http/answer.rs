//! The response headers that describe how an answer was produced.

use std::time::Duration;

use http::header::{AGE, CACHE_CONTROL, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::account::{AccountView, NodeRole, Routed, Served, Timing};
use super::header_text::HeaderText;
use tidegate_model::RegionId;
use tidegate_policy::{Decision, NO_STORE_PRIVATE};
use tidegate_traffic::decide::RegionReason;

/// Which region and node have served, at which level, and how stale the answer may be.
pub static CONSISTENCY_STATUS: HeaderName = HeaderName::from_static("consistency-status");
static X_ROUTE_PRIMARY: HeaderName = HeaderName::from_static("x-route-primary");
static CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
static SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
static VARY_BY_CONSISTENCY: HeaderValue =
    HeaderValue::from_static("X-Consistency, X-Consistency-Token");

/// Sets the headers of design section 5 on a response.
pub fn describe(
    headers: &mut HeaderMap,
    status: StatusCode,
    region: &RegionId,
    account: &AccountView<'_>,
) {
    if account.handed_on {
        add_to_consistency_status(headers, region, account);
        return add_to_server_timing(headers, account);
    }
    // One piece of memory for all values that are made for this answer.
    let mut text = HeaderText::with_capacity(256);
    write_consistency_status(&mut text, region, account);
    let consistency_status = text.end();
    let cache_status = account.cache.map(|cache| {
        cache.write(&mut text);
        text.end()
    });
    let role = account.served.map(|served| served.role);
    let server_timing = account.timing.map(|timing| {
        timing.write(&mut text, role == Some(NodeRole::Upstream));
        text.end()
    });
    let values = text.values();
    headers.insert(&CONSISTENCY_STATUS, values.at(consistency_status));
    if let Some(decision) = account.decision {
        write_cache_control(headers, status, decision, account);
    }
    if let Some(place) = cache_status {
        headers.insert(&CACHE_STATUS, values.at(place));
    }
    if role == Some(NodeRole::Primary) {
        headers.insert(&X_ROUTE_PRIMARY, HeaderValue::from_static("true"));
    }
    if let Some(place) = server_timing {
        headers.append(&SERVER_TIMING, values.at(place));
    }
}

/// Adds this gateway's list item to those of the gateway that has answered.
fn add_to_consistency_status(
    headers: &mut HeaderMap,
    region: &RegionId,
    account: &AccountView<'_>,
) {
    let Some(routed) = account.routed else { return };
    let mut text = HeaderText::with_capacity(128);
    let said = headers.get(&CONSISTENCY_STATUS);
    match said.and_then(|said| said.to_str().ok()) {
        Some(said) => text.text(said),
        None => text.text(routed.region.as_ref().map_or("unknown", RegionId::as_str)),
    };
    routed.write(&mut text, region);
    let place = text.end();
    headers.insert(&CONSISTENCY_STATUS, text.values().at(place));
}

/// Adds how long the gateway that has answered took, seen from here, to what it says of its own time.
fn add_to_server_timing(headers: &mut HeaderMap, account: &AccountView<'_>) {
    let Some(timing) = account.timing else { return };
    let mut text = HeaderText::with_capacity(32);
    text.text("hand-on;dur=")
        .thousandths(saturated(timing.hand_on.as_micros()));
    let place = text.end();
    headers.append(&SERVER_TIMING, text.values().at(place));
}

fn write_cache_control(
    headers: &mut HeaderMap,
    status: StatusCode,
    decision: &Decision,
    account: &AccountView<'_>,
) {
    if decision.own_rules {
        return;
    }
    let kept = may_be_kept(status, decision);
    let cache_control = match kept {
        true => &decision.cache_control,
        false => &NO_STORE_PRIVATE,
    };
    let says_it = !decision.no_transform
        || directives_of(cache_control).any(|it| it.eq_ignore_ascii_case("no-transform"));
    let cache_control = match says_it {
        true => cache_control.clone(),
        false => with_no_transform(cache_control),
    };
    headers.insert(CACHE_CONTROL, cache_control);
    if decision.vary {
        // In addition to the application's own `Vary`.
        headers.append(VARY, VARY_BY_CONSISTENCY.clone());
    }
    if let Some(age) = age(decision, account).filter(|_| kept) {
        headers.insert(AGE, HeaderValue::from(age));
    }
}

fn directives_of(cache_control: &HeaderValue) -> impl Iterator<Item = &str> {
    let said = cache_control.to_str().unwrap_or_default();
    said.split(',').map(str::trim)
}

/// Whether bytes may be changed on the way does not depend on who may keep them.
fn with_no_transform(cache_control: &HeaderValue) -> HeaderValue {
    let said = cache_control.to_str().unwrap_or_default();
    let both = HeaderValue::try_from(format!("{said}, no-transform"));
    both.unwrap_or_else(|_| cache_control.clone())
}

/// Whether the row's `Cache-Control` is set on an answer: shared caches may keep a 200 and a 304
/// that revalidates one, nothing else.
pub fn may_be_kept(status: StatusCode, decision: &Decision) -> bool {
    match decision.shared_cacheable {
        true => matches!(status, StatusCode::OK | StatusCode::NOT_MODIFIED),
        false => status.is_success() || status == StatusCode::NOT_MODIFIED,
    }
}

/// The possible age of the data, by which caches downstream keep it for less time. There is none
/// for an answer that no cache may keep, for one of unknown age, and for one that the primary has
/// just given.
fn age(decision: &Decision, account: &AccountView<'_>) -> Option<u64> {
    let age = account.staleness.filter(|_| decision.shared_cacheable)?;
    (!age.is_zero()).then(|| age_in_header(age))
}

/// An RFC 9651 list item in the style of RFC 9211: the region that has answered, then the known parameters.
fn write_consistency_status(text: &mut HeaderText, region: &RegionId, account: &AccountView<'_>) {
    text.text(account.fetched_from().unwrap_or(region).as_str());
    if let Some(level) = account.level() {
        text.text("; level=").text(level.as_str());
    }
    if let Some(served) = account.served {
        served.write(text, account.staleness);
    }
    if account.position_missed {
        text.text("; position=missed");
    }
    if let Some(routed) = account.routed {
        routed.write(text, region);
    }
}

/// Reads from a `Consistency-Status` what has served in another region, and how old the answer may be.
#[must_use]
pub fn served_there(headers: &HeaderMap, region: &RegionId) -> Served {
    let said = headers.get(&CONSISTENCY_STATUS);
    let said = said.and_then(|said| said.to_str().ok()).unwrap_or_default();
    let first = said.split(", ").next().unwrap_or_default();
    let parameter = |name: &str| {
        let mut all = first.split("; ").filter_map(|it| it.split_once('='));
        all.find(|(it, _)| *it == name).map(|(_, value)| value)
    };
    let role = match parameter("node") {
        Some("primary") => NodeRole::Primary,
        Some("replica") => NodeRole::Replica,
        _ => NodeRole::Upstream,
    };
    let seconds = parameter("staleness").and_then(|it| it.parse().ok());
    Served {
        node: region.as_str().into(),
        region: parameter("node-region").and_then(|it| it.parse().ok()),
        gateway: Some(region.clone()),
        role,
        upstream: None,
        reason: None,
        staleness: seconds.and_then(|it| Duration::try_from_secs_f64(it).ok()),
    }
}

impl Routed {
    /// Adds a list item if the request was meant for another region than this one.
    fn write(&self, text: &mut HeaderText, own: &RegionId) {
        let elsewhere = self.region.as_ref().filter(|region| *region != own);
        if elsewhere.is_none() && self.reason != RegionReason::NoTunnel {
            return;
        }
        text.text(", ").text(own.as_str());
        if let Some(region) = elsewhere {
            text.text("; fwd=").text(region.as_str());
        }
        // A token begins with a letter (RFC 9651 section 3.3.4).
        let is_token = self.policy.starts_with(|it: char| it.is_ascii_alphabetic());
        let quote = if is_token { "" } else { "\"" };
        text.text("; policy=")
            .text(quote)
            .text(&self.policy)
            .text(quote);
        text.text("; reason=").text(self.reason.as_str());
    }
}

impl NodeRole {
    fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Upstream => "upstream",
        }
    }
}

impl Served {
    fn write(&self, text: &mut HeaderText, staleness: Option<Duration>) {
        text.text("; node=").text(self.role.as_str());
        if let Some(region) = &self.region {
            text.text("; node-region=").text(region.as_str());
        }
        // The freshness of an application's answer cannot be known here.
        if let Some(staleness) = staleness.filter(|_| self.role != NodeRole::Upstream) {
            // Rounded up: rounding must not lower a bound.
            let millis = saturated(staleness.as_nanos().div_ceil(1_000_000));
            text.text("; staleness=").thousandths(millis);
        }
        if let Some(reason) = self.reason {
            text.text("; reason=").text(reason.as_str());
        }
    }
}

impl Timing {
    /// Writes milliseconds by stage, as `Server-Timing` defines them.
    fn write(&self, text: &mut HeaderText, with_upstream: bool) {
        let mut stage = |name, took: Duration| {
            text.text(name).thousandths(saturated(took.as_micros()));
        };
        stage("route;dur=", self.route);
        stage(", wait;dur=", self.wait);
        stage(", db;dur=", self.db);
        if with_upstream {
            stage(", upstream;dur=", self.upstream);
        }
        if !self.hand_on.is_zero() {
            stage(", hand-on;dur=", self.hand_on);
        }
    }
}

fn saturated(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Returns the value of `Age`: whole seconds, rounded up because a bound must not be understated.
#[must_use]
pub fn age_in_header(age: Duration) -> u64 {
    let begun = u64::from(age.subsec_nanos() > 0);
    age.as_secs().saturating_add(begun)
}
