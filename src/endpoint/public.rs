//! The public service: the stack that every request passes, in order.
//!
//! 1. `observe`: request id, timing, the access line, metrics, the bodies of problems;
//!    a request whose host is missing or ambiguous, or whose body has an unknown coding, ends here;
//!    then the answer is compressed, if it may be and the client accepts that;
//! 2. the preflights of browsers are answered by the path's policy row, whose `cors` is put on every answer;
//! 3. panics become `internal` problems;
//! 4. `rate_limit`: the budget that the client has on the path's policy row;
//! 5. `serve`: decide, authenticate, check the cache, read the body, and let the backend serve if there
//!    is room for another request.
//!
//! Probes pass only the first two: they are answered from memory. A request that states no
//! requirements and has a fresh stored answer passes none of them: the cache fast path.

use std::any::Any;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::{BoxError, Router};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either};
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{Either as EitherBody, Full};
use tower::Service;

use super::cross_origin::CrossOrigin;
use super::rate_limit::rate_limit;
use super::serve::serve;
use super::{Frontend, RouteError};
use crate::cache::Hit;
use crate::http::{Accounted, EndpointSeen, Hop, PROBE_PATHS, Problem, host, is_chunked};

/// Answers every request of the public listener. Always ready.
///
/// Each connection has a clone, whose requests share its parts: so none counts a reference that all connections share.
pub struct Public(Arc<Parts>);

#[derive(Clone)]
struct Parts {
    frontend: Arc<Frontend>,
    probes: Router,
}

impl Clone for Public {
    fn clone(&self) -> Self {
        Self(Arc::new(Parts::clone(&self.0)))
    }
}

/// Stored bytes, or the body that the stack has made.
type AnswerBody = EitherBody<Full<Bytes>, Body>;

impl Public {
    /// Puts the stack in front of the endpoints of `frontend` and in front of `probes`.
    #[must_use]
    pub fn new(frontend: &Arc<Frontend>, probes: Router) -> Self {
        Self(Arc::new(Parts {
            frontend: Arc::clone(frontend),
            probes: probes.method_not_allowed_fallback(only_get),
        }))
    }

    /// Looks for a fresh stored answer; requests for paths with a budget pass all layers instead.
    fn hit<B>(&self, request: &http::Request<B>) -> Option<Hit> {
        let frontend = &self.0.frontend;
        let cache = frontend.cache.as_ref()?;
        if request
            .extensions()
            .get::<Hop>()
            .is_some_and(|hop| hop.is_probe)
        {
            return None;
        }
        Hit::find(cache, request, |path| {
            let routes = frontend.routes.load();
            (!routes.limits(path)).then_some(routes.revision)
        })
    }
}

/// An answer at once, or one to wait for.
type Answering = Either<
    Ready<Result<Response<AnswerBody>, Infallible>>,
    BoxFuture<'static, Result<Response<AnswerBody>, Infallible>>,
>;

impl<B> Service<http::Request<B>> for Public
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        self.answer(request)
    }
}

impl Public {
    /// Answers a request; for those whose connection is shared.
    pub fn answer<B>(&self, request: http::Request<B>) -> Answering
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let head = request.method() == Method::HEAD;
        let frontend = &self.0.frontend;
        let cross_origin = CrossOrigin::of(&frontend.routes.load(), &request);
        let is_preflight = cross_origin.as_ref().is_some_and(CrossOrigin::is_preflight);
        let finish = move |mut response: Response<AnswerBody>| {
            if let Some(cross_origin) = cross_origin {
                cross_origin.put_on(response.headers_mut());
            }
            match head {
                true => without_body(response),
                false => response,
            }
        };
        let acceptable = acceptable(&request);
        if acceptable.is_ok()
            && let Some(hit) = self.hit(&request)
        {
            let Frontend {
                observer,
                compression,
                ..
            } = &**frontend;
            let response = hit.respond(observer, compression, request);
            return Either::Left(ready(Ok(finish(response))));
        }
        // The gateway that has handed it on compresses the answer.
        let is_hop = request.extensions().get::<Hop>().is_some();
        let wanted = frontend.compression.wanted(request.headers());
        let (parts, request) = (Arc::clone(&self.0), request.map(boxed));
        let answer = async move {
            let Parts { frontend, probes } = &*parts;
            let stack = async |request: Request, seen: &EndpointSeen| {
                if let Err(problem) = acceptable {
                    return problem.into_response().into();
                }
                if is_preflight {
                    return StatusCode::NO_CONTENT.into_response().into();
                }
                let stack = AssertUnwindSafe(async {
                    // The gateway that has handed it on answers probes and limits rates.
                    if request.extensions().get::<Hop>().is_some() {
                        return serve(frontend, request, seen).await;
                    }
                    match PROBE_PATHS.contains(&request.uri().path()) {
                        true => probe(probes.clone(), request).await,
                        false => rate_limit(frontend, request, seen).await,
                    }
                });
                stack.catch_unwind().await.unwrap_or_else(panicked)
            };
            let response = frontend.observer.observe(request, stack).await;
            let response = match is_hop {
                true => response,
                false => frontend.compression.apply(&wanted, head, response),
            };
            Ok(finish(response.map(EitherBody::Right)))
        };
        Either::Right(answer.boxed())
    }
}

/// Most requests have no body, and need no memory for one.
fn boxed<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    match body.is_end_stream() {
        true => Body::empty(),
        false => Body::new(body),
    }
}

/// Refuses a request that others may read in another way.
fn acceptable<B: http_body::Body>(request: &http::Request<B>) -> Result<(), Problem> {
    host(request)?;
    if !request.body().is_end_stream() {
        is_chunked(request.headers())?;
    }
    Ok(())
}

/// The answer to `HEAD`: states the length that the body would have. On HTTP/2, nothing else
/// removes the body.
fn without_body(mut response: Response<AnswerBody>) -> Response<AnswerBody> {
    let length = response.body().size_hint().exact();
    // An application's answer to HEAD has no body, whatever that to GET has.
    let length = length.filter(|length| *length > 0);
    if let Some(length) = length.filter(|_| response.status() != StatusCode::NOT_MODIFIED) {
        let headers = response.headers_mut();
        headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    response.map(|_| EitherBody::Left(Full::default()))
}

async fn probe(mut probes: Router, request: Request) -> Accounted {
    let Ok(response) = probes.call(request).await;
    response.into()
}

/// The answer of a probe to any other method.
async fn only_get() -> Problem {
    RouteError::MethodNotAllowed(HeaderValue::from_static("GET, HEAD")).into()
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the signature is that of `catch_unwind`"
)]
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Accounted {
    let message = panic.downcast_ref::<&str>().map(ToString::to_string);
    let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
    let problem = Problem::internal(format!(
        "the gateway failed: panic: {}",
        message.unwrap_or_default()
    ));
    problem.into_response().into()
}
