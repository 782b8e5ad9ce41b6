//! Serves a request in the regions that the traffic policy lists, one after the other, until one has
//! served it.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, Method};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;
use smallvec::SmallVec;
use tokio::time::{Instant, timeout};

use super::here::serve_here;
use super::reach::Reach;
use super::{Backend, Call, Endpoint, Frontend};
use crate::http::{Account, Problem, TIDEGATE_ROUTE, TRACEPARENT, Unprocessed, trace_field};
use crate::regions::{RegionRoute, route_field};
use crate::tunnels::{
    Circumstances, End, HandOnError, Next, Parcel, Payload, SendError, Sent, TunnelFailure,
    Tunnels, next,
};
use crate::upstream::{Upload, UpstreamError, gateway_fields, requested_host, wants_websocket};
use tidegate_model::{RegionId, X_CONSISTENCY_TOKEN};
use tidegate_telemetry::trace::{ActiveSpan, SpanKind};

/// The longest body that is read before a request is handed on, so that it can be sent again. Longer
/// ones are passed on as they arrive.
const KEPT_BYTES_MAX: u64 = 64 * 1024;

/// One request, on its way from region to region.
pub(super) struct Journey<'a> {
    pub(super) frontend: &'a Frontend,
    pub(super) endpoint: &'a Endpoint,
    pub(super) route: &'a RegionRoute,
    pub(super) reach: Reach<'a>,
    pub(super) tunnels: &'a Tunnels,
}

/// What a region has made of a request.
enum Asked {
    /// It has served it.
    Served(Response),
    /// It has not.
    Failed(TunnelFailure, Rest),
}

/// What the client gets where it is the end.
enum Rest {
    /// The answer of another region's gateway, or nothing.
    There(Option<Response>),
    /// The problem that was met here.
    Here(Problem),
}

impl<'a> Journey<'a> {
    /// Returns the journey of a request by the traffic policy's decision, if there is one, and a fleet.
    pub(super) fn by(
        frontend: &'a Frontend,
        endpoint: &'a Endpoint,
        route: Option<&'a RegionRoute>,
    ) -> Option<Self> {
        let reach = Reach::of(frontend, &endpoint.backend);
        Some(Self {
            frontend,
            endpoint,
            route: route?,
            reach,
            tunnels: reach.tunnels?,
        })
    }

    /// Serves a request, here or in another region.
    ///
    /// # Errors
    /// The problem to answer.
    pub(super) async fn serve(
        &self,
        call: Call,
        account: &mut Account,
    ) -> Result<Response, Problem> {
        let regions = self.regions();
        let starts_here = self.reach.is_here(regions[0]);
        let may_move = call.json.is_some() || is_kept(&call.body);
        let others = || regions.iter().any(|it| self.tunnels.is_open(it));
        if starts_here && !(may_move && others()) {
            return serve_here(self.frontend, self.endpoint, call, account).await;
        }
        let mut trip = self.begin(call).await?;
        for (at, region) in regions.iter().enumerate() {
            if !self.can_be_asked(region, &trip) {
                continue;
            }
            let routed = self.route.moved_to(region);
            account.routed = Some(Arc::clone(&routed));
            let asked = match self.reach.is_here(region) {
                true => self.ask_here(&mut trip, account).await?,
                false => self.ask_there(&mut trip, region, account).await?,
            };
            let (failure, rest) = match asked {
                Asked::Served(response) => return Ok(response),
                Asked::Failed(failure, rest) => (failure, rest),
            };
            if let Err(end) = self.follow(failure, region, &regions[at + 1..], &mut trip) {
                return rest.end(end, region, account);
            }
        }
        Err(HandOnError::of(End::Unavailable, regions[0]).into())
    }

    /// Decides what follows a failure in a region: one of the `others`, or the end.
    pub(super) fn follow(
        &self,
        failure: TunnelFailure,
        region: &RegionId,
        others: &[&RegionId],
        trip: &mut Trip,
    ) -> Result<(), End> {
        let reached = !matches!(failure, TunnelFailure::NoTunnel | TunnelFailure::NoTime);
        trip.failed += usize::from(reached);
        trip.needs_primary |= failure == TunnelFailure::Unprocessed(Unprocessed::NoPrimary);
        let circumstances = Circumstances {
            safe: trip.parcel.is_safe(),
            whole: trip.parcel.payload.is_whole(),
            sent: reached,
            failed: trip.failed,
            regions_max: self.route.repeats_max,
        };
        match next(failure, &circumstances) {
            Next::Region { paid, end } => {
                let pays = || !paid || self.tunnels.may_retry(region, self.route.budget);
                let is_left = others.iter().any(|it| self.can_be_asked(it, trip));
                if is_left && pays() { Ok(()) } else { Err(end) }
            }
            Next::End(end) => Err(end),
        }
    }

    /// Returns the regions of the route, and this one as the last resort if it may serve.
    pub(super) fn regions(&self) -> SmallVec<[&RegionId; 8]> {
        if self.route.is_here_only {
            return SmallVec::from_elem(self.reach.own, 1);
        }
        let mut regions: SmallVec<[_; 8]> = self.route.order().iter().collect();
        if self.route.may_be_here && !regions.contains(&self.reach.own) {
            regions.push(self.reach.own);
        }
        regions
    }

    /// Whether a region can be asked now.
    pub(super) fn can_be_asked(&self, region: &RegionId, trip: &Trip) -> bool {
        let (has_way, reaches_primary) = match self.reach.is_here(region) {
            true => (!trip.was_here, self.reaches_primary()),
            false => (
                self.tunnels.is_open(region),
                self.tunnels.reaches_primary(region),
            ),
        };
        has_way && (!trip.needs_primary || reaches_primary)
    }

    fn reaches_primary(&self) -> bool {
        let monitor = &self.frontend.backends.database.monitor;
        monitor.knowledge().reaches_primary()
    }

    async fn ask_here(&self, trip: &mut Trip, account: &mut Account) -> Result<Asked, Problem> {
        trip.was_here = true;
        if trip.parcel.time_left().is_zero() {
            return Ok(Asked::Failed(TunnelFailure::NoTime, Rest::There(None)));
        }
        let call = trip.call();
        match serve_here(self.frontend, self.endpoint, call, account).await {
            Ok(response) => Ok(Asked::Served(response)),
            Err(problem) => match Unprocessed::of(problem.kind()) {
                Some(why) => Ok(Asked::Failed(
                    TunnelFailure::Unprocessed(why),
                    Rest::Here(problem),
                )),
                None => Err(problem),
            },
        }
    }

    async fn ask_there(
        &self,
        trip: &mut Trip,
        region: &RegionId,
        account: &mut Account,
    ) -> Result<Asked, Problem> {
        if trip.parcel.headers.is_empty() {
            let proxy = &self.frontend.backends.proxy;
            trip.parcel.headers = gateway_fields(proxy, &trip.rest.head, account);
        }
        let asked_at = Instant::now();
        let sent = self.send(trip, region).await;
        account.timing.hand_on += asked_at.elapsed();
        Ok(match sent? {
            Sent::Answer(answer) => {
                account.handed_on = true;
                Asked::Served(answer)
            }
            Sent::Failed(failure, answer) => Asked::Failed(failure, Rest::There(answer)),
        })
    }

    /// Sends a request to another region.
    pub(super) async fn send(&self, trip: &mut Trip, region: &RegionId) -> Result<Sent, SendError> {
        let routed = self.route.moved_to(region);
        if let Some(field) = route_field(&routed) {
            trip.parcel.headers.insert(&TIDEGATE_ROUTE, field);
        }
        let mut span = ActiveSpan::begin("hand-on", SpanKind::Client);
        if let Some(context) = span.context() {
            let field = trace_field(context);
            trip.parcel.headers.insert(&TRACEPARENT, field);
        }
        let sent = self.tunnels.send(region, &trip.parcel).await;
        describe(&mut span, region, &trip.parcel, &sent);
        sent
    }

    /// Prepares a request to be sent to several regions.
    pub(super) async fn begin(&self, call: Call) -> Result<Trip, Problem> {
        let Call {
            head,
            body,
            json,
            path,
            ..
        } = call;
        let reads_json = json.is_some();
        let payload = match json {
            Some(json) => Payload::Whole(json),
            None => self.payload(body).await?,
        };
        let server = &self.frontend.server;
        // A statement never changes the protocol.
        let may_upgrade = matches!(self.endpoint.backend, Backend::Upstream { .. });
        let websocket = (may_upgrade && wants_websocket(&head, matches!(payload, Payload::None)))
            .then(|| head.extensions.get::<OnUpgrade>().cloned())
            .flatten();
        let parcel = Parcel {
            method: head.method.clone(),
            query: head.uri.query().map(str::to_owned),
            host: requested_host(&head),
            // Made when it is first handed on: most requests are not.
            headers: HeaderMap::new(),
            may_be_probed: websocket.is_none()
                && may_be_probed(&head.method, &head.headers, head.uri.query(), &payload),
            websocket,
            payload,
            time: self.endpoint.backend.time(server.request_deadline),
            started: Instant::now(),
            budget: self.route.budget,
            path: path.clone(),
        };
        Ok(Trip {
            parcel,
            reads_json,
            was_here: false,
            failed: 0,
            needs_primary: false,
            rest: Call {
                head,
                body: Body::empty(),
                json: None,
                path,
                ..call
            },
        })
    }

    async fn payload(&self, body: Body) -> Result<Payload, Problem> {
        let server = &self.frontend.server;
        let hint = body.size_hint();
        if body.is_end_stream() {
            return Ok(Payload::None);
        }
        let bytes_max = server.body_bytes_max;
        if hint.lower() > bytes_max as u64 {
            return Err(UpstreamError::BodyTooLarge(bytes_max).into());
        }
        if is_kept(&body) {
            let whole = timeout(server.body_timeout, body.collect()).await;
            let whole = whole.map_err(|_elapsed| UpstreamError::BodyTooSlow)?;
            let whole = whole.map_err(|_broken| UpstreamError::BodyBroken)?;
            return Ok(Payload::Whole(whole.to_bytes()));
        }
        let until = Instant::now() + server.body_timeout;
        Ok(Payload::Stream(Upload::new(body, bytes_max, until)))
    }
}

/// A request that may be sent to several regions.
pub(super) struct Trip {
    pub(super) parcel: Parcel,
    reads_json: bool,
    /// Whether this gateway's own backend was asked.
    pub(super) was_here: bool,
    /// In how many regions it has failed that it may have reached.
    failed: usize,
    /// Whether a region has not served it for want of a primary.
    needs_primary: bool,
    /// All but the body.
    rest: Call,
}

impl Trip {
    /// Returns the request for this gateway's own backend.
    fn call(&self) -> Call {
        let (body, json) = match &self.parcel.payload {
            Payload::None => (Body::empty(), self.reads_json.then(Bytes::new)),
            Payload::Whole(bytes) if self.reads_json => (Body::empty(), Some(bytes.clone())),
            Payload::Whole(bytes) => (Body::from(bytes.clone()), None),
            Payload::Stream(upload) => (upload.take_back().unwrap_or_default(), None),
        };
        let time_left = self.parcel.time_left();
        Call {
            body,
            json,
            time: time_left.min(self.rest.time),
            time_left: Some(time_left),
            ..self.rest.without_body()
        }
    }
}

impl Rest {
    fn end(self, end: End, region: &RegionId, account: &mut Account) -> Result<Response, Problem> {
        match (self, end) {
            (Self::Here(problem), _) => Err(problem),
            (Self::There(Some(answer)), End::Answer) => {
                account.handed_on = true;
                Ok(answer)
            }
            (Self::There(_), end) => Err(HandOnError::of(end, region).into()),
        }
    }
}

/// Says in a span what came of a request to another region.
fn describe(
    span: &mut ActiveSpan,
    region: &RegionId,
    parcel: &Parcel,
    sent: &Result<Sent, SendError>,
) {
    if !span.is_recorded() {
        return;
    }
    span.set("http.request.method", parcel.method.to_string());
    span.set("tidegate.region", region.to_string());
    let status = match sent {
        Ok(Sent::Answer(answer) | Sent::Failed(_, Some(answer))) => Some(answer.status()),
        Ok(Sent::Failed(_, None)) | Err(_) => None,
    };
    if let Some(status) = status {
        span.set("http.response.status_code", status.as_u16());
    }
    match sent {
        Ok(Sent::Answer(answer)) if answer.status().is_server_error() => {
            span.fail(answer.status().as_str().to_owned());
        }
        Ok(Sent::Answer(_)) => {}
        Ok(Sent::Failed(failure, _)) => span.fail(failure.name()),
        Err(_) => span.fail("body"),
    }
}

/// Whether a body is read before its request is sent, so that it can be sent again.
fn is_kept(body: &Body) -> bool {
    let upper = body.size_hint().upper();
    body.is_end_stream() || upper.is_some_and(|upper| upper <= KEPT_BYTES_MAX)
}

/// Whether a probe may ask for the same: nothing of it is one client's.
fn may_be_probed(
    method: &Method,
    headers: &HeaderMap,
    query: Option<&str>,
    payload: &Payload,
) -> bool {
    let of_client = [AUTHORIZATION, COOKIE, X_CONSISTENCY_TOKEN.clone()];
    *method == Method::GET
        && query.is_none()
        && matches!(payload, Payload::None)
        && !of_client.iter().any(|name| headers.contains_key(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_requests_that_are_nobodys_are_asked_again_by_probes() {
        let field = |name: &'static str| {
            HeaderMap::from_iter([(name.parse().unwrap(), "x".parse().unwrap())])
        };
        let may = |headers: &HeaderMap, query| {
            may_be_probed(&Method::GET, headers, query, &Payload::None)
        };
        assert!(may(&field("accept"), None));
        assert!(!may(&HeaderMap::new(), Some("a=1")));
        for name in ["authorization", "cookie", "x-consistency-token"] {
            assert!(!may(&field(name), None), "{name}");
        }
        let none = HeaderMap::new();
        assert!(!may_be_probed(&Method::POST, &none, None, &Payload::None));
        let body = Payload::Whole(Bytes::from_static(b"x"));
        assert!(!may_be_probed(&Method::GET, &none, None, &body));
    }
}
