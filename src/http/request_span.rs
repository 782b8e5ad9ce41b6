//! The span of a request, by OpenTelemetry's conventions for HTTP servers.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::header::USER_AGENT;
use http::{Request, Version};

use super::account::AccountView;
use super::cache_status::{CacheResult, CacheStatus};
use super::problem::Problem;
use super::tracked::OverTls;
use tidegate_model::{Level, RegionId};
use tidegate_policy::Reason;
use tidegate_telemetry::trace::{ServerAnswer, ServerSpan, SpanContext, Tracer, Value};

/// The span of a request that is traced.
pub(super) struct RequestSpan {
    span: ServerSpan,
    /// What is said of the request itself, if it is recorded.
    attributes: Vec<(&'static str, Value)>,
}

/// How a request was answered.
pub(super) struct Answer<'a> {
    pub(super) method: &'static str,
    /// The template of its endpoint; `None` without one.
    pub(super) route: Option<&'a str>,
    pub(super) status: u16,
    pub(super) account: &'a AccountView<'a>,
    pub(super) problem: Option<&'a Problem>,
    pub(super) took: Duration,
    /// What only its listener knows of it.
    pub(super) more: Vec<(&'static str, Value)>,
}

impl RequestSpan {
    /// Begins the span of a request whose caller is at `parent`.
    pub(super) fn begin<B>(
        tracer: &Arc<Tracer>,
        request: &Request<B>,
        parent: Option<SpanContext>,
    ) -> Self {
        Self::of(ServerSpan::begin(tracer, parent), request)
    }

    /// The same only if it is recorded, for a request that is answered at once.
    pub(super) fn begin_recorded<B>(
        tracer: &Arc<Tracer>,
        request: &Request<B>,
        parent: Option<SpanContext>,
    ) -> Option<Self> {
        let span = ServerSpan::begin_recorded(tracer, parent)?;
        Some(Self::of(span, request))
    }

    fn of<B>(span: ServerSpan, request: &Request<B>) -> Self {
        let attributes = match span.sampled() {
            Some(_) => of_request(request),
            None => Vec::new(),
        };
        Self { span, attributes }
    }

    /// Returns its position, recorded or not.
    pub(super) fn context(&self) -> SpanContext {
        self.span.context()
    }

    /// Returns its position if it is recorded.
    pub(super) fn sampled(&self) -> Option<SpanContext> {
        self.span.sampled()
    }

    /// Runs what answers the request; its spans are below this one.
    pub(super) fn around<F: Future>(&self, answer: F) -> impl Future<Output = F::Output> + use<F> {
        self.span.around(answer)
    }

    /// Adds that the response cache has answered at once, if it is recorded.
    pub(super) fn add_hit(&self, took: Duration) {
        if self.sampled().is_some() {
            let hit = CacheResult::Hit.as_str();
            self.span
                .add("cache", took, vec![("tidegate.cache", hit.into())]);
        }
    }

    /// Ends the span, if it is recorded.
    pub(super) fn end(&self, answer: Answer<'_>) {
        if self.sampled().is_none() {
            return;
        }
        // The name that the conventions have for methods that are not known.
        let method = match answer.method {
            "other" => "HTTP",
            known => known,
        };
        let mut attributes = self.attributes.clone();
        of_answer(&answer, &mut attributes);
        attributes.extend(answer.more);
        let is_error = answer.status >= 500;
        if is_error {
            let error = match answer.problem {
                Some(problem) => problem.kind().name().into(),
                None => Value::from(answer.status.to_string()),
            };
            attributes.push(("error.type", error));
        }
        self.span.end(ServerAnswer {
            name: match answer.route {
                Some(route) => Cow::Owned(format!("{method} {route}")),
                None => method.into(),
            },
            took: answer.took,
            attributes,
            is_error,
        });
    }
}

fn of_request<B>(request: &Request<B>) -> Vec<(&'static str, Value)> {
    let scheme = match request.extensions().get::<OverTls>() {
        Some(OverTls) => "https",
        None => "http",
    };
    let version = match request.version() {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    };
    let mut attributes: Vec<(_, Value)> = vec![
        ("url.path", request.uri().path().to_owned().into()),
        ("url.scheme", scheme.into()),
        ("network.protocol.version", version.into()),
    ];
    let agent = request.headers().get(USER_AGENT);
    if let Some(agent) = agent.and_then(|agent| agent.to_str().ok()) {
        attributes.push(("user_agent.original", agent.to_owned().into()));
    }
    attributes
}

fn of_answer(answer: &Answer<'_>, attributes: &mut Vec<(&'static str, Value)>) {
    let method = match answer.method {
        "other" => "_OTHER",
        known => known,
    };
    attributes.push(("http.request.method", method.into()));
    attributes.push(("http.response.status_code", answer.status.into()));
    if let Some(route) = answer.route {
        attributes.push(("http.route", route.to_owned().into()));
    }
    let account = answer.account;
    let served = account.served;
    let routed = account.routed;
    let region = routed.and_then(|routed| routed.region.as_ref());
    let known: [(_, Option<Value>); 6] = [
        (
            "tidegate.level",
            account.level().map(Level::as_str).map(Value::from),
        ),
        ("tidegate.node", served.map(|it| Value::from(&it.node))),
        (
            "tidegate.reason",
            served
                .and_then(|it| it.reason)
                .map(Reason::as_str)
                .map(Value::from),
        ),
        (
            "tidegate.cache",
            account
                .cache
                .map(CacheStatus::result)
                .map(|it| it.as_str().into()),
        ),
        ("tidegate.policy", routed.map(|it| Value::from(&it.policy))),
        (
            "tidegate.region",
            region.map(RegionId::to_string).map(Value::from),
        ),
    ];
    let known = known.into_iter();
    attributes.extend(known.filter_map(|(key, value)| Some((key, value?))));
}
