//! Sends a request to a region, over whichever of its tunnels takes it.

use std::time::Duration;

use axum::response::Response;
use http::header::AGE;
use http::{HeaderMap, StatusCode};
use hyper::body::Incoming;
use smallvec::SmallVec;
use tidegate_fleet::ConnectionId;
use tidegate_model::RegionId;
use tidegate_traffic::health::Outcome;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::answer::{pass_on, switch};
use super::table::RegionTunnels;
use super::tunnel::Seat;
use super::tunnel_metrics::ANSWERED;
use super::{Handed, HandedEnd, Parcel, Payload, TunnelFailure, Tunnels};
use crate::http::{LoggedId, Unprocessed, refused_upgrade};
use crate::upstream::{UploadState, UpstreamError, encode_path};

/// How long an answer may be silent once it has begun.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Time after the body's own bound in which a late client body reports that itself.
const UPLOAD_MARGIN: Duration = Duration::from_millis(50);

/// What came of sending a request to a region.
pub enum Sent {
    /// An answer, which is passed on.
    Answer(Response),
    /// The region has not served it; perhaps it says so itself.
    Failed(TunnelFailure, Option<Response>),
}

/// The client's body could not be passed on: no other region can help.
pub type SendError = UpstreamError;

impl Tunnels {
    /// Sends a request to a region and waits for the head of the answer. Dropping the future resets the
    /// stream, so that the work there ends.
    ///
    /// # Errors
    /// When the client's body is too large, late or broken.
    pub async fn send(&self, region: &RegionId, parcel: &Parcel) -> Result<Sent, SendError> {
        let Some(known) = self.region(region) else {
            return Ok(Sent::Failed(TunnelFailure::NoTunnel, None));
        };
        known.count(parcel.budget);
        let mut outcome = OutcomeCount {
            region,
            known: &known,
            outcome: "cancelled",
        };
        let sent = self.send_over_any(region, &known, parcel).await;
        outcome.outcome = match &sent {
            Ok(Sent::Answer(_)) => ANSWERED,
            Ok(Sent::Failed(TunnelFailure::NoTunnel, _)) => "refused",
            Ok(Sent::Failed(TunnelFailure::Deadline | TunnelFailure::NoTime, _)) => "deadline",
            Ok(Sent::Failed(TunnelFailure::Unprocessed(_), _)) => "moved",
            Ok(Sent::Failed(..)) if parcel.is_safe() => "moved",
            Ok(Sent::Failed(..)) => "unknown",
            Err(_) => "cancelled",
        };
        sent
    }

    async fn send_over_any(
        &self,
        region: &RegionId,
        known: &RegionTunnels,
        parcel: &Parcel,
    ) -> Result<Sent, SendError> {
        let mut tried = SmallVec::<[ConnectionId; 4]>::new();
        loop {
            let seat = Seat::take(&known.tunnels(), &tried);
            let Some(seat) = seat.filter(|_| parcel.payload.is_whole()) else {
                return Ok(Sent::Failed(TunnelFailure::NoTunnel, None));
            };
            tried.push(seat.0.connection);
            match self.send_over((region, known), seat, parcel).await? {
                // Another gateway of the region may take it.
                Sent::Failed(TunnelFailure::NoTunnel, _) => {}
                sent => return Ok(sent),
            }
        }
    }

    async fn send_over(
        &self,
        (region, known): (&RegionId, &RegionTunnels),
        seat: Seat,
        parcel: &Parcel,
    ) -> Result<Sent, SendError> {
        if parcel.time_left().is_zero() {
            return Ok(Sent::Failed(TunnelFailure::NoTime, None));
        }
        let connection = seat.0.connection;
        let mut sender = seat.0.sender();
        let sending = async {
            sender.ready().await?;
            sender.send_request(parcel.request(region)).await
        };
        let answered = tokio::select! {
            biased;
            answered = sending => answered,
            ended = out_of_time(parcel) => {
                ended?;
                let took = took(parcel);
                self.tell(ended_as(connection, Outcome::Failed, took));
                return Ok(Sent::Failed(TunnelFailure::Deadline, None));
            }
        };
        match answered {
            Ok(answer) => Ok(self.take_answer((region, known), seat, parcel, answer)),
            Err(error) => {
                if let Some(error) = body_error(parcel) {
                    return Err(error);
                }
                let failure = TunnelFailure::of(&error);
                tracing::debug!(%region, ?failure, %error, "a request that was handed on has failed");
                match failure {
                    TunnelFailure::Lost => self.tell(Handed {
                        connection,
                        end: HandedEnd::Lost,
                        path: None,
                    }),
                    TunnelFailure::Reset => {
                        self.tell(ended_as(connection, Outcome::Failed, took(parcel)))
                    }
                    _ => {}
                }
                Ok(Sent::Failed(failure, None))
            }
        }
    }

    fn take_answer(
        &self,
        (region, known): (&RegionId, &RegionTunnels),
        seat: Seat,
        parcel: &Parcel,
        mut answer: Response<Incoming>,
    ) -> Sent {
        let switches = parcel.websocket.is_some() && answer.status() == StatusCode::OK;
        if parcel.websocket.is_some()
            && let Some(status) = refused_upgrade(answer.headers_mut())
        {
            *answer.status_mut() = status;
        }
        let unprocessed = Unprocessed::read(answer.headers());
        let outcome = outcome_of(answer.status(), answer.headers());
        let took = took(parcel);
        known.metrics.took(region, took);
        // How long a stored answer takes says nothing of a probe, which none satisfies.
        let is_stored = answer.headers().contains_key(AGE);
        let may_be_probed = parcel.may_be_probed && answer.status().is_success() && !is_stored;
        let path = may_be_probed.then(|| encode_path(&parcel.path).into());
        self.tell(Handed {
            path,
            ..ended_as(seat.0.connection, outcome, took)
        });
        if let Some(client) = parcel.websocket.as_ref().filter(|_| switches) {
            return Sent::Answer(switch(answer, seat, client.clone(), IDLE_TIMEOUT));
        }
        let request_id = LoggedId::of(&parcel.headers);
        let answer = pass_on(answer, seat, region, request_id, IDLE_TIMEOUT);
        match unprocessed {
            Some(why) => Sent::Failed(TunnelFailure::Unprocessed(why), Some(answer)),
            None => Sent::Answer(answer),
        }
    }
}

/// Counts how a request ends, also if it is dropped.
struct OutcomeCount<'a> {
    region: &'a RegionId,
    known: &'a RegionTunnels,
    outcome: &'static str,
}

impl Drop for OutcomeCount<'_> {
    fn drop(&mut self) {
        self.known.metrics.count(self.region, self.outcome);
    }
}

fn ended_as(connection: ConnectionId, outcome: Outcome, took: Duration) -> Handed {
    Handed {
        connection,
        end: HandedEnd::Ended(outcome, took),
        path: None,
    }
}

/// How an answer counts for the region that gave it: what clients cause is no failure.
#[must_use]
pub fn outcome_of(status: StatusCode, headers: &HeaderMap) -> Outcome {
    match Unprocessed::read(headers) {
        Some(Unprocessed::NoPrimary) => Outcome::NoPrimary,
        _ if status.is_server_error() => Outcome::Failed,
        _ => Outcome::Served,
    }
}

/// The time since the request was read: an answer to a body that was not read is immediate.
fn took(parcel: &Parcel) -> Duration {
    parcel.read_at().map_or(Duration::ZERO, |at| at.elapsed())
}

/// Completes when the request has taken too long.
async fn out_of_time(parcel: &Parcel) -> Result<(), SendError> {
    if let Payload::Stream(upload) = &parcel.payload {
        let ended = timeout_at(upload.until() + UPLOAD_MARGIN, upload.ended()).await;
        if let Some(error) = body_error(parcel) {
            // The connection reports a broken body, too, and first.
            tokio::time::sleep(UPLOAD_MARGIN).await;
            return Err(error);
        }
        if ended.is_err() {
            // A late client would have been reported; here the region accepts no more.
            return Ok(());
        }
    }
    sleep_until(Instant::now() + parcel.time_left()).await;
    Ok(())
}

/// Why the client's body cannot be passed on, if it cannot.
fn body_error(parcel: &Parcel) -> Option<SendError> {
    let Payload::Stream(upload) = &parcel.payload else {
        return None;
    };
    match upload.state() {
        UploadState::TooLarge => Some(UpstreamError::BodyTooLarge(upload.bytes_max())),
        UploadState::TooSlow => Some(UpstreamError::BodyTooSlow),
        UploadState::Broken => Some(UpstreamError::BodyBroken),
        UploadState::Whole | UploadState::Flowing | UploadState::Taken(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Method;

    use super::*;
    use crate::upstream::Upload;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_a_region_does_not_read_is_waited_for_no_longer_than_it_may_take() {
        let until = Instant::now() + Duration::from_secs(30);
        let parcel = Parcel {
            method: Method::POST,
            path: "/x".to_owned(),
            query: None,
            host: None,
            headers: HeaderMap::new(),
            payload: Payload::Stream(Upload::new(Body::from("x"), 10, until)),
            time: Duration::from_secs(10),
            started: Instant::now(),
            budget: 0,
            may_be_probed: false,
            websocket: None,
        };
        assert!(out_of_time(&parcel).await.is_ok());
        assert!(until.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn only_a_failure_of_the_region_counts_as_one() {
        let outcome = |status| outcome_of(StatusCode::from_u16(status).unwrap(), &HeaderMap::new());
        assert_eq!([200, 304, 404, 429].map(outcome), [Outcome::Served; 4]);
        assert_eq!([500, 503].map(outcome), [Outcome::Failed; 2]);
    }
}
