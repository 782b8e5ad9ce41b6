//! Drains that an operator asks for.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::client::conn::http2::SendRequest;
use tidegate_fleet::DrainRequest;
use tidegate_model::RegionId;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Status};

use super::event::Event;
use super::grpc::{BytesCodec, DRAIN, client};
use super::membership::Membership;
use super::order::{DrainError, DrainOrder, DrainWay};
use super::view::{FleetRegionView, whole_seconds};

/// How long another region's gateway may take.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// How often it is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long the change may take to be heard of here.
const HEARD_MAX: Duration = Duration::from_secs(2);

impl Membership {
    /// Drains a region for some time or ends its drain, and returns it as it is then.
    ///
    /// # Errors
    /// Why it is not done.
    pub async fn drain(&self, order: DrainOrder) -> Result<FleetRegionView, DrainError> {
        let before = match self.way(&order).await? {
            DrainWay::Done => None,
            DrainWay::Ask {
                connection,
                version,
            } => {
                ask(connection, &order).await?;
                Some(version)
            }
        };
        let until = Instant::now() + HEARD_MAX;
        loop {
            let view = self.view();
            let mut regions = view.regions.iter();
            let region = regions.find(|it| it.region == order.region.as_str());
            let region = region.ok_or_else(|| DrainError::Unreachable(order.region.clone()))?;
            if before != Some(region.drain_version) || Instant::now() >= until {
                return Ok(region.clone());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn way(&self, order: &DrainOrder) -> Result<DrainWay, DrainError> {
        let (done, answer) = oneshot::channel();
        let event = Event::Operate {
            order: order.clone(),
            done,
        };
        let unreachable = || DrainError::Unreachable(order.region.clone());
        let sent = self.events.send(event);
        sent.await.map_err(|_ended| unreachable())?;
        answer.await.map_err(|_ended| unreachable())?
    }
}

/// Asks a gateway of another region to drain it.
async fn ask(connection: SendRequest<Body>, order: &DrainOrder) -> Result<(), DrainError> {
    let mut client = client(connection);
    let message = tonic::Request::new(Bytes::from(request_of(order).encoded()));
    let asked = async {
        let unavailable = |error: hyper::Error| Status::unavailable(error.to_string());
        client.ready().await.map_err(unavailable)?;
        client.unary(message, DRAIN, BytesCodec).await
    };
    let answered = timeout(ANSWER_MAX, asked).await;
    let answered = answered.unwrap_or_else(|_elapsed| Err(Status::deadline_exceeded("no answer")));
    match answered {
        Ok(_) => Ok(()),
        Err(status) => Err(refused(&status, &order.region)),
    }
}

/// Says an order in whole seconds: rather a longer drain than one that ends too soon.
fn request_of(order: &DrainOrder) -> DrainRequest {
    DrainRequest {
        seconds: u32::try_from(whole_seconds(order.time)).unwrap_or(u32::MAX),
        force: order.force,
    }
}

/// Why a gateway has not drained its region, by its answer.
fn refused(status: &Status, region: &RegionId) -> DrainError {
    match status.code() {
        Code::FailedPrecondition => DrainError::Last,
        Code::PermissionDenied => DrainError::Unlisted(region.clone()),
        code => {
            tracing::warn!(%region, ?code, "a gateway that was to drain its region has not done so");
            DrainError::Unreachable(region.clone())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Problem;

    #[test]
    fn another_region_is_not_drained_for_less_than_was_wanted() {
        for (millis, seconds) in [(0, 0), (1_000, 1), (1_900, 2), (86_400_000, 86_400)] {
            let order = DrainOrder {
                region: "us-east-1".parse().unwrap(),
                time: Duration::from_millis(millis),
                force: false,
            };
            assert_eq!(request_of(&order).seconds, seconds, "{millis} ms");
        }
    }

    #[test]
    fn a_refusal_is_told_apart_from_a_region_that_cannot_be_reached() {
        let region: RegionId = "us-east-1".parse().unwrap();
        for (status, expected) in [
            (Status::failed_precondition("x"), 409_u16),
            (Status::permission_denied("x"), 409),
            (Status::unavailable("x"), 503),
            (Status::deadline_exceeded("x"), 503),
        ] {
            let problem = Problem::from(refused(&status, &region));
            assert_eq!(problem.status(), expected, "{status}");
        }
    }
}
