//! The fields of an application's answer as returned to the client.

use http::header::{EXPIRES, LOCATION, PRAGMA, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::UpstreamNode;
use super::field_names::FieldNames;
use super::hop_by_hop::strip_those;
use crate::http::may_be_kept;
use tidegate_policy::{Decision, is_targeted};

/// Fields that only the gateway sets for a client, or that are meant for it.
static ALWAYS_OURS: [HeaderName; 8] = [
    HeaderName::from_static("consistency-status"),
    HeaderName::from_static("tidegate-unprocessed"),
    HeaderName::from_static("tidegate-status"),
    HeaderName::from_static("x-consistency"),
    HeaderName::from_static("x-consistency-token"),
    HeaderName::from_static("x-database-position"),
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
/// token of the position that it states.
pub(super) fn rewrite(headers: &mut HeaderMap, status: StatusCode, decision: &Decision) {
    let names = FieldNames::of(headers);
    strip_those(names, headers);
    names.remove(headers, &ALWAYS_OURS);
    if !decision.own_rules {
        remove_contradictions(names, headers);
    }
    let shared = decision.shared_cacheable && may_be_kept(status, decision);
    if shared && headers.remove(SET_COOKIE).is_some() {
        tracing::debug!("an application's cookie was dropped: caches may keep the answer");
    }
}

/// Removes what would contradict the `Cache-Control` that is sent.
fn remove_contradictions(names: FieldNames, headers: &mut HeaderMap) {
    let targeted = headers.keys().filter(|name| is_targeted(name)).cloned();
    let targeted: Vec<_> = targeted.collect();
    names.remove(headers, CONTRADICTIONS.iter().chain(&targeted));
}

/// `Location` in a form that the client can follow, if the application refers to the node by its
/// own URL.
pub(super) fn location(node: &UpstreamNode, headers: &HeaderMap) -> Option<HeaderValue> {
    let location = headers.get(LOCATION)?.to_str().ok()?;
    HeaderValue::try_from(node.as_asked(location)?).ok()
}
