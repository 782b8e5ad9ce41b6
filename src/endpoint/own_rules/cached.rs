//! One request between the client, the stored answers and the application.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::header::RANGE;
use http::{HeaderMap, Method, StatusCode};
use tidegate_policy::http_cache::{Reusable, add_validators};
use tokio::time::Instant;

use super::arrived::Arrived;
use super::keys::CacheTarget;
use super::plan::CacheUse;
use super::write::{Write, has_failed, was_not_sent};
use super::{CachePlan, send};
use crate::cache::{CacheError, CacheKey, HttpCache, StoredAnswer};
use crate::endpoint::{Call, Endpoint, Frontend};
use crate::http::{Account, CacheResult, CacheStatus, Problem};
use tidegate_telemetry::trace::carried;

/// A request on a row whose application decides about caching.
pub(in crate::endpoint) struct OwnRules {
    frontend: Arc<Frontend>,
    endpoint: Arc<Endpoint>,
    cache: Arc<HttpCache>,
    target: CacheTarget,
    key: CacheKey,
    plan: CachePlan,
    /// The stored answer that is for this request, if there is one.
    stored: Option<Arc<StoredAnswer>>,
}

impl OwnRules {
    /// Looks for a stored answer; `None` if the cache is turned off.
    pub(in crate::endpoint) fn of(
        frontend: &Arc<Frontend>,
        (revision, endpoint): (u64, &Arc<Endpoint>),
        plan: CachePlan,
        call: &Call,
        account: &mut Account,
    ) -> Option<Self> {
        let cache = Arc::clone(frontend.applications.as_ref()?);
        let trusted = &frontend.backends.proxy.trusted_proxies;
        let target = CacheTarget::of(revision, &call.path, &call.head, trusted);
        let key = target.key()?;
        let stored = match plan.uses {
            CacheUse::Whole | CacheUse::Reuse => cache.find(&key, &call.head.headers),
            CacheUse::Invalidate | CacheUse::Bypass => None,
        };
        if matches!(plan.uses, CacheUse::Reuse | CacheUse::Bypass) {
            account.cache = Some(CacheStatus::Bypass);
        }
        Some(Self {
            frontend: Arc::clone(frontend),
            endpoint: Arc::clone(endpoint),
            cache,
            target,
            key,
            plan,
            stored,
        })
    }

    /// Answers with what is stored, if that is enough.
    ///
    /// # Errors
    /// If the request accepts a stored answer only, and there is none.
    pub(in crate::endpoint) fn stored_answer(
        &self,
        call: &Call,
        account: &mut Account,
    ) -> Result<Option<Response>, Problem> {
        let now = Instant::now();
        let usable = self.stored.as_ref().map(|stored| {
            let usable = stored.terms.usable(stored.age(now), &self.plan.wishes);
            (stored, usable)
        });
        let (stored, result) = match usable {
            Some((stored, Reusable::Fresh)) => (stored, CacheResult::Hit),
            Some((stored, Reusable::Stale)) => (stored, CacheResult::Stale),
            Some((stored, Reusable::WhileRevalidate)) => {
                if stored.take_refresh(now) {
                    self.refresh(stored, call.without_body());
                }
                (stored, CacheResult::Stale)
            }
            Some((_, Reusable::AfterValidation)) | None => {
                return match self.plan.wishes.only_if_cached {
                    true => Err(CacheError::NotStored.into()),
                    false => Ok(None),
                };
            }
        };
        let ttl = stored.ttl(now);
        let status = CacheStatus::Stored { result, ttl };
        let asked = (&call.head.method, &call.head.headers);
        Ok(Some(respond(stored, asked, status, account)))
    }

    /// Asks for a newer answer in a task of its own.
    fn refresh(&self, stored: &Arc<StoredAnswer>, mut call: Call) {
        call.head.method = Method::GET;
        call.head.headers.remove(RANGE);
        let refreshed = Self {
            frontend: Arc::clone(&self.frontend),
            endpoint: Arc::clone(&self.endpoint),
            cache: Arc::clone(&self.cache),
            target: self.target.clone(),
            key: self.key.clone(),
            plan: CachePlan {
                uses: CacheUse::Whole,
                wishes: self.plan.wishes,
            },
            stored: Some(Arc::clone(stored)),
        };
        let stored = Arc::clone(stored);
        tokio::spawn(carried(async move {
            let mut account = Account::default();
            // Its body is recorded as it is read.
            if let Ok(answer) = refreshed.fetch(Box::new(call), &mut account).await {
                read_to_end(answer.into_body()).await;
            }
            stored.end_refresh(Instant::now());
        }));
    }

    /// Sends the request to the application, and stores its answer or what it confirms.
    ///
    /// # Errors
    /// The problem to answer.
    pub(in crate::endpoint) async fn fetch(
        self,
        call: Box<Call>,
        account: &mut Account,
    ) -> Result<Response, Problem> {
        match self.plan.uses {
            CacheUse::Whole => self.fetch_to_store(call, account).await,
            CacheUse::Reuse | CacheUse::Bypass => {
                send(&self.frontend, &self.endpoint, call, account).await
            }
            CacheUse::Invalidate => {
                let write = Write::begin(&self.cache, &self.key);
                let answer = send(&self.frontend, &self.endpoint, call, account).await;
                match &answer {
                    Ok(answer) if has_failed(answer.status()) => write.changed_nothing(),
                    Ok(answer) => {
                        for key in self.target.keys_named(answer.headers()) {
                            self.cache.invalidate(&key);
                        }
                    }
                    Err(problem) if was_not_sent(problem.kind()) => write.changed_nothing(),
                    Err(_) => {}
                }
                answer
            }
        }
    }

    async fn fetch_to_store(
        self,
        mut call: Box<Call>,
        account: &mut Account,
    ) -> Result<Response, Problem> {
        let request = call.head.headers.clone();
        // A part cannot be checked against the whole.
        let validates = !request.contains_key(RANGE)
            && self
                .stored
                .as_ref()
                .is_some_and(|stored| add_validators(&mut call.head.headers, &stored.headers));
        let storing = self.cache.begin(&self.key);
        let answer = send(&self.frontend, &self.endpoint, call, account).await;
        let has_failed = match &answer {
            Ok(answer) => answer.status().is_server_error(),
            Err(problem) => problem.status().is_server_error(),
        };
        if has_failed && let Some(despite) = self.despite(&answer, &request, account) {
            return Ok(despite);
        }
        let arrived = Arrived {
            response: answer?,
            storing,
            request,
        };
        let is_validated = validates && arrived.response.status() == StatusCode::NOT_MODIFIED;
        match self.stored.as_ref().filter(|_| is_validated) {
            Some(stored) => Ok(arrived.validated(stored, account)),
            None => Ok(arrived.record(self.stored.as_ref(), account)),
        }
    }

    /// A stale answer in place of a failure, if the application has permitted it.
    fn despite(
        &self,
        answer: &Result<Response, Problem>,
        request: &HeaderMap,
        account: &mut Account,
    ) -> Option<Response> {
        let stored = self.stored.as_ref()?;
        let age = stored.age(Instant::now());
        let wanted = !self.plan.wishes.no_cache;
        if !wanted || !stored.terms.usable_after_error(age) {
            return None;
        }
        let status = match answer {
            Ok(answer) => answer.status(),
            Err(problem) => {
                let cause = problem.to_string();
                tracing::warn!(
                    cause,
                    "a stored answer of an application could not be renewed"
                );
                problem.status()
            }
        };
        let status = CacheStatus::Despite(status);
        Some(respond(stored, (&Method::GET, request), status, account))
    }
}

fn respond(
    stored: &StoredAnswer,
    request: (&Method, &HeaderMap),
    status: CacheStatus,
    account: &mut Account,
) -> Response {
    let now = Instant::now();
    account.cache = Some(status);
    account.stored_age = Some(stored.age(now));
    account.served.clone_from(&stored.served);
    account.seen = None;
    account.handed_on = false;
    stored.respond(request, now)
}

async fn read_to_end(mut body: Body) {
    use http_body_util::BodyExt;
    while let Some(Ok(_)) = body.frame().await {}
}
