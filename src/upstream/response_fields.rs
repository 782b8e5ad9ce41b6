//! The fields of an application's answer as the client gets them.

use http::header::{EXPIRES, LOCATION, PRAGMA, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{UpstreamNode, strip_hop_by_hop};
use crate::http::may_be_kept;
use tidegate_model::{RequestToken, TokenKeys, WalPosition, X_CONSISTENCY_TOKEN};
use tidegate_policy::{Decision, is_targeted};

/// What the gateway alone says to a client, and what would contradict the `Cache-Control` that goes
/// out.
static NOT_PASSED_ON: [HeaderName; 8] = [
    HeaderName::from_static("consistency-status"),
    HeaderName::from_static("x-consistency"),
    HeaderName::from_static("x-route-primary"),
    HeaderName::from_static("x-database-role"),
    HeaderName::from_static("edge-control"),
    HeaderName::from_static("x-accel-expires"),
    EXPIRES,
    PRAGMA,
];

/// Makes an application's fields fit to be passed on. What describes the answer (`Cache-Control`,
/// `Vary`, `Consistency-Status`) is set later, with that of every other answer; so is the token, whose
/// position is returned.
pub(super) fn rewrite(
    tokens: &TokenKeys,
    headers: &mut HeaderMap,
    status: StatusCode,
    decision: &Decision,
) -> Option<WalPosition> {
    strip_hop_by_hop(headers);
    let targeted = headers.keys().filter(|name| is_targeted(name)).cloned();
    let targeted: Vec<_> = targeted.collect();
    for name in NOT_PASSED_ON.iter().chain(&targeted) {
        headers.remove(name);
    }
    let shared = decision.shared_cacheable && may_be_kept(status, decision);
    if shared && headers.remove(SET_COOKIE).is_some() {
        tracing::debug!("an application's cookie was dropped: caches may keep the answer");
    }
    seen(tokens, headers, decision)
}

/// `Location` as the client can follow it, where the application names the node by its own URL.
pub(super) fn location(node: &UpstreamNode, headers: &HeaderMap) -> Option<HeaderValue> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    HeaderValue::try_from(node.as_asked(location)?).ok()
}

/// Takes out a token that is one of ours: its position, or the client's own if that is newer. An
/// application has one to pass on from an SQL endpoint that it asked.
fn seen(tokens: &TokenKeys, headers: &mut HeaderMap, decision: &Decision) -> Option<WalPosition> {
    let fields = headers.get_all(&X_CONSISTENCY_TOKEN);
    let said = RequestToken::from_fields(fields, tokens);
    headers.remove(&X_CONSISTENCY_TOKEN);
    let Ok(RequestToken::Verified(said)) = said else {
        return None;
    };
    if decision.shared_cacheable {
        return None;
    }
    let newer = decision.token.stricter(RequestToken::Verified(said));
    Some(match newer {
        RequestToken::Verified(position) => position,
        RequestToken::Unverifiable | RequestToken::None => said,
    })
}
