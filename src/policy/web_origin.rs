//! Which origins a browser can send: the serialisation of an origin (HTML standard, section "Origin"), with
//! hosts as the URL standard writes them (sections "Host parsing" and "Host serializing").
//!
//! Deliberately absent: names beyond ASCII, which the operator writes as browsers send them.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::Uri;

/// Checks that a browser can send it.
///
/// # Errors
///
/// Says what would be right.
pub(crate) fn check_origin(text: &str) -> Result<(), String> {
    if text == "null" {
        return Ok(());
    }
    let expected =
        || "expected `scheme://host[:port]`, such as `https://app.example.com`".to_owned();
    if text.contains('*') {
        return Err(
            "it has a `*`, which stands for nothing but all origins, and so alone".to_owned(),
        );
    }
    let uri: Uri = text.parse().map_err(|_unparsable| expected())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(expected());
    };
    let host = authority.host();
    let default = match scheme {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    };
    // Nothing is before the host, and a port may be behind it.
    let behind = authority.as_str().strip_prefix(host);
    let port = match behind.filter(|_| is_host(host)) {
        Some("") => None,
        Some(text) => Some(port(text).ok_or_else(expected)?),
        None => return Err(expected()),
    };
    let Some(host) = host_sent(host, default.is_some()) else {
        let why = "expected an address as browsers write it, such as `http://127.0.0.1` or `http://[::1]`";
        return Err(why.to_owned());
    };
    let mut sent = format!("{scheme}://{host}");
    if let Some(port) = port.filter(|port| Some(*port) != default) {
        sent = format!("{sent}:{port}");
    }
    match text {
        _ if text == sent => Ok(()),
        // Anything behind the authority.
        _ if !text.eq_ignore_ascii_case(&format!("{scheme}://{authority}")) => Err(expected()),
        _ => Err(format!("browsers send it as `{sent}`")),
    }
}

/// Whether it can be the name or the address of a host, as browsers write it.
fn is_host(text: &str) -> bool {
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[:]".contains(&byte);
    !text.is_empty() && text.bytes().all(is_usual)
}

/// Returns a host as browsers write it; `None` if it is an address that they write in another way. What ends in a
/// number is one, if the scheme is of the `web`.
fn host_sent(host: &str, web: bool) -> Option<String> {
    let host = host.to_ascii_lowercase();
    let inner = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    if inner.is_some() || host.contains(['[', ']', ':']) {
        return inner?.parse::<Ipv6Addr>().ok().map(bracketed);
    }
    if web && ends_in_number(&host) {
        return host.parse::<Ipv4Addr>().ok().map(|it| it.to_string());
    }
    Some(host)
}

/// Writes an address without the dotted form that `Display` has for some.
fn bracketed(address: Ipv6Addr) -> String {
    match (address.to_ipv4_mapped(), address.segments()) {
        (Some(_), [.., high, low]) => format!("[::ffff:{high:x}:{low:x}]"),
        (None, _) => format!("[{address}]"),
    }
}

/// Whether a host in lower case is read as an address: its last label is a number.
fn ends_in_number(host: &str) -> bool {
    let labels = host.strip_suffix('.').unwrap_or(host);
    let last = labels.rsplit('.').next().unwrap_or_default();
    match last.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// Reads a port with its colon.
fn port(text: &str) -> Option<u16> {
    let digits = text.strip_prefix(':')?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}
