//! The position that a client has seen after an application's answer: the application states it, or the
//! primary is asked for it.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tokio::time::Instant;

use super::Proxy;
use crate::http::Account;
use tidegate_model::{
    Consistency, Lsn, RequestToken, TimelineHistory, TokenKeys, WalPosition, WriteLost,
    X_CONSISTENCY_TOKEN,
};
use tidegate_policy::{Decision, is_one_clients};
use tidegate_telemetry::names;

/// How an application states what its answer has seen: `0/16B3748`, on the primary's timeline.
pub(super) static X_DATABASE_POSITION: HeaderName = HeaderName::from_static("x-database-position");

/// The media types of gRPC begin with this.
const GRPC: &[u8] = b"application/grpc";

/// The source of the positions of an endpoint's answers, beside the application's own token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PositionSource {
    /// The application states them.
    #[default]
    Header,
    /// The primary is asked after an unsafe request, unless the application states one.
    Ask,
    /// There is none.
    None,
}

impl FromStr for PositionSource {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "header" => Ok(Self::Header),
            "ask" => Ok(Self::Ask),
            "none" => Ok(Self::None),
            _ => Err("expected `header`, `ask` or `none`"),
        }
    }
}

impl fmt::Display for PositionSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Header => "header",
            Self::Ask => "ask",
            Self::None => "none",
        })
    }
}

/// Returns the position that the client has seen with an answer, never older than what it had seen
/// before; `account` records whether one could not be had.
pub(super) async fn position_seen<B>(
    proxy: &Proxy,
    source: PositionSource,
    request: &Parts,
    decision: &Decision,
    answer: &Response<B>,
    account: &mut Account,
) -> Option<WalPosition> {
    let headers = answer.headers();
    if may_be_shared(decision, headers) {
        return None;
    }
    let token = token(&proxy.tokens, headers);
    let lsn = match source {
        PositionSource::None => None,
        PositionSource::Header | PositionSource::Ask => lsn(headers),
    };
    let (result, position) = if token.is_some() || lsn.is_some() {
        let known = proxy.database.monitor.knowledge();
        let lineage = known.lineage.as_deref();
        // While the primary cannot be reached, another may be taking over: an LSN alone says nothing.
        let lsn = lsn.filter(|_| known.reaches_primary());
        ("stated", stated(token, lsn, lineage))
    } else if source == PositionSource::Ask && is_asked_for(request, answer) {
        let started = Instant::now();
        let position = proxy.database.insert_position().await;
        account.timing.wait += started.elapsed();
        ("asked", position)
    } else {
        return None;
    };
    let position = position.and_then(|position| not_older(decision.token, position));
    account.position_missed = position.is_none();
    let result = position.map_or("missed", |_| result);
    metrics::counter!(names::UPSTREAM_POSITIONS, "result" => result).increment(1);
    position
}

/// Whether other clients may get an answer: it carries no token. An unsafe method is always strong, and its
/// answer is not stored.
fn may_be_shared(decision: &Decision, headers: &HeaderMap) -> bool {
    let is_read = decision.consistency != Consistency::STRONG;
    decision.shared_cacheable || decision.own_rules && is_read && !is_one_clients(headers)
}

/// Returns the position of the application's token, if this gateway's keys signed it. An application has such
/// a token if it has used an SQL endpoint.
fn token(tokens: &TokenKeys, headers: &HeaderMap) -> Option<WalPosition> {
    let fields = headers.get_all(&X_CONSISTENCY_TOKEN);
    match RequestToken::from_fields(fields, tokens) {
        Ok(RequestToken::Verified(position)) => Some(position),
        Ok(RequestToken::None | RequestToken::Unverifiable) | Err(_) => None,
    }
}

/// Returns the LSN that the application states; a malformed one counts as none, as do several that differ.
fn lsn(headers: &HeaderMap) -> Option<Lsn> {
    let mut fields = headers.get_all(&X_DATABASE_POSITION).iter();
    let first = fields.next()?;
    if fields.any(|other| other != first) {
        return None;
    }
    first.to_str().ok()?.parse().ok()
}

/// Returns the newer of the positions that an application states; its LSN is one of the current history, if
/// that is known. A token of another history counts as signed, if there is no such LSN.
fn stated(
    token: Option<WalPosition>,
    lsn: Option<Lsn>,
    lineage: Option<&TimelineHistory>,
) -> Option<WalPosition> {
    let stated = lsn.zip(lineage).map(|(lsn, lineage)| {
        let (system, timeline) = lineage.present();
        WalPosition {
            system,
            timeline,
            lsn,
        }
    });
    let Some(stated) = stated else { return token };
    let seen = token.map_or(RequestToken::None, RequestToken::Verified);
    match seen.at_present(lineage) {
        Ok(RequestToken::Verified(seen)) => not_older(RequestToken::Verified(seen), stated),
        // It is lost, or of a history that is not known.
        Ok(RequestToken::None | RequestToken::Unverifiable) | Err(WriteLost) => Some(stated),
    }
}

/// Returns the newer of a position and what the client had seen; none if that is of a later timeline.
fn not_older(seen: RequestToken, position: WalPosition) -> Option<WalPosition> {
    match seen {
        RequestToken::Verified(seen) if seen.system == position.system => {
            let newer = match seen.timeline.cmp(&position.timeline) {
                Ordering::Less => position.lsn,
                Ordering::Equal => position.lsn.max(seen.lsn),
                Ordering::Greater => return None,
            };
            Some(WalPosition {
                lsn: newer,
                ..position
            })
        }
        RequestToken::Verified(_) | RequestToken::Unverifiable | RequestToken::None => {
            Some(position)
        }
    }
}

/// Whether the application may have written something: it has accepted an unsafe request, and it is no gRPC,
/// whose outcome is not in the status.
fn is_asked_for<B>(request: &Parts, answer: &Response<B>) -> bool {
    let is_grpc = |headers: &HeaderMap| {
        let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let kind = kind.and_then(|kind| kind.get(..GRPC.len()));
        kind.is_some_and(|kind| kind.eq_ignore_ascii_case(GRPC))
    };
    let status = answer.status();
    !request.method.is_safe()
        && (status.is_success() || status.is_redirection())
        && !is_grpc(&request.headers)
        && !is_grpc(answer.headers())
}

#[cfg(test)]
mod tests {
    use http::{Method, Request};
    use tidegate_model::{SystemId, Timeline};

    use super::*;

    const AT: WalPosition = WalPosition {
        system: SystemId(1),
        timeline: Timeline(2),
        lsn: Lsn(7),
    };

    fn at(timeline: u32, lsn: u64) -> WalPosition {
        WalPosition {
            timeline: Timeline(timeline),
            lsn: Lsn(lsn),
            ..AT
        }
    }

    #[test]
    fn a_token_never_accompanies_an_answer_that_its_application_lets_caches_keep() {
        let is_shared = |consistency, said: &'static str| {
            let decision = Decision::new(None, None, RequestToken::None, &Method::GET);
            let decision = Decision {
                own_rules: true,
                consistency,
                ..decision
            };
            let mut headers = HeaderMap::new();
            headers.insert("cache-control", HeaderValue::from_static(said));
            may_be_shared(&decision, &headers)
        };
        for said in ["public, max-age=60", "max-age=60", "no-cache"] {
            assert!(is_shared(Consistency::EVENTUAL, said), "{said}");
            assert!(!is_shared(Consistency::STRONG, said), "a write: {said}");
        }
        for said in ["private, max-age=60", "no-store"] {
            assert!(!is_shared(Consistency::EVENTUAL, said), "{said}");
        }
    }

    #[test]
    fn only_one_well_formed_position_counts() {
        let lsn = |fields: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(&X_DATABASE_POSITION, HeaderValue::from_static(field));
            }
            lsn(&headers)
        };
        assert_eq!(lsn(&["0/16B3748"]), Some(Lsn(0x16B_3748)));
        assert_eq!(lsn(&["0/7", "0/7"]), Some(Lsn(7)));
        for malformed in [
            "",
            "7",
            "0/",
            "0/+7",
            "0/x",
            "0/7, 0/7",
            " 0/7;",
            "0/123456789",
        ] {
            assert_eq!(lsn(&[malformed]), None, "{malformed}");
        }
        assert_eq!(lsn(&["0/7", "0/8"]), None);
        assert_eq!(lsn(&[]), None);
    }

    #[test]
    fn the_newer_of_token_and_position_counts() {
        let lineage = TimelineHistory::parse(AT.system, AT.timeline, "1\t0/9\tx\n").unwrap();
        let stated = |token, lsn: Option<u64>| stated(token, lsn.map(Lsn), Some(&lineage));
        assert_eq!(stated(None, Some(7)), Some(AT));
        assert_eq!(stated(Some(at(2, 8)), Some(7)), Some(at(2, 8)));
        assert_eq!(stated(Some(at(2, 6)), Some(7)), Some(AT));
        assert_eq!(
            stated(Some(at(1, 6)), Some(7)),
            Some(AT),
            "an older timeline"
        );
        assert_eq!(stated(Some(at(1, 8)), Some(7)), Some(at(2, 8)));
        assert_eq!(stated(Some(at(1, 99)), Some(7)), Some(AT), "it is lost");
        assert_eq!(stated(Some(at(3, 1)), Some(7)), None, "an unseen promotion");
        assert_eq!(stated(Some(at(1, 6)), None), Some(at(1, 6)));
        assert_eq!(super::stated(None, Some(Lsn(7)), None), None);
    }

    #[test]
    fn a_position_is_never_older_than_what_the_client_has_seen() {
        let newest = |seen| not_older(RequestToken::Verified(seen), AT);
        assert_eq!(newest(at(2, 6)), Some(AT));
        assert_eq!(newest(at(2, 9)), Some(at(2, 9)));
        assert_eq!(newest(at(1, 9)), Some(AT), "a promotion since");
        assert_eq!(newest(at(3, 1)), None, "a promotion that is not known here");
        for seen in [RequestToken::None, RequestToken::Unverifiable] {
            assert_eq!(not_older(seen, AT), Some(AT));
        }
    }

    #[test]
    fn only_an_accepted_unsafe_request_is_worth_asking_for() {
        let asked = |method: &str, status: u16, kinds: [&'static str; 2]| {
            let request = Request::builder().method(method);
            let request = request.header(CONTENT_TYPE, kinds[0]).body(()).unwrap();
            let answer = Response::builder().status(status);
            let answer = answer.header(CONTENT_TYPE, kinds[1]).body(()).unwrap();
            is_asked_for(&request.into_parts().0, &answer)
        };
        let json = ["application/json"; 2];
        for status in [200, 201, 204, 302, 303] {
            assert!(asked("POST", status, json) && asked("DELETE", status, json));
        }
        for status in [101, 400, 404, 409, 500, 503] {
            assert!(!asked("POST", status, json), "{status}");
        }
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert!(!asked(method, 200, json), "{method}");
        }
        for kind in [
            "application/grpc",
            "application/grpc-web+proto",
            "Application/gRPC;x=y",
        ] {
            assert!(!asked("POST", 200, [kind, json[0]]), "{kind}");
            assert!(!asked("POST", 200, [json[0], kind]), "{kind}");
        }
    }
}
