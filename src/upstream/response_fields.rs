//! The fields of an application's answer as returned to the client.

use http::header::{EXPIRES, LOCATION, PRAGMA, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{UpstreamNode, strip_hop_by_hop};
use crate::http::may_be_kept;
use tidegate_model::{Consistency, RequestToken, TokenKeys, WalPosition, X_CONSISTENCY_TOKEN};
use tidegate_policy::{Decision, is_one_clients, is_targeted};

/// Fields that only the gateway sets for a client.
static ALWAYS_OURS: [HeaderName; 5] = [
    HeaderName::from_static("consistency-status"),
    HeaderName::from_static("tidegate-unprocessed"),
    HeaderName::from_static("x-consistency"),
    HeaderName::from_static("x-route-primary"),
    HeaderName::from_static("x-database-role"),
];

/// Fields that would contradict a row's `Cache-Control`, besides those for certain caches.
static CONTRADICTIONS: [HeaderName; 4] = [
    HeaderName::from_static("edge-control"),
    HeaderName::from_static("x-accel-expires"),
    EXPIRES,
    PRAGMA,
];

/// Prepares an application's fields for the client. The fields that describe the answer
/// (`Cache-Control`, `Vary`, `Consistency-Status`) are set later, as for every other answer; so is the
/// token, whose position is returned.
pub(super) fn rewrite(
    tokens: &TokenKeys,
    headers: &mut HeaderMap,
    status: StatusCode,
    decision: &Decision,
) -> Option<WalPosition> {
    strip_hop_by_hop(headers);
    for name in &ALWAYS_OURS {
        headers.remove(name);
    }
    if !decision.own_rules {
        remove_contradictions(headers);
    }
    let shared = decision.shared_cacheable && may_be_kept(status, decision);
    if shared && headers.remove(SET_COOKIE).is_some() {
        tracing::debug!("an application's cookie was dropped: caches may keep the answer");
    }
    seen(tokens, headers, decision)
}

/// Removes what would contradict the `Cache-Control` that is sent.
fn remove_contradictions(headers: &mut HeaderMap) {
    let targeted = headers.keys().filter(|name| is_targeted(name)).cloned();
    let targeted: Vec<_> = targeted.collect();
    for name in CONTRADICTIONS.iter().chain(&targeted) {
        headers.remove(name);
    }
}

/// `Location` in a form that the client can follow, if the application refers to the node by its
/// own URL.
pub(super) fn location(node: &UpstreamNode, headers: &HeaderMap) -> Option<HeaderValue> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    HeaderValue::try_from(node.as_asked(location)?).ok()
}

/// Removes a token, and returns its position if this gateway's keys signed it, or the client's own
/// position if that is newer. An application has such a token if it has used an SQL endpoint.
fn seen(tokens: &TokenKeys, headers: &mut HeaderMap, decision: &Decision) -> Option<WalPosition> {
    let fields = headers.get_all(&X_CONSISTENCY_TOKEN);
    let said = RequestToken::from_fields(fields, tokens);
    headers.remove(&X_CONSISTENCY_TOKEN);
    let Ok(RequestToken::Verified(said)) = said else {
        return None;
    };
    // A cache may give the answer to other clients. An unsafe method is always strong, and its answer is not
    // stored.
    let is_read = decision.consistency != Consistency::STRONG;
    let is_shared = decision.own_rules && is_read && !is_one_clients(headers);
    if decision.shared_cacheable || is_shared {
        return None;
    }
    let newer = decision.token.stricter(RequestToken::Verified(said));
    Some(match newer {
        RequestToken::Verified(position) => position,
        RequestToken::Unverifiable | RequestToken::None => said,
    })
}

#[cfg(test)]
mod tests {
    use http::Method;
    use tidegate_model::{Lsn, SystemId, Timeline};

    use super::*;

    const AT: WalPosition = WalPosition {
        system: SystemId(1),
        timeline: Timeline(1),
        lsn: Lsn(1),
    };

    #[test]
    fn a_token_never_accompanies_an_answer_that_its_application_lets_caches_keep() {
        let keys = TokenKeys::random().unwrap();
        let seen = |consistency, said: &'static str| {
            let decision = Decision::new(None, None, RequestToken::None, &Method::GET);
            let decision = Decision {
                own_rules: true,
                consistency,
                ..decision
            };
            let mut headers = HeaderMap::new();
            headers.insert("cache-control", HeaderValue::from_static(said));
            headers.insert(&X_CONSISTENCY_TOKEN, keys.sign(&AT).parse().unwrap());
            super::seen(&keys, &mut headers, &decision)
        };
        for said in ["public, max-age=60", "max-age=60", "no-cache"] {
            assert!(seen(Consistency::EVENTUAL, said).is_none(), "{said}");
            assert!(seen(Consistency::STRONG, said).is_some(), "a write: {said}");
        }
        for said in ["private, max-age=60", "no-store"] {
            assert!(seen(Consistency::EVENTUAL, said).is_some(), "{said}");
        }
    }
}
