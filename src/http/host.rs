//! The host that a request is for (RFC 9112 section 3.2, RFC 9113 section 8.3.1).
//!
//! A request whose host is ambiguous is refused before anything else: a proxy in front of the
//! gateway may have chosen another host than the application behind it will.

use std::net::Ipv6Addr;

use http::header::HOST;
use http::{Request, Version};

/// Why it is not clear which host a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// There is no `Host`, and no `:authority` either.
    #[error("the request has no Host")]
    Missing,
    /// There is more than one `Host`, equal or not.
    #[error("the request has more than one Host")]
    Repeated,
    /// It is not `host` or `host:port`.
    #[error("the request's Host is not valid")]
    Invalid,
    /// `Host` and `:authority` differ.
    #[error("the request's Host is not its :authority")]
    Differs,
}

/// Returns the host, perhaps with a port, that a request is for; `None` if HTTP/1.0 omits it.
///
/// # Errors
/// If RFC 9112 or RFC 9113 does not allow the request.
pub fn host<B>(request: &Request<B>) -> Result<Option<&str>, HostError> {
    let mut fields = request.headers().get_all(HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(HostError::Repeated);
    }
    let field = match field {
        Some(field) => Some(valid(field.to_str().map_err(|_other| HostError::Invalid)?)?),
        None => None,
    };
    let authority = request.uri().authority();
    let authority = authority.map(|it| valid(it.as_str())).transpose()?;
    match (authority, field) {
        (None, None) if request.version() >= Version::HTTP_11 => Err(HostError::Missing),
        (Some(_), None) if request.version() == Version::HTTP_11 => Err(HostError::Missing),
        (Some(authority), Some(field))
            if request.version() >= Version::HTTP_2 && !authority.eq_ignore_ascii_case(field) =>
        {
            Err(HostError::Differs)
        }
        // In HTTP/1 an absolute URL as the target takes precedence over the field (RFC 9112 section
        // 3.2.2).
        (authority, field) => Ok(authority.or(field)),
    }
}

/// Splits a valid host from its port; an IPv6 address loses its brackets.
pub fn without_port(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(address) => address.split(']').next().unwrap_or(address),
        None => host.split(':').next().unwrap_or(host),
    }
}

/// `uri-host [ ":" port ]` of RFC 9110 section 7.2.
fn valid(host: &str) -> Result<&str, HostError> {
    let port = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or(HostError::Invalid)?;
            // The grammar also allows addresses of future IP versions, of which there are none.
            let _address: Ipv6Addr = address.parse().map_err(|_other| HostError::Invalid)?;
            port
        }
        None => {
            let bytes = host.as_bytes();
            let mut length = 0;
            while let Some(&byte) = bytes.get(length) {
                match byte {
                    b':' => break,
                    b'%' if !is_escape(&bytes[length..]) => return Err(HostError::Invalid),
                    b'%' => {}
                    byte if !NAME[usize::from(byte)] => return Err(HostError::Invalid),
                    _ => {}
                }
                length += 1;
            }
            // HTTP has no URI with an empty host (RFC 9110 section 4.2.1); without a port the field
            // may be empty, since a target may have no authority.
            if length == 0 && !host.is_empty() {
                return Err(HostError::Invalid);
            }
            &host[length..]
        }
    };
    match port.strip_prefix(':') {
        _ if port.is_empty() => Ok(host),
        Some("") => Ok(host),
        Some(digits) if !digits.starts_with('+') && digits.parse::<u16>().is_ok() => Ok(host),
        _ => Err(HostError::Invalid),
    }
}

/// The bytes of a `reg-name` (RFC 3986 section 3.2.2), apart from `%`.
static NAME: [bool; 256] = {
    let mut table = [false; 256];
    let bytes = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=";
    let mut at = 0;
    while at < bytes.len() {
        table[bytes[at] as usize] = true;
        at += 1;
    }
    table
};

/// Whether bytes begin with `%` and two hexadecimal digits.
fn is_escape(bytes: &[u8]) -> bool {
    bytes.len() >= 3 && bytes[1..3].iter().all(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn request(version: Version, target: &str, hosts: &[&'static [u8]]) -> Request<()> {
        let mut request = Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header(HOST, HeaderValue::from_bytes(host).unwrap());
        }
        request.body(()).unwrap()
    }

    #[test]
    fn http_1_1_has_one_host_and_http_1_0_may_have_none() {
        let asked =
            |version, hosts: &[_]| host(&request(version, "/x", hosts)).map(|it| it.is_some());
        let (old, new) = (Version::HTTP_10, Version::HTTP_11);
        assert_eq!(asked(new, &[b"a"]), Ok(true));
        assert_eq!(asked(new, &[]), Err(HostError::Missing));
        assert_eq!(asked(old, &[]), Ok(false));
        assert_eq!(asked(old, &[b"a"]), Ok(true));
        for version in [old, new, Version::HTTP_2] {
            assert_eq!(asked(version, &[b"a", b"b"]), Err(HostError::Repeated));
            assert_eq!(asked(version, &[b"a", b"a"]), Err(HostError::Repeated));
            assert_eq!(asked(version, &[b"a b"]), Err(HostError::Invalid));
        }
    }

    #[test]
    fn a_whole_url_counts_but_needs_a_host_beside_it() {
        let asked = |hosts: &[_]| {
            let request = request(Version::HTTP_11, "http://target:81/x", hosts);
            host(&request).map(|host| host.map(ToOwned::to_owned))
        };
        assert_eq!(asked(&[b"field"]), Ok(Some("target:81".to_owned())));
        assert_eq!(asked(&[]), Err(HostError::Missing));
        let credentials = request(Version::HTTP_11, "http://user@target/", &[b"target"]);
        assert_eq!(host(&credentials), Err(HostError::Invalid));
    }

    #[test]
    fn http_2_has_an_authority_or_a_host_and_they_never_differ() {
        let asked = |target, hosts: &[_]| {
            host(&request(Version::HTTP_2, target, hosts)).map(|it| it.is_some())
        };
        assert_eq!(asked("https://a:1/x", &[]), Ok(true));
        assert_eq!(asked("/x", &[b"a"]), Ok(true));
        assert_eq!(asked("/x", &[]), Err(HostError::Missing));
        assert_eq!(asked("https://a:1/x", &[b"A:1"]), Ok(true));
        assert_eq!(asked("https://a:1/x", &[b"a"]), Err(HostError::Differs));
        assert_eq!(asked("https://u@a/x", &[]), Err(HostError::Invalid));
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        let cases = [
            ("a", true),
            ("", true),
            ("Example.COM:8080", true),
            ("a_b.example", true),
            ("127.0.0.1:0", true),
            ("a:", true),
            ("[::1]", true),
            ("[::ffff:1.2.3.4]:443", true),
            ("%41.example", true),
            ("[::1", false),
            ("::1", false),
            ("[::1]x", false),
            (":80", false),
            (":", false),
            ("[v1.a]", false),
            ("[a]", false),
            ("[]", false),
            ("u@a", false),
            ("a b", false),
            ("a, b", false),
            ("a/b", false),
            ("a?b", false),
            ("a#b", false),
            ("a:b", false),
            ("a:1:2", false),
            ("a:+1", false),
            ("a:65536", false),
            ("a\\b", false),
            ("http://a", false),
            ("%4", false),
            ("%zz", false),
            ("caf\u{e9}", false),
            ("<a>", false),
        ];
        for (text, expected) in cases {
            assert_eq!(valid(text).is_ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_port_is_left_out() {
        for (host, name) in [
            ("a:1", "a"),
            ("a", "a"),
            ("a:", "a"),
            ("[::1]:1", "::1"),
            ("[::1]", "::1"),
            ("", ""),
        ] {
            assert_eq!(without_port(host), name);
        }
    }
}
