//! An answer of another region's gateway, on its way to the client.

use axum::body::Body;
use axum::response::Response;
use http::Version;
use hyper::body::Incoming;
use tidegate_model::RegionId;
use tokio::time::Duration;

use super::tunnel::Seat;
use crate::http::TIDEGATE_UNPROCESSED;
use crate::upstream::{AnswerSource, Download, DownloadError, strip_hop_by_hop};
use tidegate_telemetry::names;

/// What an answer comes over.
struct FromTunnel {
    seat: Seat,
    region: RegionId,
    idle_timeout: Duration,
}

impl AnswerSource for FromTunnel {
    fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    fn heard(&self) {}

    fn failed(&self, error: &DownloadError) {
        let (region, connection) = (&self.region, self.seat.0.connection);
        tracing::warn!(%region, ?connection, %error, "an answer of another region ended early");
        count(&self.region, "cut");
    }
}

/// Passes an answer on; its fields are those of the gateway that has served.
pub(super) fn pass_on(
    answer: Response<Incoming>,
    seat: Seat,
    region: &RegionId,
    idle_timeout: Duration,
) -> Response {
    let (mut head, body) = answer.into_parts();
    head.version = Version::default();
    strip_hop_by_hop(&mut head.headers);
    head.headers.remove(&TIDEGATE_UNPROCESSED);
    let source = FromTunnel {
        seat,
        region: region.clone(),
        idle_timeout,
    };
    Response::from_parts(head, Body::new(Download::new(body, source)))
}

/// Counts how a request ended that was handed on.
pub(super) fn count(region: &RegionId, outcome: &'static str) {
    let labels = [
        ("region", region.to_string()),
        ("outcome", outcome.to_owned()),
    ];
    metrics::counter!(names::TUNNEL_REQUESTS, &labels).increment(1);
}
