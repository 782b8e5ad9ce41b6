//! Answers that may come from the response cache: from the store, from a fetch that other requests
//! wait for too, or, when such fetches failed, from one of the request's own.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::time::{Instant, timeout_at};

use super::Reached;
use super::answer::{Account, Timing};
use super::cache_note::CacheNote;
use super::fetch::{Fetch, Missed};
use super::origin::{Origin, Source};
use crate::cache::{
    CacheError, CacheResult, Entry, Joined, Key, Leader, ResponseCache, Usable, none_match,
    precondition_holds,
};
use crate::endpoint::Shared;
use crate::http::Problem;
use crate::http::Query;

/// Shared fetches that may fail under a request before it fetches for itself. A failed leader fails
/// nobody else; were there no end to it, one waiter after another would lead into the same failure
/// while the others wait.
const FLIGHTS_MAX: usize = 2;

/// What a fetch tells those who wait for it.
#[derive(Clone)]
pub struct Landing {
    outcome: Result<Arc<Entry<Origin>>, Missed>,
    stored: bool,
    timing: Timing,
}

/// An answer, and how the cache came by it.
struct Found {
    entry: Arc<Entry<Origin>>,
    note: CacheNote,
}

/// One request that the cache may answer.
pub(super) struct Cached<'a> {
    pub(super) cache: &'a Arc<ResponseCache<Origin, Landing>>,
    pub(super) key: Key,
    pub(super) fetch: Arc<Fetch>,
    pub(super) started: Instant,
}

/// Names what a request asks for; none when no answer can have that name.
///
/// # Errors
/// `invalid-parameter` when the query string cannot be understood.
pub(super) fn key(
    revision: u64,
    reached: &Reached<'_>,
    query: Option<&str>,
) -> Result<Option<Key>, Problem> {
    let names = match reached.endpoint.shared() {
        Some(Shared::Parameters(names)) => names,
        Some(Shared::Query) => {
            let whole = query.map(|query| ("", query));
            return Ok(Key::new(revision, &reached.path, whole));
        }
        None => return Ok(None),
    };
    let query = Query::parse(query.unwrap_or_default())?;
    let parameters = names
        .iter()
        .filter_map(|name| Some((name.as_str(), query.get(name)?)));
    Ok(Key::new(revision, &reached.path, parameters))
}

impl Cached<'_> {
    /// Answers the request; none when it has to be answered for itself.
    pub(super) async fn answer(
        self,
        headers: &HeaderMap,
        account: &mut Account,
    ) -> Option<Response> {
        let missed = CacheNote::Forwarded {
            result: CacheResult::Miss,
            had_stale: false,
            stored: false,
        };
        let (entry, note) = match self.find(&mut account.timing).await {
            Ok(Found { entry, note }) => (entry, note),
            Err(Missed::Failed(entry)) => (entry, missed),
            Err(Missed::Problem(problem)) => {
                account.cache = Some(missed);
                return Some(problem.respond());
            }
            Err(Missed::NotForAll) => {
                account.cache = Some(CacheNote::Bypass);
                return None;
            }
        };
        account.cache = Some(note);
        account.stored_age = entry.age(Instant::now());
        account.served = entry.origin.served().cloned();
        account.upstream = entry.origin.upstream().cloned();
        Some(match holds(&entry, headers) {
            true => respond(&entry, headers),
            false => Problem::from(CacheError::PreconditionFailed).into_response(),
        })
    }

    /// Looks into the store, and asks the nodes where that is not enough.
    async fn find(&self, timing: &mut Timing) -> Result<Found, Missed> {
        let seen = self.cache.get(&self.key);
        let usable = seen.as_ref().map(|entry| entry.usable(self.started));
        match (seen, usable.unwrap_or(Usable::No)) {
            (Some(entry), Usable::Fresh) => Ok(self.stored(entry, CacheResult::Hit)),
            (Some(entry), Usable::Stale { refresh }) => {
                self.renew(&entry, refresh);
                Ok(self.stored(entry, CacheResult::Stale))
            }
            (Some(entry), Usable::AfterError { refresh }) => {
                self.renew(&entry, refresh);
                Ok(self.stored(entry, CacheResult::StaleIfError))
            }
            (Some(entry), Usable::IfError) => {
                let flown = self.fly_in_time(Some(&entry), true, timing).await;
                match flown {
                    Err(missed) if !missed.is_final() => Ok(Found::despite(&missed, entry)),
                    flown => flown,
                }
            }
            (seen, _) => self.fly_in_time(seen.as_ref(), false, timing).await,
        }
    }

    /// Fetches in the background, unless somebody does already.
    fn renew(&self, stale: &Arc<Entry<Origin>>, refresh: bool) {
        if refresh && let Some(leader) = self.cache.refresh(&self.key, stale) {
            self.take_off(leader, Some(stale));
        }
    }

    /// Lets a fetch run in a task of its own, so that no client that goes away takes it along.
    fn take_off(&self, leader: Leader<Origin, Landing>, stale: Option<&Arc<Entry<Origin>>>) {
        tokio::spawn(lead(Arc::clone(&self.fetch), leader, stale.cloned()));
    }

    async fn fly_in_time(
        &self,
        seen: Option<&Arc<Entry<Origin>>>,
        has_fallback: bool,
        timing: &mut Timing,
    ) -> Result<Found, Missed> {
        let deadline = self.started + self.fetch.services.server.request_deadline;
        let flown = timeout_at(deadline, self.fly(seen, has_fallback, timing)).await;
        flown.unwrap_or_else(|_elapsed| Err(Problem::from(CacheError::Deadline).into()))
    }

    /// Leads or follows a fetch.
    async fn fly(
        &self,
        seen: Option<&Arc<Entry<Origin>>>,
        has_fallback: bool,
        timing: &mut Timing,
    ) -> Result<Found, Missed> {
        for _ in 0..FLIGHTS_MAX {
            let (follower, result) = match self.cache.join(&self.key, seen) {
                Joined::Stored(entry) => return Ok(self.stored(entry, CacheResult::Hit)),
                Joined::Follower(follower) => (follower, CacheResult::Collapsed),
                Joined::Leader(leader) => {
                    let follower = leader.follower();
                    self.take_off(leader, seen.filter(|_| has_fallback));
                    (follower, CacheResult::Miss)
                }
            };
            let waiting = Instant::now();
            let landing = follower.landed().await.unwrap_or_else(Landing::missing);
            let leads = result == CacheResult::Miss;
            match leads {
                true => timing.add(&landing.timing),
                false => timing.wait += waiting.elapsed(),
            }
            match landing.outcome {
                Ok(entry) => {
                    let note = CacheNote::Forwarded {
                        result,
                        had_stale: seen.is_some(),
                        stored: landing.stored,
                    };
                    return Ok(Found { entry, note });
                }
                Err(missed) if leads || has_fallback || missed.is_final() => return Err(missed),
                Err(_failed_its_leader_only) => {}
            }
        }
        let entry = self.fetch.run(timing).await?;
        let note = CacheNote::Forwarded {
            result: CacheResult::Miss,
            had_stale: seen.is_some(),
            stored: false,
        };
        Ok(Found { entry, note })
    }

    fn stored(&self, entry: Arc<Entry<Origin>>, result: CacheResult) -> Found {
        let ttl = entry.ttl(self.started);
        let note = CacheNote::Stored { result, ttl };
        Found { entry, note }
    }
}

impl Found {
    /// A stored answer, since none could be fetched.
    fn despite(missed: &Missed, entry: Arc<Entry<Origin>>) -> Self {
        let note = CacheNote::Despite(missed.status());
        Self { entry, note }
    }
}

impl Landing {
    /// What followers take from a leader that ended without a word.
    fn missing() -> Self {
        let problem = Problem::from(CacheError::EndedEarly);
        Self {
            outcome: Err(problem.into()),
            stored: false,
            timing: Timing::default(),
        }
    }
}

/// Fetches, stores and tells. `stale` is what the cache serves if this fails.
async fn lead(
    fetch: Arc<Fetch>,
    leader: Leader<Origin, Landing>,
    stale: Option<Arc<Entry<Origin>>>,
) {
    let mut timing = Timing::default();
    let outcome = fetch.run(&mut timing).await;
    let stored = match &outcome {
        Ok(entry) if entry.origin.status() == StatusCode::OK => leader.store(entry, Instant::now()),
        // Those who wait for it get it all the same.
        Ok(_) => {
            leader.forget();
            false
        }
        Err(missed) => {
            if missed.is_final() {
                leader.forget();
            } else if let Some(stale) = stale {
                stale.note_failure(Instant::now());
                log_failure(&fetch, missed);
            }
            false
        }
    };
    leader.land(Landing {
        outcome,
        stored,
        timing,
    });
}

/// No client gets this problem, so that nobody else would log it.
fn log_failure(fetch: &Fetch, missed: &Missed) {
    let endpoint = fetch.endpoint.template.as_str();
    let status = missed.status().as_u16();
    let (kind, cause) = match missed {
        Missed::Problem(problem) => (Some(problem.kind().name()), problem.cause()),
        Missed::Failed(_) | Missed::NotForAll => (None, None),
    };
    tracing::warn!(
        endpoint,
        status,
        kind,
        cause,
        "a stored answer could not be renewed"
    );
}

/// Whether the request wants this answer. Conditions count for a 200 alone.
fn holds(entry: &Entry<Origin>, headers: &HeaderMap) -> bool {
    let modified = match &entry.origin.source {
        Source::Node(_) => None,
        Source::Application(application) => application.headers.get(LAST_MODIFIED),
    };
    entry.origin.status() != StatusCode::OK || precondition_holds(headers, &entry.tag, modified)
}

fn respond(entry: &Entry<Origin>, headers: &HeaderMap) -> Response {
    let (status, body) = match entry.origin.status() {
        StatusCode::OK => conditional(entry, headers),
        other => (other, entry.body.clone()),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    represent(response.headers_mut(), entry, status);
    response
}

/// The answer whole, or 304 if the client has it.
pub(super) fn conditional(entry: &Entry<Origin>, headers: &HeaderMap) -> (StatusCode, Bytes) {
    match none_match(headers, &entry.tag) {
        true => (StatusCode::OK, entry.body.clone()),
        false => (StatusCode::NOT_MODIFIED, Bytes::new()),
    }
}

/// Sets the headers that describe the bytes.
pub(super) fn represent(headers: &mut HeaderMap, entry: &Entry<Origin>, status: StatusCode) {
    match &entry.origin.source {
        _ if status == StatusCode::NOT_MODIFIED => {}
        Source::Node(_) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Source::Application(application) => headers.extend(application.headers.clone()),
    }
    if matches!(status, StatusCode::OK | StatusCode::NOT_MODIFIED) {
        headers.insert(ETAG, entry.tag.clone());
    }
}
