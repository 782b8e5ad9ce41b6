//! The response headers that say how an answer came about.

use std::time::Duration;

use axum::response::Response;
use http::header::{AGE, CACHE_CONTROL, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::cache_note::CacheNote;
use super::header_text::HeaderText;
use crate::cache::{CacheResult, age_in_header};
use crate::upstream::Turn;
use tidegate_model::Level;
use tidegate_model::{NodeId, RegionId};
use tidegate_policy::Reason;
use tidegate_policy::{Decision, NO_STORE_PRIVATE};

static CONSISTENCY_STATUS: HeaderName = HeaderName::from_static("consistency-status");
static X_ROUTE_PRIMARY: HeaderName = HeaderName::from_static("x-route-primary");
static CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
static SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
static VARY_BY_CONSISTENCY: HeaderValue =
    HeaderValue::from_static("X-Consistency, X-Consistency-Token");

/// A response on its way out.
pub(super) struct Answered {
    /// A problem is in its extensions, and has no body yet.
    pub(super) response: Response,
    /// How it came about, if the request reached an endpoint.
    pub(super) account: Option<Account>,
}

impl From<Response> for Answered {
    fn from(response: Response) -> Self {
        Self {
            response,
            account: None,
        }
    }
}

/// What is known of one request when its response leaves.
#[derive(Debug, Clone, Default)]
pub(super) struct Account {
    /// The decision, if the request could be understood.
    pub(super) decision: Option<Decision>,
    /// Which node served, if one did.
    pub(super) served: Option<Served>,
    /// How old the data of a stored answer can be by now.
    pub(super) stored_age: Option<Duration>,
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
    /// What is told of it.
    pub(super) fn told(&self) -> Told<'_> {
        Told {
            decision: self.decision.as_ref(),
            served: self.served.as_ref(),
            staleness: self
                .stored_age
                .or(self.served.as_ref().and_then(|it| it.staleness)),
            cache: self.cache,
            upstream: self.upstream.as_ref(),
            trace: self.trace.as_deref(),
            timing: Some(self.timing),
        }
    }
}

/// What headers, access line and metrics tell of one answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told<'a> {
    /// The decision, if the request could be understood.
    pub(super) decision: Option<&'a Decision>,
    /// Which node made the answer, now or when it was stored.
    pub(super) served: Option<&'a Served>,
    /// Proven upper bound of the answer's age now.
    pub(super) staleness: Option<Duration>,
    /// What the response cache did, if it was concerned.
    pub(super) cache: Option<CacheNote>,
    /// Which node of an upstream served, if one did.
    pub(super) upstream: Option<&'a ServedUpstream>,
    /// The trace that was started for it.
    pub(super) trace: Option<&'a str>,
    /// Where the time went, if the request reached an endpoint.
    pub(super) timing: Option<Timing>,
}

impl Told<'_> {
    /// Whether a node was asked for this very request.
    pub(super) fn asked_a_node(&self) -> bool {
        let result = self.cache.map(CacheNote::result);
        matches!(result, None | Some(CacheResult::Miss | CacheResult::Bypass))
    }

    /// The effective level.
    pub(super) fn level(&self) -> Option<Level> {
        self.decision.map(|decision| decision.consistency.level)
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
    /// Proven upper bound of the answer's age then; `None` when nothing is proven.
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
        self.upstream += fetch.upstream;
    }
}

/// Sets the headers of design section 5 on a response.
pub(super) fn describe(
    headers: &mut HeaderMap,
    status: StatusCode,
    region: &RegionId,
    told: &Told<'_>,
) {
    // One piece of memory for all values that are made for this answer.
    let mut text = HeaderText::with_capacity(256);
    write_consistency_status(&mut text, region, told);
    headers.insert(&CONSISTENCY_STATUS, text.value());
    if let Some(decision) = told.decision {
        say_who_may_keep_it(headers, status, decision, told);
    }
    if let Some(cache) = told.cache {
        cache.write(&mut text);
        headers.insert(&CACHE_STATUS, text.value());
    }
    if told.served.is_some_and(|served| served.is_primary) {
        headers.insert(&X_ROUTE_PRIMARY, HeaderValue::from_static("true"));
    }
    if let Some(timing) = told.timing {
        timing.write(&mut text, told.upstream.is_some());
        headers.append(&SERVER_TIMING, text.value());
    }
}

fn say_who_may_keep_it(
    headers: &mut HeaderMap,
    status: StatusCode,
    decision: &Decision,
    told: &Told<'_>,
) {
    let kept = may_be_kept(status, decision);
    let cache_control = match kept {
        true => &decision.cache_control,
        false => &NO_STORE_PRIVATE,
    };
    headers.insert(CACHE_CONTROL, cache_control.clone());
    if decision.vary {
        // Beside what an application says of its own answer.
        headers.append(VARY, VARY_BY_CONSISTENCY.clone());
    }
    if let Some(age) = age(decision, told).filter(|_| kept) {
        headers.insert(AGE, HeaderValue::from(age));
    }
}

/// Whether the row's `Cache-Control` goes with an answer: shared caches may keep a 200 and what
/// revalidates one, nothing else.
pub(super) fn may_be_kept(status: StatusCode, decision: &Decision) -> bool {
    match decision.shared_cacheable {
        true => matches!(status, StatusCode::OK | StatusCode::NOT_MODIFIED),
        false => status.is_success() || status == StatusCode::NOT_MODIFIED,
    }
}

/// How old the data can be, so that caches downstream keep it for so much less. An answer that no
/// cache may keep has none, nor has one of unknown age or of the primary's this very moment.
fn age(decision: &Decision, told: &Told<'_>) -> Option<u64> {
    let age = told.staleness.filter(|_| decision.shared_cacheable)?;
    (!age.is_zero()).then(|| age_in_header(age))
}

/// An RFC 9651 list item in the style of RFC 9211: the region, then what is known.
fn write_consistency_status(text: &mut HeaderText, region: &RegionId, told: &Told<'_>) {
    text.text(region.as_str());
    if let Some(level) = told.level() {
        text.text("; level=").text(level.as_str());
    }
    if let Some(served) = told.served {
        served.write(text, told.staleness);
    }
    if let Some(served) = told.upstream {
        served.write(text);
    }
}

impl Served {
    fn write(&self, text: &mut HeaderText, staleness: Option<Duration>) {
        text.text(match self.is_primary {
            true => "; node=primary",
            false => "; node=replica",
        });
        if let Some(region) = &self.node_region {
            text.text("; node-region=").text(region.as_str());
        }
        if let Some(staleness) = staleness {
            // Rounded up: a bound must not shrink in print.
            let millis = saturated(staleness.as_nanos().div_ceil(1_000_000));
            text.text("; staleness=").thousandths(millis);
        }
        text.text("; reason=").text(self.reason.as_str());
    }
}

impl ServedUpstream {
    /// How fresh its answer is nobody here can tell.
    fn write(&self, text: &mut HeaderText) {
        text.text("; node=upstream");
        if let Some(region) = &self.region {
            text.text("; node-region=").text(region.as_str());
        }
        // Why this node.
        match self.turn {
            Turn::First => {}
            Turn::Retry => _ = text.text("; reason=retry"),
            Turn::Hedge => _ = text.text("; reason=hedge"),
        }
    }
}

impl Timing {
    /// Writes milliseconds by stage, as `Server-Timing` has it.
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
    }
}

fn saturated(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
