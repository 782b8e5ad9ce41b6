//! One request between the client, the stored answers and the application.

use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::response::Response;
use http::header::{AGE, DATE, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tidegate_policy::http_cache::{
    Exchange, Selection, Terms, Usable, add_validators, is_kept, update,
};
use tokio::time::Instant;

use super::keys::Target;
use super::plan::CacheUse;
use super::{CachePlan, send};
use crate::cache::{CacheError, CacheKey, HttpCache, Recorded, Recording, StoredAnswer, Storing};
use crate::endpoint::{Call, Endpoint, Frontend};
use crate::http::{Account, CacheResult, CacheStatus, Problem};

/// A request on a row whose application decides about caching.
pub(in crate::endpoint) struct OwnRules {
    frontend: Arc<Frontend>,
    endpoint: Arc<Endpoint>,
    cache: Arc<HttpCache>,
    target: Target,
    key: CacheKey,
    plan: CachePlan,
    /// The stored answer that is for this request, if there is one.
    stored: Option<Arc<StoredAnswer>>,
}

/// An answer of the application to a request that may be stored.
struct Arrived {
    response: Response,
    storing: Storing,
    /// The fields of the client's request.
    request: HeaderMap,
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
        let target = Target::of(revision, &call.path, &call.head, trusted);
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
            Some((stored, Usable::Fresh)) => (stored, CacheResult::Hit),
            Some((stored, Usable::Stale)) => (stored, CacheResult::Stale),
            Some((stored, Usable::WhileRevalidate)) => {
                if stored.take_refresh(now) {
                    self.refresh(stored, call.without_body());
                }
                (stored, CacheResult::Stale)
            }
            Some((_, Usable::AfterValidation)) | None => {
                return match self.plan.wishes.only_if_cached {
                    true => Err(CacheError::NotStored.into()),
                    false => Ok(None),
                };
            }
        };
        let ttl = stored.ttl(now);
        let status = CacheStatus::Stored { result, ttl };
        Ok(Some(respond(stored, &call.head.headers, status, account)))
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
        tokio::spawn(async move {
            let mut account = Account::default();
            // Its body is recorded as it is read.
            if let Ok(answer) = refreshed.fetch(call, &mut account).await {
                read_to_end(answer.into_body()).await;
            }
            stored.end_refresh(Instant::now());
        });
    }

    /// Sends the request to the application, and stores its answer or what it confirms.
    ///
    /// # Errors
    /// The problem to answer.
    pub(in crate::endpoint) async fn fetch(
        self,
        call: Call,
        account: &mut Account,
    ) -> Result<Response, Problem> {
        match self.plan.uses {
            CacheUse::Whole => self.fetch_to_store(call, account).await,
            CacheUse::Reuse | CacheUse::Bypass => {
                send(&self.frontend, &self.endpoint, call, account).await
            }
            CacheUse::Invalidate => {
                let answer = send(&self.frontend, &self.endpoint, call, account).await?;
                let status = answer.status();
                if status.is_success() || status.is_redirection() {
                    self.cache.invalidate(&self.key);
                    for key in self.target.keys_named(answer.headers()) {
                        self.cache.invalidate(&key);
                    }
                }
                Ok(answer)
            }
        }
    }

    async fn fetch_to_store(
        self,
        mut call: Call,
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
            None => Ok(arrived.record(self.stored.is_some(), account)),
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
        Some(respond(stored, request, status, account))
    }
}

impl Arrived {
    /// Renews a stored answer that the application has confirmed, and answers with it.
    fn validated(self, stored: &Arc<StoredAnswer>, account: &mut Account) -> Response {
        let said = self.response.headers();
        let headers = update(&stored.headers, said);
        let mut with_age = headers;
        for age in said.get_all(AGE) {
            with_age.append(AGE, age.clone());
        }
        let renewed = recorded(&self.request, stored.status, &with_age, account);
        account.cache = Some(CacheStatus::Validated);
        let renewed = match renewed {
            Some(renewed) => self.storing.store(renewed, stored.body.clone()),
            None => {
                self.storing.forget(stored);
                None
            }
        };
        match renewed {
            Some(renewed) => renewed.respond(&self.request, Instant::now()),
            // It is for this client alone.
            None => stored
                .with_headers(with_age)
                .respond(&self.request, Instant::now()),
        }
    }

    /// Passes an answer on, and stores it on its way if it may be.
    fn record(self, had_stale: bool, account: &mut Account) -> Response {
        let (head, body) = self.response.into_parts();
        let recorded = recorded(&self.request, head.status, &head.headers, account);
        account.cache = Some(CacheStatus::Forwarded {
            result: CacheResult::Miss,
            had_stale,
            stored: recorded.is_some(),
        });
        let body = match recorded {
            Some(recorded) => Body::new(Recording::new(body, self.storing, recorded)),
            None => body,
        };
        Response::from_parts(head, body)
    }
}

/// What is stored of an answer, if it may be.
fn recorded(
    request: &HeaderMap,
    status: StatusCode,
    answer: &HeaderMap,
    account: &Account,
) -> Option<Recorded> {
    let now = SystemTime::now();
    let terms = Terms::of(&Exchange {
        request,
        status,
        answer,
        now,
    })?;
    let kept = answer.iter().filter(|(name, _)| is_kept(name));
    let mut headers: HeaderMap = HeaderMap::new();
    for (name, value) in kept {
        headers.append(name.clone(), value.clone());
    }
    let date = || HeaderValue::try_from(httpdate::fmt_http_date(now));
    if !headers.contains_key(DATE)
        && let Ok(date) = date()
    {
        headers.insert(DATE, date);
    }
    Some(Recorded {
        status,
        headers,
        terms,
        selection: Selection::of(request, answer)?,
        served: account.served.clone(),
    })
}

fn respond(
    stored: &StoredAnswer,
    request: &HeaderMap,
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
