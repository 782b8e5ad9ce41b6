//! On what terms one answer may be stored and used again (RFC 9111 sections 3 and 4, RFC 5861).

use std::time::{Duration, SystemTime};

use http::header::{
    AGE, AUTHORIZATION, DATE, ETAG, EXPIRES, LAST_MODIFIED, PRAGMA, RANGE, SET_COOKIE,
};
use http::{HeaderMap, HeaderName, StatusCode};

use super::Wishes;
use super::directive_set::DirectiveSet;

/// The part of the time since the last modification for which an answer without a stated lifetime is fresh
/// (RFC 9111 section 4.2.2 names ten percent).
const HEURISTIC_SHARE: u32 = 10;
/// The most of such a lifetime: a mistake in the guess ends within a day.
const HEURISTIC_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The age of an answer whose `Age` cannot be understood: no lifetime is longer.
const AGE_UNKNOWN: Duration = Duration::from_secs(1 << 32);

/// The resolution of dates in fields.
const DATE_RESOLUTION: Duration = Duration::from_secs(1);

/// A request, and the head of its answer.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// The fields of the request.
    pub request: &'a HeaderMap,
    /// The status of the answer.
    pub status: StatusCode,
    /// The fields of the answer.
    pub answer: &'a HeaderMap,
    /// When the answer arrived.
    pub now: SystemTime,
}

/// How long an answer may be used, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReuseTerms {
    /// The age up to which it is used without validation.
    pub fresh: Duration,
    /// Its age when it arrived.
    pub age: Duration,
    /// `stale-while-revalidate`, counted from the end of `fresh`.
    pub while_revalidate: Duration,
    /// `stale-if-error`, counted from the end of `fresh`.
    pub if_error: Duration,
    /// Whether it may not be used once it is stale.
    pub must_revalidate: bool,
    /// Whether each use needs validation.
    pub no_cache: bool,
}

/// How a stored answer may be used for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reusable {
    /// It is served, and the application is not asked.
    Fresh,
    /// It is served, stale, as the request permits.
    Stale,
    /// It is served, stale, while a newer one is fetched in the background.
    WhileRevalidate,
    /// The application is asked whether it still holds.
    AfterValidation,
}

impl ReuseTerms {
    /// Reads an answer to GET; `None` if a shared cache may not store it, or never could use it.
    ///
    /// An answer is stored only if its status is final, complete and understood where that matters, nothing
    /// forbids it, and it is either explicitly fresh or public or has a status that is cacheable by default.
    /// What is malformed is not stored.
    pub fn of(exchange: &Exchange<'_>) -> Option<Self> {
        let Exchange {
            request,
            status,
            answer,
            ..
        } = *exchange;
        let (said, is_targeted) = DirectiveSet::governing(answer)?;
        let says = |name: &str| said.has(name);
        let is_open = says("public") || says("s-maxage");
        let forbidden = says("no-store")
            || says("private")
            || is_incomplete(status)
            || (request.contains_key(RANGE) && status != StatusCode::OK)
            || (says("must-understand") && !is_understood(status))
            || (request.contains_key(AUTHORIZATION) && !is_open && !says("must-revalidate"))
            || (answer.contains_key(SET_COOKIE) && !is_open);
        if forbidden {
            return None;
        }
        let explicit = explicit_lifetime(&said, is_targeted, exchange);
        let may_guess = says("public") || is_cacheable_by_default(status);
        if explicit.is_none() && !may_guess {
            return None;
        }
        let stale = |name: &str| said.seconds(name).unwrap_or_default();
        let must_revalidate = says("must-revalidate")
            || says("proxy-revalidate")
            // RFC 9111 section 5.2.2.10, unless the answer itself says otherwise by RFC 5861.
            || (says("s-maxage") && !says("stale-while-revalidate") && !says("stale-if-error"));
        let terms = Self {
            fresh: explicit
                .or_else(|| guessed_lifetime(exchange))
                .unwrap_or_default(),
            age: age(exchange),
            while_revalidate: stale("stale-while-revalidate"),
            if_error: stale("stale-if-error"),
            must_revalidate,
            no_cache: says("no-cache") || (!is_targeted && pragma_forbids(answer)),
        };
        (terms.can_serve() || has_validator(answer)).then_some(terms)
    }

    /// Whether it could be used without validation at any time.
    fn can_serve(&self) -> bool {
        let stale = match self.must_revalidate {
            true => Duration::ZERO,
            false => self.while_revalidate.max(self.if_error),
        };
        !self.no_cache && self.age < self.fresh + stale
    }

    /// Judges an answer of a given age for a request.
    pub fn usable(&self, age: Duration, wishes: &Wishes) -> Reusable {
        let too_old = wishes.max_age.is_some_and(|most| age > most);
        let left = self.fresh.saturating_sub(age);
        if self.no_cache || wishes.no_cache || too_old || left < wishes.min_fresh {
            return Reusable::AfterValidation;
        }
        if age < self.fresh {
            return Reusable::Fresh;
        }
        let stale = age - self.fresh;
        match () {
            () if self.must_revalidate => Reusable::AfterValidation,
            () if wishes.max_stale.is_some_and(|most| stale <= most) => Reusable::Stale,
            () if stale < self.while_revalidate => Reusable::WhileRevalidate,
            () => Reusable::AfterValidation,
        }
    }

    /// Whether an answer of a given age may be served because the application has failed.
    pub fn usable_after_error(&self, age: Duration) -> bool {
        let stale = age.saturating_sub(self.fresh);
        !self.no_cache && !self.must_revalidate && stale < self.if_error
    }
}

/// Whether a status answers one request alone, by its range or its conditions, or is not final.
fn is_incomplete(status: StatusCode) -> bool {
    let parts = [
        StatusCode::PARTIAL_CONTENT,
        StatusCode::NOT_MODIFIED,
        StatusCode::RANGE_NOT_SATISFIABLE,
        StatusCode::EXPECTATION_FAILED,
    ];
    status.is_informational() || parts.contains(&status)
}

/// Whether the rules of a status are known here.
fn is_understood(status: StatusCode) -> bool {
    status.canonical_reason().is_some()
}

/// RFC 9110 section 15.1, without 206.
fn is_cacheable_by_default(status: StatusCode) -> bool {
    let known = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501];
    known.contains(&status.as_u16())
}

/// The lifetime that the answer states.
fn explicit_lifetime(
    said: &DirectiveSet<'_>,
    is_targeted: bool,
    exchange: &Exchange<'_>,
) -> Option<Duration> {
    let stated = said.seconds("s-maxage").or_else(|| said.seconds("max-age"));
    stated.or_else(|| {
        let mut lines = exchange
            .answer
            .get_all(EXPIRES)
            .iter()
            .filter(|_| !is_targeted);
        let first = lines.next()?;
        // With several values, or an invalid date, the answer is stale (section 5.3).
        let expires = match lines.next() {
            None => parsed(first),
            Some(_) => None,
        };
        let lifetime = expires.map(|it| it.duration_since(exchange.date()));
        Some(lifetime.and_then(Result::ok).unwrap_or_default())
    })
}

/// The lifetime of an answer that states none.
fn guessed_lifetime(exchange: &Exchange<'_>) -> Option<Duration> {
    let modified = parsed(exchange.answer.get(LAST_MODIFIED)?)?;
    let unchanged = exchange.date().duration_since(modified).ok()?;
    Some((unchanged / HEURISTIC_SHARE).min(HEURISTIC_MAX))
}

/// The age of an answer when it arrives (section 4.2.3). The time that it took to arrive is added by those
/// that know when it was asked for.
fn age(exchange: &Exchange<'_>) -> Duration {
    let apparent = exchange.now.duration_since(exchange.date());
    // A date has whole seconds: the answer may be younger than it by one.
    let apparent = apparent.unwrap_or_default().saturating_sub(DATE_RESOLUTION);
    let mut lines = exchange.answer.get_all(AGE).iter();
    let stated = match (lines.next(), lines.next()) {
        (None, _) => Some(Duration::ZERO),
        (Some(age), None) => age.to_str().ok().and_then(seconds),
        (Some(_), Some(_)) => None,
    };
    stated.unwrap_or(AGE_UNKNOWN).max(apparent)
}

fn seconds(text: &str) -> Option<Duration> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = || text.parse().map_or(AGE_UNKNOWN, Duration::from_secs);
    plain.then(|| seconds().min(AGE_UNKNOWN))
}

impl Exchange<'_> {
    /// When the answer was made; now if it does not say so.
    fn date(&self) -> SystemTime {
        self.answer.get(DATE).and_then(parsed).unwrap_or(self.now)
    }
}

fn parsed(value: &http::HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

/// Whether `Pragma` takes the place of a missing `Cache-Control` (section 5.4).
fn pragma_forbids(answer: &HeaderMap) -> bool {
    let has = |name: &HeaderName| answer.contains_key(name);
    let pragma = DirectiveSet::read(answer, &PRAGMA);
    !has(&http::header::CACHE_CONTROL) && pragma.is_none_or(|it| it.has("no-cache"))
}

fn has_validator(answer: &HeaderMap) -> bool {
    answer.contains_key(ETAG) || answer.contains_key(LAST_MODIFIED)
}

#[cfg(test)]
mod tests;
