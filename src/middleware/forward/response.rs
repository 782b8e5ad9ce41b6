//! The fields of an application's answer as the client gets them.

use http::header::{EXPIRES, LOCATION, PRAGMA, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::middleware::Services;
use crate::middleware::answer::may_be_kept;
use crate::upstream::{Node, strip_hop_by_hop};
use tidegate_model::{RequestToken, X_CONSISTENCY_TOKEN};
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
/// `Vary`, `Consistency-Status`) is set later, with that of every other answer.
pub(super) fn rewrite(
    services: &Services,
    headers: &mut HeaderMap,
    status: StatusCode,
    decision: &Decision,
) {
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
    token(services, headers, decision);
}

/// `Location` as the client can follow it, where the application names the node by its own URL.
pub(super) fn location(node: &Node, headers: &HeaderMap) -> Option<HeaderValue> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    HeaderValue::try_from(node.as_asked(location)?).ok()
}

/// Passes a token on that is one of ours, and never one that is older than the client's own. An
/// application has one to pass on from an SQL endpoint that it asked.
fn token(services: &Services, headers: &mut HeaderMap, decision: &Decision) {
    let fields = headers.get_all(&X_CONSISTENCY_TOKEN);
    let told = RequestToken::from_fields(fields, &services.tokens);
    headers.remove(&X_CONSISTENCY_TOKEN);
    let Ok(RequestToken::Verified(told)) = told else {
        return;
    };
    if decision.shared_cacheable {
        return;
    }
    let newer = decision.token.stricter(RequestToken::Verified(told));
    let position = match newer {
        RequestToken::Verified(position) => position,
        RequestToken::Unverifiable | RequestToken::None => told,
    };
    services.give_token(headers, decision, &position);
}
