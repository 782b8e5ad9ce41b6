//! Drains that an operator asks for.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::client::conn::http2::SendRequest;
use tidegate_fleet::DrainRequest;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::event::Event;
use super::grpc::{BytesCodec, DRAIN, client};
use super::membership::Membership;
use super::order::{DrainError, DrainOrder, DrainWay};
use super::view::FleetRegionView;

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
        let unreachable = || DrainError::Unreachable(order.region.clone());
        match self.way(&order).await? {
            DrainWay::Done => {}
            DrainWay::Ask(connection) => {
                let asked = timeout(ANSWER_MAX, ask(connection, &order)).await;
                if !asked.is_ok_and(|done| done) {
                    return Err(unreachable());
                }
            }
        }
        let until = Instant::now() + HEARD_MAX;
        loop {
            let view = self.view();
            let mut regions = view.regions.iter();
            let region = regions.find(|it| it.region == order.region.as_str());
            let region = region.ok_or_else(unreachable)?;
            let is_heard = (region.drained_for_s > 0) != order.time.is_zero();
            if is_heard || Instant::now() >= until {
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

/// Asks a gateway of another region to drain it; returns whether it has.
async fn ask(connection: SendRequest<Body>, order: &DrainOrder) -> bool {
    let request = DrainRequest {
        seconds: u32::try_from(order.time.as_secs()).unwrap_or(u32::MAX),
        force: order.force,
    };
    let mut client = client(connection);
    let message = tonic::Request::new(Bytes::from(request.encoded()));
    client.ready().await.is_ok() && client.unary(message, DRAIN, BytesCodec).await.is_ok()
}
