//! An answer of the application, and what is stored of it.

use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::response::Response;
use http::header::{AGE, AUTHORIZATION, DATE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body::Body as _;
use tidegate_policy::http_cache::{Exchange, ReuseTerms, Selection, is_kept, update};
use tokio::time::Instant;

use crate::cache::{Recorded, Recording, Replaced, StoredAnswer, Storing};
use crate::http::{Account, CONSISTENCY_STATUS, CacheResult, CacheStatus};
use crate::upstream::is_ours;

/// An answer of the application to a request that may be stored.
pub(super) struct Arrived {
    /// It.
    pub response: Response,
    /// Its place in the cache.
    pub storing: Storing,
    /// The fields of the client's request.
    pub request: HeaderMap,
}

impl Arrived {
    /// Renews a stored answer that the application has confirmed, and answers with it.
    pub(super) fn validated(self, stored: &Arc<StoredAnswer>, account: &mut Account) -> Response {
        let said = self.response.headers();
        // Of another region's gateway, whose answer this is then.
        let described = said.get(&CONSISTENCY_STATUS).filter(|_| account.handed_on);
        let described = described.cloned();
        let headers = update(&stored.headers, said);
        let mut with_age = headers;
        for age in said.get_all(AGE) {
            with_age.append(AGE, age.clone());
        }
        let renewed = recorded(&self.request, stored.status, &with_age, account);
        let renewed = match renewed {
            Some(renewed) => {
                let renewed = self.storing.renew(renewed, stored);
                // Its new fields are too many.
                if renewed.is_none() {
                    self.storing.forget(stored);
                }
                renewed
            }
            None => {
                // An answer to everybody that is not for this bearer goes on being everybody's.
                let mut anyones = self.request.clone();
                anyones.remove(AUTHORIZATION);
                if recorded(&anyones, stored.status, &with_age, account).is_none() {
                    self.storing.forget(stored);
                }
                None
            }
        };
        account.cache = Some(match renewed {
            Some(_) => CacheStatus::Validated,
            None => CacheStatus::Forwarded {
                result: CacheResult::Revalidated,
                had_stale: true,
                stored: false,
            },
        });
        let asked = (&Method::GET, &self.request);
        let mut answer = match renewed {
            Some(renewed) => renewed.respond(asked, Instant::now()),
            // It is for this client alone.
            None => stored.with_headers(with_age).respond(asked, Instant::now()),
        };
        if let Some(described) = described {
            let name = CONSISTENCY_STATUS.clone();
            answer.headers_mut().insert(name, described);
        }
        answer
    }

    /// Passes an answer on, and stores it on its way if it may be.
    pub(super) fn record(
        self,
        stored: Option<&Arc<StoredAnswer>>,
        account: &mut Account,
    ) -> Response {
        let (head, body) = self.response.into_parts();
        let permitted = recorded(&self.request, head.status, &head.headers, account);
        let replaced = match &permitted {
            // Whoever has asked for it.
            Some(recorded) => replaced_by(recorded, stored),
            None if replaces(&self.request, head.status) => one(stored),
            None => Replaced::Nothing,
        };
        let least = body.size_hint().lower();
        let recorded = permitted.filter(|it| self.storing.admits(it, least));
        account.cache = Some(CacheStatus::Forwarded {
            result: CacheResult::Miss,
            had_stale: stored.is_some(),
            stored: recorded.is_some(),
        });
        let body = match recorded {
            Some(recorded) => Body::new(Recording::new(body, self.storing, recorded, replaced)),
            None => {
                self.storing.forget_replaced(&replaced);
                body
            }
        };
        Response::from_parts(head, body)
    }
}

/// What an answer that may be stored takes the place of, if it is too large to be.
fn replaced_by(recorded: &Recorded, stored: Option<&Arc<StoredAnswer>>) -> Replaced {
    if recorded.status.is_server_error() {
        Replaced::Nothing
    } else if recorded.selection.is_any() {
        Replaced::All
    } else {
        one(stored)
    }
}

fn one(stored: Option<&Arc<StoredAnswer>>) -> Replaced {
    stored.map_or(Replaced::Nothing, |stored| {
        Replaced::One(Arc::clone(stored))
    })
}

/// Whether an answer takes the place of a stored one even if it may not be stored itself: the application has
/// made it private, or has withdrawn it.
fn replaces(request: &HeaderMap, status: StatusCode) -> bool {
    let is_whole = !request.contains_key(RANGE)
        && !matches!(
            status,
            StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
                | StatusCode::RANGE_NOT_SATISFIABLE
        );
    is_whole
        && !request.contains_key(AUTHORIZATION)
        && !status.is_informational()
        && !status.is_server_error()
}

/// Whether the gateway sets a field itself, so that the client's value does not select the answer. Host and
/// protocol belong to the key.
fn is_unknown(name: &HeaderName) -> bool {
    let of_key = ["host", "x-forwarded-host", "x-forwarded-proto"];
    is_ours(name) && !of_key.contains(&name.as_str())
}

/// What is stored of an answer, if it may be.
fn recorded(
    request: &HeaderMap,
    status: StatusCode,
    answer: &HeaderMap,
    account: &Account,
) -> Option<Recorded> {
    let now = SystemTime::now();
    let terms = ReuseTerms::of(&Exchange {
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
    let selection = Selection::of(request, answer)?;
    if selection.names().any(is_unknown) {
        return None;
    }
    Some(Recorded {
        status,
        headers,
        terms,
        selection,
        served: account.served.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let lines = lines.iter();
        let lines = lines.map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        lines.collect()
    }

    #[test]
    fn a_vary_by_what_the_gateway_sets_stores_nothing_unless_the_key_has_it() {
        let account = Account::default();
        let is_stored = |vary: &'static str| {
            let answer = request(&[("cache-control", "max-age=60"), ("vary", vary)]);
            recorded(&HeaderMap::new(), StatusCode::OK, &answer, &account).is_some()
        };
        for vary in [
            "Accept-Language",
            "Host",
            "X-Forwarded-Host",
            "X-Forwarded-Proto",
        ] {
            assert!(is_stored(vary), "{vary}");
        }
        for vary in [
            "Forwarded",
            "accept, X-Forwarded-For",
            "X_Real_IP",
            "traceparent",
            "via",
            "x-request-id",
        ] {
            assert!(!is_stored(vary), "{vary}");
        }
    }

    #[test]
    fn an_answer_that_does_not_vary_takes_the_place_of_all_unless_it_is_an_error_of_the_server() {
        let replaces_all = |status, vary: Option<&'static str>| {
            let vary = vary.map(|vary| ("vary", vary));
            let lines = [("cache-control", "max-age=60")].into_iter().chain(vary);
            let answer = request(&lines.collect::<Vec<_>>());
            let account = Account::default();
            let recorded = recorded(&HeaderMap::new(), status, &answer, &account).unwrap();
            matches!(replaced_by(&recorded, None), Replaced::All)
        };
        assert!(replaces_all(StatusCode::OK, None));
        assert!(!replaces_all(StatusCode::OK, Some("accept-language")));
        assert!(!replaces_all(StatusCode::INTERNAL_SERVER_ERROR, None));
    }

    #[test]
    fn only_a_whole_final_answer_to_anyone_takes_the_place_of_a_stored_one() {
        for status in [StatusCode::OK, StatusCode::NOT_FOUND, StatusCode::GONE] {
            assert!(replaces(&HeaderMap::new(), status), "{status}");
            for line in [("range", "bytes=0-"), ("authorization", "Bearer x")] {
                assert!(!replaces(&request(&[line]), status), "{line:?}");
            }
        }
        for status in [103, 206, 304, 416, 500, 503] {
            let status = StatusCode::from_u16(status).unwrap();
            assert!(!replaces(&HeaderMap::new(), status), "{status}");
        }
    }
}
