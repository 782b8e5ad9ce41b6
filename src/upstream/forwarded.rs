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

use crate::http::client_address;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Sets the fields on a request that is forwarded; `headers` has none of them.
pub(super) fn describe(headers: &mut HeaderMap, head: &Parts, trusted: &[IpNet]) {
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
    let proto = match is_proxy {
        true => proto_of_proxy(&head.headers),
        false => "http",
    };
    append(headers, &X_FORWARDED_FOR, &peer.to_string());
    append(headers, &X_FORWARDED_PROTO, proto);
    let host = host(head);
    if let Some(host) = &host {
        append(headers, &X_FORWARDED_HOST, host.as_str());
    }
    let forwarded = forwarded(client, host.as_ref(), proto);
    append(headers, &FORWARDED, &forwarded);
}

/// What the load balancer in front, which ends TLS, was spoken to in.
fn proto_of_proxy(headers: &HeaderMap) -> &'static str {
    let said = headers.get(&X_FORWARDED_PROTO);
    match said.map(HeaderValue::as_bytes) {
        Some(b"https") => "https",
        _ => "http",
    }
}

/// The requested host: that of the target if it names one (RFC 9112 section 3.2.2).
fn host(head: &Parts) -> Option<Authority> {
    let of_target = head.uri.authority().cloned();
    let of_field = || {
        let field = head.headers.get(HOST)?;
        Authority::try_from(field.as_bytes()).ok()
    };
    let host = of_target.or_else(of_field)?;
    (!host.as_str().contains('@')).then_some(host)
}

fn forwarded(client: IpAddr, host: Option<&Authority>, proto: &str) -> String {
    let client = match client {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("\"[{address}]\""),
    };
    let host = host.map_or_else(String::new, |host| format!(";host=\"{host}\""));
    format!("for={client}{host};proto={proto}")
}

fn append(headers: &mut HeaderMap, name: &HeaderName, value: &str) {
    // The values consist only of addresses, hosts and two words.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.append(name, value);
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
        describe(&mut headers, &request.into_parts().0, &trusted);
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
