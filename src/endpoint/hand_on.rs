//! Serves a request in the regions that the traffic policy lists, one after the other, until one has
//! served it.

use std::sync::Arc;

use axum::response::Response;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::here::serve_here;
use super::reach::Reach;
use super::trip::{Trip, is_kept};
use super::{Call, Endpoint, Frontend};
use crate::http::{Account, Problem, TIDEGATE_ROUTE, TRACEPARENT, Unprocessed, trace_field};
use crate::regions::{RegionRoute, route_field};
use crate::tunnels::{
    Circumstances, End, HandOnError, Next, Parcel, SendError, Sent, TunnelFailure, Tunnels, next,
};
use crate::upstream::gateway_fields;
use tidegate_model::RegionId;
use tidegate_telemetry::trace::{ActiveSpan, SpanKind};

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
        call: Box<Call>,
        account: &mut Account,
    ) -> Result<Response, Problem> {
        let regions = self.regions();
        let starts_here = self.reach.is_here(regions[0]);
        let may_move = call.json.is_some() || is_kept(&call.body);
        let others = || regions.iter().any(|it| self.tunnels.is_open(it));
        if starts_here && !(may_move && others()) {
            return serve_here(self.frontend, self.endpoint, call, account).await;
        }
        let mut trip = self.begin(*call).await?;
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
        match self.reach.is_here(region) {
            true => !trip.was_here && (!trip.needs_primary || self.reaches_primary()),
            false => {
                let reaches_primary = || self.tunnels.reaches_primary(region);
                self.tunnels.is_open(region) && (!trip.needs_primary || reaches_primary())
            }
        }
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
        let call = Box::new(trip.call());
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
        let server = &self.frontend.server;
        Trip::begin(call, server, &self.endpoint.backend, self.route.budget).await
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
