//! The fields of a request as forwarded to an application.

use http::header::{ACCEPT, COOKIE, EXPECT, VIA};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Version};

use super::hop_by_hop::is_hop_by_hop;
use super::{Proxy, forwarded};
use crate::http::{
    Account, Hop, TIDEGATE_ROUTE, TRACEPARENT, Trace, X_REQUEST_ID, start_trace, trace_field,
};
use tidegate_model::{
    Level, RegionId, RequestToken, X_CONSISTENCY, X_CONSISTENCY_TOKEN, without_session_cookie,
};
use tidegate_policy::Decision;
use tidegate_telemetry::trace::Current;

static X_ROUTE_PRIMARY: HeaderName = HeaderName::from_static("x-route-primary");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What only the gateway says to an application, in lower case: a client's word for it is dropped,
/// also when written with underscores, which many applications cannot tell from dashes.
const OURS: [&str; 32] = [
    "x-request-id",
    "x-consistency",
    "x-consistency-token",
    "x-route-primary",
    "x-database-role",
    "consistency-status",
    "tidegate-route",
    "tidegate-deadline",
    "tidegate-unprocessed",
    "tidegate-status",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-server",
    "x-real-ip",
    // Between the CDN and the load balancer: a secret.
    "x-origin-verify",
    // Fields that make some frameworks use another path than the one that was decided on.
    "x-original-url",
    "x-rewrite-url",
    // Fields by which some frameworks make their URLs, which others would get from a cache.
    "x-forwarded-scheme",
    "x-forwarded-ssl",
    "x-forwarded-protocol",
    "x-url-scheme",
    "front-end-https",
    "x-host",
    "x-original-host",
    // The environment variable HTTP_PROXY of a CGI program.
    "proxy",
    "content-length",
    "transfer-encoding",
    "host",
];

/// Fields that make some frameworks use another method than the one that was decided on.
const OTHER_METHODS: [&str; 3] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
];

/// How many fields are added to those of a client, about.
const ADDED_MAX: usize = 12;

/// Makes the fields to send.
pub(super) fn fields(
    proxy: &Proxy,
    head: &Parts,
    decision: &Decision,
    account: &mut Account,
) -> HeaderMap {
    let mut headers = forwardable(proxy, head, None, account);
    if head.extensions.get::<Hop>().is_some()
        && let Some(route) = head.headers.get(&TIDEGATE_ROUTE)
    {
        headers.insert(&TIDEGATE_ROUTE, route.clone());
    }
    hand_on_decision(&mut headers, proxy, decision, head.method.is_safe());
    cookies(&mut headers, decision);
    headers
}

/// Makes the fields to send to another region's gateway, which decides about consistency itself.
#[must_use]
pub fn gateway_fields(proxy: &Proxy, head: &Parts, account: &mut Account) -> HeaderMap {
    let mut headers = forwardable(proxy, head, Some(&proxy.region), account);
    for name in [&X_CONSISTENCY, &X_CONSISTENCY_TOKEN] {
        for value in head.headers.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    headers
}

/// Makes the fields of a request to another region's gateway for an answer for all clients.
#[must_use]
pub fn shared_gateway_fields(proxy: &Proxy) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    proxy.pseudonym.sign(&mut headers, Version::HTTP_11);
    headers.insert(&TRACEPARENT, own_trace());
    headers
}

/// What a client has sent and may be passed on, and who it is.
fn forwardable(
    proxy: &Proxy,
    head: &Parts,
    by: Option<&RegionId>,
    account: &mut Account,
) -> HeaderMap {
    let mut headers = of_client(&head.headers, head.method.is_safe());
    forwarded::describe(&mut headers, head, &proxy.trusted_proxies, by);
    if let Some(id) = head.headers.get(&X_REQUEST_ID) {
        headers.insert(&X_REQUEST_ID, id.clone());
    }
    proxy.pseudonym.sign(&mut headers, head.version);
    keep_trace(&mut headers, &head.headers, account);
    headers
}

/// Makes the fields of a request for an answer for all clients: none is from a client.
pub(super) fn shared_fields(proxy: &Proxy, decision: &Decision) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    hand_on_decision(&mut headers, proxy, decision, true);
    proxy.pseudonym.sign(&mut headers, Version::HTTP_11);
    headers.insert(&TRACEPARENT, own_trace());
    headers
}

/// Whether an application has a field from the gateway alone: its value does not tell clients apart as they
/// have sent it.
#[must_use]
pub fn is_ours(name: &HeaderName) -> bool {
    let added = [&VIA, &TRACEPARENT, &TRACESTATE];
    added.contains(&name) || is_listed(name, &OURS)
}

/// Whether a name is in a list, with underscores for dashes or without.
fn is_listed(name: &HeaderName, list: &[&str]) -> bool {
    let name = name.as_str().as_bytes();
    let is_alike = |(given, known): (&u8, u8)| *given == known || (*given == b'_' && known == b'-');
    list.iter()
        .any(|known| known.len() == name.len() && name.iter().zip(known.bytes()).all(is_alike))
}

/// The fields of a client that may be passed on.
fn of_client(received: &HeaderMap, safe: bool) -> HeaderMap {
    let is_hop_by_hop = is_hop_by_hop(received);
    let is_dropped = |name: &HeaderName| {
        is_hop_by_hop(name)
            // Answered here: the body is requested when the node's connection has room.
            || *name == EXPECT
            || is_listed(name, &OURS)
            || (safe && is_listed(name, &OTHER_METHODS))
    };
    let mut headers = HeaderMap::with_capacity(received.len() + ADDED_MAX);
    for (name, value) in received.iter().filter(|(name, _)| !is_dropped(name)) {
        headers.append(name.clone(), value.clone());
    }
    headers
}

/// Sets the effective level, the position that the client has seen, and whether only the primary
/// can serve.
fn hand_on_decision(headers: &mut HeaderMap, proxy: &Proxy, decision: &Decision, safe: bool) {
    let consistency = decision.consistency;
    let level = match consistency.max_staleness {
        None => Ok(HeaderValue::from_static(consistency.level.as_str())),
        Some(_) => HeaderValue::try_from(consistency.to_string()),
    };
    if let Ok(level) = level {
        headers.insert(&X_CONSISTENCY, level);
    }
    if let RequestToken::Verified(position) = decision.token
        && let Ok(token) = HeaderValue::try_from(proxy.tokens.sign(&position))
    {
        headers.insert(&X_CONSISTENCY_TOKEN, token);
    }
    let needs_primary = !safe
        || decision.consistency.level == Level::Strong
        || decision.token == RequestToken::Unverifiable;
    if needs_primary {
        headers.insert(&X_ROUTE_PRIMARY, HeaderValue::from_static("true"));
    }
}

/// The trace of a request for an answer for all clients: that of the client that is served first, if it is
/// traced here, else a new one.
fn own_trace() -> HeaderValue {
    match Current::get() {
        Some(current) => trace_field(current.context()),
        None => start_trace().1,
    }
}

/// Forwards a trace, or starts one. A malformed one cannot be continued.
fn keep_trace(headers: &mut HeaderMap, received: &HeaderMap, account: &mut Account) {
    let trace = Trace::read(received);
    if trace.is_none() {
        headers.remove(&TRACESTATE);
    }
    if let Some(current) = Current::get() {
        headers.insert(&TRACEPARENT, trace_field(current.context()));
        return;
    }
    if let Some(trace) = trace {
        headers.insert(&TRACEPARENT, trace.field());
        return;
    }
    let (trace, parent) = start_trace();
    headers.insert(&TRACEPARENT, parent);
    account.trace = Some(trace);
}

/// An answer for all clients must not depend on the client that requested it first. The gateway's
/// own cookie is not forwarded.
fn cookies(headers: &mut HeaderMap, decision: &Decision) {
    if decision.shared_cacheable {
        headers.remove(COOKIE);
        return;
    }
    if decision.session_cookie {
        without_session_cookie(headers);
    }
    // HTTP/2 may split the field, HTTP/1.1 may not (RFC 9113 section 8.2.3).
    let fields: Vec<_> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if fields.len() > 1
        && let Ok(one) = HeaderValue::from_bytes(&fields.join(&b"; "[..]))
    {
        headers.insert(COOKIE, one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gateways_say_to_each_other_is_dropped_of_a_client() {
        for name in [
            "Tidegate-Route",
            "Tidegate-Deadline",
            "Tidegate-Unprocessed",
            "Tidegate-Status",
            "tidegate_unprocessed",
        ] {
            let name: HeaderName = name.parse().unwrap();
            assert!(is_ours(&name), "{name}");
            let received = HeaderMap::from_iter([(name, HeaderValue::from_static("overloaded"))]);
            let headers = of_client(&received, true);
            assert!(headers.is_empty(), "{headers:?}");
        }
    }

    #[test]
    fn fields_that_rewrite_urls_are_dropped_however_they_are_spelled() {
        for name in [
            "X-Forwarded-Scheme",
            "X-Forwarded-Ssl",
            "X-Forwarded-Protocol",
            "X-Url-Scheme",
            "Front-End-Https",
            "X-Host",
            "X-Original-Host",
            "X-Original-Url",
            "X-Rewrite-Url",
            "X_Original_Host",
        ] {
            let name: HeaderName = name.parse().unwrap();
            let received = HeaderMap::from_iter([(name, HeaderValue::from_static("evil"))]);
            let headers = of_client(&received, true);
            assert!(headers.is_empty(), "{headers:?}");
        }
    }
}
