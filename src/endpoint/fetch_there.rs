//! Fetches an answer for the response cache from the regions that the traffic policy lists.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::header::{RETRY_AFTER, VARY};
use http::{HeaderMap, HeaderValue, Request};
use tokio::time::{Duration, Instant};

use super::Call;
use super::hand_on::Journey;
use crate::cache::{Fetched, Missed, SharedRequest};
use crate::http::{NodeRole, Problem, Routed, Timing, Unprocessed, age_in_header, served_there};
use crate::tunnels::{End, HandOnError, Sent, TunnelFailure};
use crate::upstream::{KeptAnswer, keep, shared_gateway_fields, stated_age};
use tidegate_model::{RegionId, normalise};

impl Journey<'_> {
    /// Requests an answer that the response cache may store, of at most `bytes_max`, within `time`;
    /// `routed` becomes the decision as it was carried out.
    ///
    /// # Errors
    /// Why there is nothing to store.
    pub(super) async fn fetch(
        &self,
        shared: &SharedRequest,
        bytes_max: usize,
        time: Duration,
        timing: &mut Timing,
        routed: &mut Arc<Routed>,
    ) -> Result<Fetched, Missed> {
        let started = Instant::now();
        let mut trip = self.begin(self.shared_call(shared)?).await?;
        trip.parcel.headers = shared_gateway_fields(&self.frontend.backends.proxy);
        let regions = self.regions();
        for (at, region) in regions.iter().enumerate() {
            if !self.can_be_asked(region, &trip) {
                continue;
            }
            *routed = self.route.moved_to(region);
            let (failure, missed) = if self.reach.is_here(region) {
                trip.was_here = true;
                let time = time.saturating_sub(started.elapsed());
                if time.is_zero() {
                    (TunnelFailure::NoTime, None)
                } else {
                    let (backend, backends) = (&self.endpoint.backend, &self.frontend.backends);
                    let fetched = backend
                        .fetch(backends, shared, bytes_max, time, timing)
                        .await;
                    match fetched.map_err(|missed| (unprocessed(&missed), missed)) {
                        Ok(fetched) => return Ok(fetched),
                        Err((Some(why), missed)) => (TunnelFailure::Unprocessed(why), Some(missed)),
                        Err((None, missed)) => return Err(missed),
                    }
                }
            } else {
                let asked_at = Instant::now();
                let sent = self.send(&mut trip, region).await;
                timing.hand_on += asked_at.elapsed();
                match sent.map_err(Problem::from)? {
                    Sent::Answer(answer) => {
                        let limits = (bytes_max, started + time);
                        return keep(&shared.decision, kept(answer, region), limits);
                    }
                    Sent::Failed(failure, answer) => {
                        (failure, answer.as_ref().and_then(said_there))
                    }
                }
            };
            if let Err(end) = self.follow(failure, region, &regions[at + 1..], &mut trip) {
                let missed = missed.filter(|_| end == End::Answer || self.reach.is_here(region));
                let problem = || Problem::from(HandOnError::of(end, region)).into();
                return Err(missed.unwrap_or_else(problem));
            }
        }
        Err(Problem::from(HandOnError::of(End::Unavailable, regions[0])).into())
    }

    /// The request without anything of its client.
    fn shared_call(&self, shared: &SharedRequest) -> Result<Call, Problem> {
        let mut request = Request::new(());
        *request.uri_mut() = shared.uri.clone();
        let deadline = self.frontend.server.request_deadline;
        Ok(Call {
            head: request.into_parts().0,
            body: Body::empty(),
            json: None,
            path: normalise(shared.uri.path())?.into_owned(),
            path_values: shared.path_values.clone(),
            decision: shared.decision.clone(),
            route: shared.route.as_ref().map(Arc::clone),
            claims: None,
            time: deadline,
            time_left: None,
        })
    }
}

/// Whether nothing was done for a request that was missed here.
fn unprocessed(missed: &Missed) -> Option<Unprocessed> {
    match missed {
        Missed::Problem(problem) => Unprocessed::of(problem.kind()),
        Missed::Failed(_) | Missed::NotForAll => None,
    }
}

/// What another region's gateway says of a request for which nothing was done there.
fn said_there(answer: &Response) -> Option<Missed> {
    let why = Unprocessed::read(answer.headers())?;
    let detail = "the gateway of another region has not served the request";
    let problem = Problem::new(why.problem(), detail);
    let wait = answer.headers().get(RETRY_AFTER);
    let wait = wait.and_then(|wait| wait.to_str().ok()?.parse().ok());
    Some(match wait {
        Some(wait) => problem.retry_after(Duration::from_secs(wait)).into(),
        None => problem.into(),
    })
}

/// What another region's gateway has answered; what it has set for its own clients does not count.
fn kept(mut answer: Response, region: &RegionId) -> KeptAnswer {
    let served = served_there(answer.headers(), region);
    let headers = answer.headers_mut();
    let age = stated_age(headers);
    let staleness = match served.role {
        NodeRole::Upstream => Some(served.staleness.unwrap_or_default()),
        // Unknown stays unknown.
        NodeRole::Primary | NodeRole::Replica => served.staleness,
    };
    // `Age` is the same in whole seconds, rounded up, unless it says more.
    let says_more = |staleness| age > Duration::from_secs(age_in_header(staleness));
    without_own_vary(headers);
    KeptAnswer {
        staleness: staleness.map(|it| if says_more(it) { age } else { it }),
        response: answer,
        served,
    }
}

/// Removes what every gateway sets anew.
fn without_own_vary(headers: &mut HeaderMap) {
    let fields = headers.get_all(VARY).iter();
    let names = fields.filter_map(|field| field.to_str().ok());
    let names = names.flat_map(|field| field.split(',')).map(str::trim);
    let others = names.filter(|name| !name.to_ascii_lowercase().starts_with("x-consistency"));
    let others = others.collect::<Vec<_>>().join(", ");
    headers.remove(VARY);
    if let Ok(others) = HeaderValue::try_from(&others)
        && !others.is_empty()
    {
        headers.insert(VARY, others);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;
    use crate::http::ProblemKind;

    fn answer(fields: &[(&'static str, &'static str)]) -> Response {
        let mut answer = Response::default();
        for (name, value) in fields {
            let name = HeaderName::from_static(name);
            answer
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        answer
    }

    #[test]
    fn a_staleness_is_what_is_said_there_and_not_known_if_it_is_not_known_there() {
        let region = "us-east-1".parse().unwrap();
        for (status, age, expected) in [
            ("us-east-1; node=replica", "7", None),
            ("us-east-1; node=replica; staleness=9.5", "7", Some(9_500)),
            ("us-east-1; node=primary; staleness=0", "7", Some(7_000)),
            ("us-east-1; node=primary; staleness=0.094", "1", Some(94)),
            ("us-east-1; node=primary; staleness=0.094", "2", Some(2_000)),
            ("us-east-1; node=replica; staleness=6.001", "7", Some(6_001)),
            ("us-east-1; node=upstream", "7", Some(7_000)),
        ] {
            let kept = kept(
                answer(&[("consistency-status", status), ("age", age)]),
                &region,
            );
            let staleness = kept.staleness.map(|it| it.as_millis());
            assert_eq!(staleness, expected, "{status}");
        }
    }

    #[test]
    fn what_a_region_says_of_a_request_it_has_not_served_is_kept() {
        let fields = [("tidegate-unprocessed", "overloaded"), ("retry-after", "7")];
        let Some(Missed::Problem(problem)) = said_there(&answer(&fields)) else {
            panic!("it says so");
        };
        assert_eq!(problem.kind(), ProblemKind::Overloaded);
        assert_eq!(problem.respond().headers()[RETRY_AFTER], "7");
        assert!(said_there(&answer(&[("retry-after", "7")])).is_none());
    }
}
