//! Requests that another region's gateway has handed on.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use tokio::time::Duration;

use super::account::Routed;
use super::problem_kind::ProblemKind;
use tidegate_model::RegionId;
use tidegate_traffic::decide::RegionReason;

/// Says where the traffic policy sends a request, and why.
pub static TIDEGATE_ROUTE: HeaderName = HeaderName::from_static("tidegate-route");

/// Carries the milliseconds that are left for a request that is handed on.
pub static TIDEGATE_DEADLINE: HeaderName = HeaderName::from_static("tidegate-deadline");

/// Says of an answer to a gateway that nothing was done, and why.
pub static TIDEGATE_UNPROCESSED: HeaderName = HeaderName::from_static("tidegate-unprocessed");

/// Carries the status of an answer to a WebSocket's handshake that does not change the protocol: over
/// HTTP/2 a successful answer to CONNECT would.
static TIDEGATE_STATUS: HeaderName = HeaderName::from_static("tidegate-status");

/// Stands in the extensions of a request that came over a tunnel. The gateway where it entered is
/// believed about its client, and it is served here: it is never handed on again.
#[derive(Debug, Clone)]
pub struct Hop {
    /// The region that has handed it on, by the certificate of its gateway.
    pub region: RegionId,
    /// The time that is left for it.
    pub time: Duration,
    /// Whether it is a probe of the gateway itself, which no stored answer satisfies.
    pub is_probe: bool,
}

/// The time for a probe.
const PROBE_TIME: Duration = Duration::from_secs(3);

/// Why nothing was done for a request that was handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unprocessed {
    /// No node could be reached.
    NoNode,
    /// The primary is needed and could not be reached.
    NoPrimary,
    /// There was no room.
    Overloaded,
}

impl Hop {
    /// Reads what a peer has sent; `None` if it is not a request that it hands on.
    #[must_use]
    pub fn read(region: &RegionId, headers: &HeaderMap) -> Option<Self> {
        let millis = headers.get(&TIDEGATE_DEADLINE)?.to_str().ok()?;
        Some(Self {
            region: region.clone(),
            time: Duration::from_millis(millis.parse().ok()?),
            is_probe: false,
        })
    }

    /// Makes the one of a probe.
    #[must_use]
    pub fn probe(region: &RegionId) -> Self {
        Self {
            region: region.clone(),
            time: PROBE_TIME,
            is_probe: true,
        }
    }

    /// Returns the decision of the gateway that has handed the request on, as far as it says so.
    #[must_use]
    pub fn routed(&self, own: &RegionId, headers: &HeaderMap) -> Arc<Routed> {
        let said = headers.get(&TIDEGATE_ROUTE);
        let said = said.and_then(|it| it.to_str().ok()).unwrap_or_default();
        let member = |name: &str| {
            let mut members = said.split(", ").filter_map(|it| it.split_once('='));
            let found = members.find(|(it, _)| *it == name);
            found.map(|(_, value)| value.trim_matches('"'))
        };
        Arc::new(Routed {
            policy: member("policy").unwrap_or_default().into(),
            proposed: member("proposed").and_then(|it| it.parse().ok()),
            region: Some(own.clone()),
            reason: RegionReason::Hop,
        })
    }
}

impl Unprocessed {
    /// Returns why a problem means that nothing was done, if it does.
    #[must_use]
    pub fn of(problem: ProblemKind) -> Option<Self> {
        match problem {
            ProblemKind::NoNode => Some(Self::NoNode),
            ProblemKind::NoPrimary => Some(Self::NoPrimary),
            ProblemKind::Overloaded => Some(Self::Overloaded),
            _ => None,
        }
    }

    /// Returns the problem that means this.
    #[must_use]
    pub fn problem(self) -> ProblemKind {
        match self {
            Self::NoNode => ProblemKind::NoNode,
            Self::NoPrimary => ProblemKind::NoPrimary,
            Self::Overloaded => ProblemKind::Overloaded,
        }
    }

    /// Reads the field of an answer.
    #[must_use]
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let all = [Self::NoNode, Self::NoPrimary, Self::Overloaded];
        let said = headers.get(&TIDEGATE_UNPROCESSED)?;
        all.into_iter().find(|it| it.field() == *said)
    }

    /// Returns the value of the field.
    #[must_use]
    pub fn field(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::NoNode => "no-node",
            Self::NoPrimary => "no-primary",
            Self::Overloaded => "overloaded",
        })
    }
}

/// Turns an answer that does not change the protocol into one that may be given to CONNECT.
pub fn refuse_upgrade<B>(answer: &mut Response<B>) {
    let status = answer.status();
    let headers = answer.headers_mut();
    headers.remove(&TIDEGATE_STATUS);
    if status.is_success() {
        headers.insert(&TIDEGATE_STATUS, HeaderValue::from(status.as_u16()));
        *answer.status_mut() = StatusCode::UPGRADE_REQUIRED;
    }
}

/// Takes the status out of the fields of such an answer.
pub fn refused_upgrade(headers: &mut HeaderMap) -> Option<StatusCode> {
    let status = headers.remove(&TIDEGATE_STATUS)?;
    let status = StatusCode::from_bytes(status.as_bytes()).ok()?;
    status.is_success().then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name.clone(), HeaderValue::from_static(value))])
    }

    #[test]
    fn a_successful_answer_without_an_upgrade_is_carried_by_another_status() {
        for (status, carrier) in [(200, 426), (204, 426), (403, 403), (302, 302)] {
            let mut answer = Response::new(());
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            // An application's own field counts for nothing.
            answer
                .headers_mut()
                .insert(&TIDEGATE_STATUS, HeaderValue::from_static("299"));
            refuse_upgrade(&mut answer);
            assert_eq!(answer.status(), carrier);
            let restored = refused_upgrade(answer.headers_mut());
            assert_eq!(restored.unwrap_or(answer.status()), status);
            assert!(answer.headers().is_empty());
        }
    }

    #[test]
    fn a_request_without_a_deadline_is_not_handed_on() {
        let region: RegionId = "us-east-1".parse().unwrap();
        for (value, expected) in [
            ("9730", Some(9_730)),
            ("", None),
            ("-1", None),
            ("1s", None),
        ] {
            let hop = Hop::read(&region, &headers(&TIDEGATE_DEADLINE, value));
            assert_eq!(hop.map(|it| it.time.as_millis()), expected, "{value}");
        }
        assert!(Hop::read(&region, &HeaderMap::new()).is_none());
    }

    #[test]
    fn the_entrys_decision_is_taken_over_with_the_reason_hop() {
        let own: RegionId = "us-east-1".parse().unwrap();
        let hop = Hop::probe(&own);
        let said = "policy=\"1st\", region=us-east-1, proposed=eu-west-1, reason=left";
        let routed = hop.routed(&own, &headers(&TIDEGATE_ROUTE, said));
        assert_eq!(&*routed.policy, "1st");
        assert_eq!(routed.proposed, Some("eu-west-1".parse().unwrap()));
        assert_eq!(
            (&routed.region, routed.reason),
            (&Some(own), RegionReason::Hop)
        );
    }

    #[test]
    fn the_three_problems_of_a_request_that_nothing_was_done_for_are_read_again() {
        for kind in [
            ProblemKind::NoNode,
            ProblemKind::NoPrimary,
            ProblemKind::Overloaded,
        ] {
            let unprocessed = Unprocessed::of(kind).unwrap();
            assert_eq!(unprocessed.problem(), kind);
            let headers =
                HeaderMap::from_iter([(TIDEGATE_UNPROCESSED.clone(), unprocessed.field())]);
            assert_eq!(Unprocessed::read(&headers), Some(unprocessed));
        }
        assert_eq!(Unprocessed::of(ProblemKind::Deadline), None);
        assert_eq!(
            Unprocessed::read(&headers(&TIDEGATE_UNPROCESSED, "x")),
            None
        );
    }
}
