//! Request collapsing: one fetch answers all concurrent requests for the same answer, from the store
//! or from a shared fetch; a request whose shared fetches failed makes its own.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use tokio::time::{Duration, Instant, timeout_at};

use super::{
    CacheError, CacheKey, Entry, Fetch, FlightScope, Joined, Leader, Missed, Origin, ResponseCache,
    Usable,
};
use crate::http::{Account, CacheResult, CacheStatus, Problem, Routed, Timing};
use tidegate_telemetry::trace::carried;

/// The response cache of a process.
pub type AnswerCache = ResponseCache<Origin, FetchOutcome>;

/// Shared fetches that may fail for a request before it makes its own. A leader's failure does not
/// fail its followers; without this bound, one follower after another would lead a fetch into the
/// same failure while the others wait.
const SHARED_FETCHES_MAX: usize = 2;

/// The result of a leader's fetch, for its followers.
#[derive(Clone)]
pub struct FetchOutcome {
    entry: Result<Arc<Entry<Origin>>, Missed>,
    stored: bool,
    timing: Timing,
    routed: Option<Arc<Routed>>,
}

/// An answer, and how the cache obtained it.
struct Found {
    entry: Arc<Entry<Origin>>,
    status: CacheStatus,
}

/// One request that the cache may answer.
pub struct CachedRequest<'a, F> {
    /// The cache that may contain its answer.
    pub cache: &'a Arc<AnswerCache>,
    /// The key of its answer.
    pub key: CacheKey,
    /// With which other requests it may share a fetch.
    pub scope: FlightScope,
    /// Fetches the answer from a backend.
    pub fetch: Arc<F>,
    /// When it arrived.
    pub started: Instant,
    /// How long a fetch may take.
    pub time: Duration,
}

impl<F: Fetch> CachedRequest<'_, F> {
    /// Answers the request; `None` if it needs an answer of its own.
    pub async fn answer(self, headers: &HeaderMap, account: &mut Account) -> Option<Response> {
        let missed = CacheStatus::Forwarded {
            result: CacheResult::Miss,
            had_stale: false,
            stored: false,
        };
        let (entry, status) = match self.find(account).await {
            Ok(Found { entry, status }) => (entry, status),
            Err(Missed::Failed(entry)) => (entry, missed),
            Err(Missed::Problem(problem)) => {
                account.cache = Some(missed);
                return Some(problem.respond());
            }
            Err(Missed::NotForAll) => {
                account.cache = Some(CacheStatus::Bypass);
                return None;
            }
        };
        account.cache = Some(status);
        if let Some(decision) = &mut account.decision {
            decision.no_transform |= entry.origin.decision.no_transform;
        }
        account.stored_age = entry.age(Instant::now());
        account.served = Some(entry.origin.served.clone());
        let response = entry.respond(headers);
        Some(
            response
                .unwrap_or_else(|| Problem::from(CacheError::PreconditionFailed).into_response()),
        )
    }

    /// Looks in the store, and fetches from a node if that is not enough.
    async fn find(&self, account: &mut Account) -> Result<Found, Missed> {
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
                let before = account.routed.clone();
                let fetched = self.collapse_in_time(Some(&entry), true, account).await;
                match fetched {
                    Err(missed) if !missed.is_final() => {
                        // The answer is from memory, which no policy decides on.
                        account.routed = before;
                        Ok(Found::despite(&missed, entry))
                    }
                    fetched => fetched,
                }
            }
            (seen, _) => self.collapse_in_time(seen.as_ref(), false, account).await,
        }
    }

    /// Fetches in the background, unless another request already does.
    fn renew(&self, stale: &Arc<Entry<Origin>>, refresh: bool) {
        if refresh && let Some(leader) = self.cache.refresh(&self.key, self.scope, stale) {
            self.lead_apart(leader, Some(stale));
        }
    }

    /// Runs a fetch in its own task, so that it continues if the client disconnects.
    fn lead_apart(&self, leader: Leader<Origin, FetchOutcome>, stale: Option<&Arc<Entry<Origin>>>) {
        let leading = lead(Arc::clone(&self.fetch), leader, stale.cloned());
        tokio::spawn(carried(leading));
    }

    async fn collapse_in_time(
        &self,
        seen: Option<&Arc<Entry<Origin>>>,
        has_fallback: bool,
        account: &mut Account,
    ) -> Result<Found, Missed> {
        let deadline = self.started + self.time;
        let fetched = timeout_at(deadline, self.collapse(seen, has_fallback, account)).await;
        fetched.unwrap_or_else(|_elapsed| Err(CacheError::Deadline.into()))
    }

    /// Leads or follows a fetch.
    async fn collapse(
        &self,
        seen: Option<&Arc<Entry<Origin>>>,
        has_fallback: bool,
        account: &mut Account,
    ) -> Result<Found, Missed> {
        for _ in 0..SHARED_FETCHES_MAX {
            let (follower, result) = match self.cache.join(&self.key, self.scope, seen) {
                Joined::Stored(entry) => return Ok(self.stored(entry, CacheResult::Hit)),
                Joined::Follower(follower) => (follower, CacheResult::Collapsed),
                Joined::Leader(leader) => {
                    let follower = leader.follower();
                    self.lead_apart(leader, seen.filter(|_| has_fallback));
                    (follower, CacheResult::Miss)
                }
            };
            // Until the fetch has ended, which may take longer than this request has.
            let before = account.routed.clone();
            note_routed(account, self.fetch.routed());
            let waiting = Instant::now();
            let outcome = follower
                .outcome()
                .await
                .unwrap_or_else(FetchOutcome::missing);
            let leads = result == CacheResult::Miss;
            if leads {
                account.timing.add(&outcome.timing);
                note_routed(account, outcome.routed);
            } else {
                account.timing.wait += waiting.elapsed();
                // The answer is of another client's request. Which region has served it is said of both.
                account.routed = match outcome.is_from_elsewhere() {
                    true => outcome.routed.clone(),
                    false => before,
                };
            }
            match outcome.entry {
                Ok(entry) => {
                    let status = CacheStatus::Forwarded {
                        result,
                        had_stale: seen.is_some(),
                        stored: outcome.stored,
                    };
                    return Ok(Found { entry, status });
                }
                Err(missed) if leads || has_fallback || missed.is_final() => return Err(missed),
                Err(_failed_its_leader_only) => {}
            }
        }
        let (timing, routed) = (&mut account.timing, &mut account.routed);
        let entry = self.fetch.fetch(timing, routed).await?;
        let status = CacheStatus::Forwarded {
            result: CacheResult::Miss,
            had_stale: seen.is_some(),
            stored: false,
        };
        Ok(Found { entry, status })
    }

    fn stored(&self, entry: Arc<Entry<Origin>>, result: CacheResult) -> Found {
        let ttl = entry.ttl(self.started);
        let status = CacheStatus::Stored { result, ttl };
        Found { entry, status }
    }
}

impl Found {
    /// A stored answer, served because none could be fetched.
    fn despite(missed: &Missed, entry: Arc<Entry<Origin>>) -> Self {
        let status = CacheStatus::Despite(missed.status());
        Self { entry, status }
    }
}

impl FetchOutcome {
    /// Whether another region's gateway has answered.
    fn is_from_elsewhere(&self) -> bool {
        let entry = self.entry.as_ref();
        entry.is_ok_and(|entry| entry.origin.served.gateway.is_some())
    }

    /// The result for followers of a leader that ended without one.
    fn missing() -> Self {
        Self {
            entry: Err(CacheError::EndedEarly.into()),
            stored: false,
            timing: Timing::default(),
            routed: None,
        }
    }
}

/// Fetches, stores, and informs the followers. `stale` is the answer that the cache serves if this
/// fails.
async fn lead<F: Fetch>(
    fetch: Arc<F>,
    leader: Leader<Origin, FetchOutcome>,
    stale: Option<Arc<Entry<Origin>>>,
) {
    let (mut timing, mut routed) = (Timing::default(), None);
    let entry = fetch.fetch(&mut timing, &mut routed).await;
    let stored = match &entry {
        Ok(entry) if entry.origin.status == StatusCode::OK => leader.store(entry, Instant::now()),
        // The followers still get it.
        Ok(_) => {
            leader.forget();
            false
        }
        Err(missed) => {
            if missed.is_final() {
                leader.forget();
            } else if let Some(stale) = stale {
                stale.note_failure(Instant::now());
                log_failure(&*fetch, missed);
            }
            false
        }
    };
    leader.end_with(FetchOutcome {
        entry,
        stored,
        timing,
        routed,
    });
}

/// Notes where a fetch was sent, if a traffic policy has decided that; what was handed on has its decision.
fn note_routed(account: &mut Account, routed: Option<Arc<Routed>>) {
    if routed.is_some() {
        account.routed = routed;
    }
}

/// No client gets this problem, so nothing else logs it.
fn log_failure(fetch: &impl Fetch, missed: &Missed) {
    let endpoint = fetch.endpoint().label();
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

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::cache::CacheSettings;
    use tidegate_telemetry::EndpointMetrics;
    use tidegate_traffic::decide::RegionReason;

    /// A fetch in another region that never ends.
    struct Hanging(EndpointMetrics, Arc<Routed>);

    impl Fetch for Hanging {
        fn endpoint(&self) -> &EndpointMetrics {
            &self.0
        }

        fn routed(&self) -> Option<Arc<Routed>> {
            Some(Arc::clone(&self.1))
        }

        async fn fetch(
            &self,
            _: &mut Timing,
            _: &mut Option<Arc<Routed>>,
        ) -> Result<Arc<Entry<Origin>>, Missed> {
            pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_whose_time_runs_out_says_where_it_was_sent_whether_it_leads_or_follows() {
        let cache = Arc::new(AnswerCache::new(&CacheSettings::default()).unwrap());
        let routed = Arc::new(Routed {
            policy: "away".into(),
            proposed: None,
            region: Some("us-east-1".parse().unwrap()),
            reason: RegionReason::Named,
        });
        let fetch = Hanging(EndpointMetrics::new("/x"), Arc::clone(&routed));
        let fetch = Arc::new(fetch);
        // The first one leads; its fetch goes on.
        for _ in 0..2 {
            let request = CachedRequest {
                cache: &cache,
                key: CacheKey::new(1, "/x", []).unwrap(),
                scope: FlightScope::Entered,
                fetch: Arc::clone(&fetch),
                started: Instant::now(),
                time: Duration::from_secs(1),
            };
            let mut account = Account::default();
            let answer = request.answer(&HeaderMap::new(), &mut account).await;
            assert_eq!(answer.unwrap().status(), StatusCode::GATEWAY_TIMEOUT);
            assert_eq!(account.routed.as_ref(), Some(&routed));
        }
        let key = CacheKey::new(1, "/x", []).unwrap();
        let joined = cache.join(&key, FlightScope::Entered, None);
        assert!(matches!(joined, Joined::Follower(_)), "the fetch has ended");
    }
}
