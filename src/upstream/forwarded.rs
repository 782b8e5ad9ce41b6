//! The client, the host and the protocol of a request: `Forwarded` (RFC 7239) and the fields that
//! preceded it.
//!
//! A client's own fields count only as far as a trusted proxy has forwarded them; everything else
//! is set again, so that an application can trust the fields.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::ConnectInfo;
use http::header::{FORWARDED, HOST};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::http::{HeaderText, Hop, OverTls, client_address};
use tidegate_model::RegionId;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Sets the fields on a request that is forwarded, `by` a region if a gateway receives it; `headers` has
/// none of them.
pub(super) fn describe(
    headers: &mut HeaderMap,
    head: &Parts,
    trusted: &[IpNet],
    by: Option<&RegionId>,
) {
    if head.extensions.get::<Hop>().is_some() {
        return pass_on(headers, &head.headers);
    }
    let peer = head.extensions.get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
    let peer = peer.to_canonical();
    let is_proxy = trusted.iter().any(|network| network.contains(&peer));
    let before = head.headers.get_all(&X_FORWARDED_FOR);
    let client = client_address(peer, before.iter(), trusted);
    if is_proxy {
        for value in before {
            headers.append(&X_FORWARDED_FOR, value.clone());
        }
    }
    let own = match head.extensions.get::<OverTls>() {
        Some(OverTls) => "https",
        None => "http",
    };
    let of_proxy = is_proxy.then(|| proto_of_proxy(&head.headers)).flatten();
    let proto = of_proxy.unwrap_or(own);
    let host = requested_host(head);
    // The values consist only of addresses, hosts, a region and two words: in one piece of memory.
    let mut text = HeaderText::with_capacity(192);
    write_address(&mut text, peer);
    let address = text.end();
    let named = host.as_ref().map(|host| text.text(host.as_str()).end());
    write_forwarded(&mut text, (client, by), host.as_ref(), proto);
    let forwarded = text.end();
    let values = text.values();
    headers.append(&X_FORWARDED_FOR, values.at(address));
    headers.append(&X_FORWARDED_PROTO, HeaderValue::from_static(proto));
    if let Some(named) = named {
        headers.append(&X_FORWARDED_HOST, values.at(named));
    }
    headers.append(FORWARDED, values.at(forwarded));
}

/// The origin that an application believes to be asked for, such as `https://app.example.com`.
#[must_use]
pub fn origin_seen(head: &Parts, trusted: &[IpNet]) -> String {
    let mut headers = HeaderMap::new();
    describe(&mut headers, head, trusted, None);
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let proto = text(&X_FORWARDED_PROTO).unwrap_or("http");
    let host = text(&X_FORWARDED_HOST).unwrap_or_default();
    format!("{proto}://{host}").to_ascii_lowercase()
}

/// The gateway where a request entered has described its client.
fn pass_on(headers: &mut HeaderMap, received: &HeaderMap) {
    for name in [
        &FORWARDED,
        &X_FORWARDED_FOR,
        &X_FORWARDED_HOST,
        &X_FORWARDED_PROTO,
    ] {
        for value in received.get_all(name) {
            headers.append(name, value.clone());
        }
    }
}

/// What clients use towards the load balancer in front, if it says so.
fn proto_of_proxy(headers: &HeaderMap) -> Option<&'static str> {
    match headers.get(&X_FORWARDED_PROTO)?.as_bytes() {
        b"https" => Some("https"),
        b"http" => Some("http"),
        _ => None,
    }
}

/// The requested host: that of the target if it names one (RFC 9112 section 3.2.2).
#[must_use]
pub fn requested_host(head: &Parts) -> Option<Authority> {
    let of_target = head.uri.authority().cloned();
    let of_field = || {
        let field = head.headers.get(HOST)?;
        Authority::try_from(field.as_bytes()).ok()
    };
    let host = of_target.or_else(of_field)?;
    (!host.as_str().contains('@')).then_some(host)
}

fn write_forwarded(
    text: &mut HeaderText,
    (client, by): (IpAddr, Option<&RegionId>),
    host: Option<&Authority>,
    proto: &str,
) {
    match client {
        IpAddr::V4(_) => {
            text.text("for=");
            write_address(text, client);
        }
        IpAddr::V6(_) => {
            text.text("for=\"[");
            write_address(text, client);
            text.text("]\"");
        }
    }
    if let Some(region) = by {
        text.text(";by=").text(region.as_str());
    }
    if let Some(host) = host {
        text.text(";host=\"").text(host.as_str()).text("\"");
    }
    text.text(";proto=").text(proto);
}

/// Writes an address; one of IPv4, as most are, without a formatter.
fn write_address(text: &mut HeaderText, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let [first, rest @ ..] = address.octets();
            text.number(first);
            for number in rest {
                text.text(".").number(number);
            }
        }
        IpAddr::V6(address) => {
            text.text(&address.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(uri: &str, peer: &str, lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut request = http::Request::get(uri).body(()).unwrap();
        for (name, value) in lines {
            request
                .headers_mut()
                .append(*name, HeaderValue::from_static(value));
        }
        let peer = SocketAddr::new(peer.parse().unwrap(), 1);
        request.extensions_mut().insert(ConnectInfo(peer));
        let mut headers = HeaderMap::new();
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        describe(&mut headers, &request.into_parts().0, &trusted, None);
        headers
    }

    fn list(headers: &HeaderMap, name: &str) -> String {
        let values = headers.get_all(name).iter();
        let values: Vec<_> = values.map(|value| value.to_str().unwrap()).collect();
        values.join(", ")
    }

    const SPOOFED: [(&str, &str); 4] = [
        ("host", "app.example:8443"),
        ("x-forwarded-for", "1.1.1.1, 2.2.2.2"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example"),
    ];

    #[test]
    fn a_stranger_is_not_believed() {
        let headers = described("/x", "203.0.113.7", &SPOOFED);
        assert_eq!(list(&headers, "x-forwarded-for"), "203.0.113.7");
        assert_eq!(list(&headers, "x-forwarded-proto"), "http");
        assert_eq!(list(&headers, "x-forwarded-host"), "app.example:8443");
        let expected = "for=203.0.113.7;host=\"app.example:8443\";proto=http";
        assert_eq!(list(&headers, "forwarded"), expected);
    }

    #[test]
    fn a_trusted_proxys_word_is_passed_on_and_the_host_is_the_one_asked_for() {
        let headers = described("/x", "10.1.2.3", &SPOOFED);
        let chain = "1.1.1.1, 2.2.2.2, 10.1.2.3";
        assert_eq!(list(&headers, "x-forwarded-for"), chain);
        assert_eq!(list(&headers, "x-forwarded-proto"), "https");
        assert_eq!(list(&headers, "x-forwarded-host"), "app.example:8443");
        let expected = "for=2.2.2.2;host=\"app.example:8443\";proto=https";
        assert_eq!(list(&headers, "forwarded"), expected);
    }

    #[test]
    fn odd_hosts_are_left_out_and_the_targets_own_wins() {
        for (uri, host, expected) in [
            ("/x", "a b\"c", ""),
            ("/x", "user@host", ""),
            ("http://named.example/x", "other.example", "named.example"),
        ] {
            let headers = described(uri, "::1", &[("host", host)]);
            assert_eq!(list(&headers, "x-forwarded-host"), expected);
            let forwarded = list(&headers, "forwarded");
            assert!(forwarded.starts_with("for=\"[::1]\";"), "{forwarded}");
        }
    }
}
