//! An answer of another region's gateway, on its way to the client.

use axum::body::Body;
use axum::response::Response;
use futures_util::FutureExt;
use http::{StatusCode, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tidegate_model::RegionId;
use tokio::time::Duration;

use super::tunnel::Seat;
use super::tunnel_metrics::count;
use crate::http::{AfterHttp, LoggedId, TIDEGATE_UNPROCESSED};
use crate::upstream::{
    AnswerSource, Download, DownloadError, relay_upgraded, strip_hop_by_hop, with_websocket,
};

/// What an answer comes over.
struct FromTunnel {
    seat: Seat,
    region: RegionId,
    request_id: Option<LoggedId>,
    idle_timeout: Duration,
}

impl AnswerSource for FromTunnel {
    fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    fn heard(&self) {}

    fn failed(&self, error: &DownloadError) {
        let (region, connection) = (&self.region, self.seat.0.connection);
        let request_id = self.request_id.as_ref().and_then(LoggedId::as_str);
        tracing::warn!(request_id, %region, ?connection, %error, "an answer of another region ended early");
        count(&self.region, "cut");
    }
}

/// Passes an answer on; its fields are those of the gateway that has served.
pub(super) fn pass_on(
    answer: Response<Incoming>,
    seat: Seat,
    region: &RegionId,
    request_id: Option<LoggedId>,
    idle_timeout: Duration,
) -> Response {
    let (mut head, body) = answer.into_parts();
    head.version = Version::default();
    strip_hop_by_hop(&mut head.headers);
    head.headers.remove(&TIDEGATE_UNPROCESSED);
    let source = FromTunnel {
        seat,
        region: region.clone(),
        request_id,
        idle_timeout,
    };
    Response::from_parts(head, Body::new(Download::new(body, source)))
}

/// Connects a client to the application that has accepted a WebSocket there.
pub(super) fn switch(
    mut answer: Response<Incoming>,
    seat: Seat,
    client: OnUpgrade,
    idle_timeout: Duration,
) -> Response {
    let there = hyper::upgrade::on(&mut answer);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let mut headers = std::mem::take(answer.headers_mut());
    strip_hop_by_hop(&mut headers);
    *response.headers_mut() = with_websocket(headers);
    let rest = async move {
        relay_upgraded(client, there, idle_timeout).await;
        drop(seat);
    };
    response
        .extensions_mut()
        .insert(AfterHttp::new(rest.boxed()));
    response
}
