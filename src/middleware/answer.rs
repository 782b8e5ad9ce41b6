//! The response headers that say how an answer came about.

use std::fmt::Write;
use std::time::Duration;

use http::header::{AGE, CACHE_CONTROL, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::cache_note::CacheNote;
use crate::cache::{CacheResult, age_in_header};
use crate::consistency::Level;
use crate::policy::{Decision, NO_STORE_PRIVATE};
use crate::region::{NodeId, RegionId};
use crate::routing::Reason;
use crate::target::upstream::Turn;

static CONSISTENCY_STATUS: HeaderName = HeaderName::from_static("consistency-status");
static X_ROUTE_PRIMARY: HeaderName = HeaderName::from_static("x-route-primary");
static CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
static SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
static VARY_BY_CONSISTENCY: HeaderValue =
    HeaderValue::from_static("X-Consistency, X-Consistency-Token");

/// What is known of one request when its response leaves; kept in the response's extensions.
#[derive(Debug, Clone, Default)]
pub(super) struct Account {
    /// The decision, if the request could be understood.
    pub(super) decision: Option<Decision>,
    /// Which node served, if one did.
    pub(super) served: Option<Served>,
    /// What the response cache did, if it was concerned.
    pub(super) cache: Option<CacheNote>,
    /// Which node of an upstream served, if one did.
    pub(super) upstream: Option<ServedUpstream>,
    /// The trace that was started for it.
    pub(super) trace: Option<String>,
    /// Where the time went.
    pub(super) timing: Timing,
}

impl Account {
    /// Whether a node was asked for this very request.
    pub(super) fn asked_a_node(&self) -> bool {
        let result = self.cache.as_ref().map(|cache| cache.result);
        matches!(result, None | Some(CacheResult::Miss | CacheResult::Bypass))
    }

    /// The effective level.
    pub(super) fn level(&self) -> Option<Level> {
        let decision = self.decision.as_ref();
        decision.map(|decision| decision.consistency.level)
    }
}

/// How a node served.
#[derive(Debug, Clone)]
pub(super) struct Served {
    pub(super) node: NodeId,
    pub(super) node_region: Option<RegionId>,
    /// Whether it served as the one that takes the writes, whatever its name is.
    pub(super) is_primary: bool,
    pub(super) reason: Reason,
    /// Proven upper bound of the answer's age; `None` when nothing is proven.
    pub(super) staleness: Option<Duration>,
}

/// How a node of an upstream served.
#[derive(Debug, Clone)]
pub(super) struct ServedUpstream {
    pub(super) upstream: String,
    pub(super) node: String,
    pub(super) region: Option<RegionId>,
    pub(super) turn: Turn,
}

/// Where the time of one request went.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Timing {
    /// Deciding, authenticating and planning.
    pub(super) route: Duration,
    /// Waiting for a token's position and for a connection.
    pub(super) wait: Duration,
    /// The database.
    pub(super) db: Duration,
    /// The application behind the path, to the head of its answer.
    pub(super) upstream: Duration,
}

impl Timing {
    /// Adds what a fetch for this request took.
    pub(super) fn add(&mut self, fetch: &Self) {
        self.route += fetch.route;
        self.wait += fetch.wait;
        self.db += fetch.db;
    }
}

/// Sets the headers of design section 5 on a response.
pub(super) fn describe(
    headers: &mut HeaderMap,
    status: StatusCode,
    region: &RegionId,
    account: Option<&Account>,
) {
    headers.insert(&CONSISTENCY_STATUS, consistency_status(region, account));
    let Some(account) = account else { return };
    if let Some(decision) = &account.decision {
        let kept = may_be_kept(status, decision);
        let cache = match kept {
            true => &decision.cache_control,
            false => &NO_STORE_PRIVATE,
        };
        headers.insert(CACHE_CONTROL, cache.clone());
        if decision.vary {
            // Beside what an application says of its own answer.
            headers.append(VARY, VARY_BY_CONSISTENCY.clone());
        }
        if let Some(age) = age(decision, account.served.as_ref()).filter(|_| kept) {
            headers.insert(AGE, age);
        }
    }
    if let Some(cache) = &account.cache {
        headers.insert(&CACHE_STATUS, cache.status.clone());
    }
    let served = account.served.as_ref();
    if served.is_some_and(|served| served.is_primary) {
        headers.insert(&X_ROUTE_PRIMARY, HeaderValue::from_static("true"));
    }
    headers.append(&SERVER_TIMING, server_timing(account));
}

/// Whether the row's `Cache-Control` goes with an answer: shared caches may keep a 200 and what
/// revalidates one, nothing else.
fn may_be_kept(status: StatusCode, decision: &Decision) -> bool {
    match decision.shared_cacheable {
        true => matches!(status, StatusCode::OK | StatusCode::NOT_MODIFIED),
        false => status.is_success() || status == StatusCode::NOT_MODIFIED,
    }
}

/// How old the data can be, so that caches downstream keep it for so much less. An answer that no
/// cache may keep has none, nor has one of unknown age or of the primary's this very moment.
fn age(decision: &Decision, served: Option<&Served>) -> Option<HeaderValue> {
    let age = served.filter(|_| decision.shared_cacheable)?.staleness?;
    (!age.is_zero()).then(|| HeaderValue::from(age_in_header(age)))
}

/// An RFC 9651 list item in the style of RFC 9211: the region, then what is known.
fn consistency_status(region: &RegionId, account: Option<&Account>) -> HeaderValue {
    let mut text = String::with_capacity(128);
    text.push_str(region.as_str());
    if let Some(level) = account.and_then(Account::level) {
        push(&mut text, format_args!("; level={level}"));
    }
    if let Some(served) = account.and_then(|account| account.served.as_ref()) {
        let kind = match served.is_primary {
            true => "primary",
            false => "replica",
        };
        push(&mut text, format_args!("; node={kind}"));
        if let Some(region) = &served.node_region {
            push(&mut text, format_args!("; node-region={region}"));
        }
        if let Some(staleness) = served.staleness {
            push(&mut text, format_args!("; staleness={}", Millis(staleness)));
        }
        push(&mut text, format_args!("; reason={}", served.reason));
    }
    if let Some(served) = account.and_then(|account| account.upstream.as_ref()) {
        push(&mut text, format_args!("; node=upstream"));
        if let Some(region) = &served.region {
            push(&mut text, format_args!("; node-region={region}"));
        }
        // Why this node; how fresh its answer is nobody here can tell.
        match served.turn {
            Turn::First => {}
            Turn::Retry => push(&mut text, format_args!("; reason=retry")),
            Turn::Hedge => push(&mut text, format_args!("; reason=hedge")),
        }
    }
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("unknown"))
}

/// Seconds with three decimals, rounded up: a bound must not shrink in print.
struct Millis(Duration);

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let millis = self.0.as_nanos().div_ceil(1_000_000);
        write!(f, "{}.{:03}", millis / 1_000, millis % 1_000)
    }
}

/// Milliseconds by stage.
fn server_timing(account: &Account) -> HeaderValue {
    let timing = &account.timing;
    let ms = |duration: Duration| duration.as_secs_f64() * 1_000.0;
    let (route, wait, db) = (ms(timing.route), ms(timing.wait), ms(timing.db));
    let mut text = format!("route;dur={route:.3}, wait;dur={wait:.3}, db;dur={db:.3}");
    if account.upstream.is_some() {
        push(
            &mut text,
            format_args!(", upstream;dur={:.3}", ms(timing.upstream)),
        );
    }
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("route"))
}

/// Appends to a string, which cannot fail.
fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _infallible = text.write_fmt(arguments);
}
