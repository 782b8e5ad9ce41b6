//! What other gateways and clients see of this one: its id, and where it is reached.

use std::net::{IpAddr, SocketAddr};

use http::uri::Authority;

use super::Store;
use super::registry::new_id;

/// What other gateways and clients see of this one.
pub struct ThisGateway {
    pub(super) id: String,
    /// Empty if only the port is known: it listens on all addresses, which is none that clients could use.
    pub(super) endpoint: String,
    pub(super) port: u16,
    pub(super) scheme: &'static str,
}

/// Where clients reach a gateway.
pub(super) struct Reached {
    pub(super) endpoint: String,
    pub(super) url: String,
}

impl ThisGateway {
    /// One that clients reach at an endpoint: the name that is configured, or the listener's address. Where that
    /// is every address of the machine, it is the one by which the database sees it, and for the client of
    /// its own API the one by which that has come.
    #[must_use]
    pub fn new(store: &Store, listener: Option<SocketAddr>, is_secure: bool) -> Self {
        let endpoint = match (&*store.settings.endpoint, listener) {
            ("", Some(address)) if address.ip().is_unspecified() => String::new(),
            ("", Some(address)) => address.to_string(),
            (name, _) => name.to_owned(),
        };
        Self {
            id: format!("{}-{}", store.region, &new_id()[20..]),
            port: listener.map_or(0, |address| address.port()),
            scheme: if is_secure { "https" } else { "http" },
            endpoint,
        }
    }

    /// Where the client of a request reaches it, if only that says so: by the host that the client has used for
    /// the API.
    pub(super) fn reached(&self, host: Option<&str>) -> Option<Reached> {
        let host = host.filter(|_| self.endpoint.is_empty())?;
        let host = plain_host(host)?;
        let endpoint = format!("{host}:{}", self.port);
        let url = format!("{}://{endpoint}", self.scheme);
        Some(Reached { endpoint, url })
    }
}

/// The host of a `Host` header, without its port, if it can be one that clients reach: a name, or an address.
fn plain_host(host: &str) -> Option<String> {
    let authority: Authority = host.parse().ok()?;
    if authority.as_str().contains('@') {
        return None;
    }
    let name = authority.host();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let is_host = match address.parse::<IpAddr>() {
        Ok(address) => !address.is_unspecified(),
        Err(_name) => (1..=253).contains(&name.len()) && name.bytes().all(is_plain),
    };
    is_host.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_of_a_client_is_one_that_can_be_reached() {
        for (host, expected) in [
            ("gateway.example.com:8092", Some("gateway.example.com")),
            ("10.0.0.7", Some("10.0.0.7")),
            ("[2001:db8::1]:8092", Some("[2001:db8::1]")),
            ("0.0.0.0:8092", None),
            ("[::]:8092", None),
            ("a@b", None),
            ("a_b", None),
            ("a/b", None),
            ("", None),
            (&"a".repeat(300), None),
        ] {
            assert_eq!(plain_host(host).as_deref(), expected, "{host}");
        }
    }
}
