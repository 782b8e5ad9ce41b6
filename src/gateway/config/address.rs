//! The address of a listener.

use std::net::SocketAddr;
use std::str::FromStr;

/// The address of a listener.
pub(super) struct Address(pub(super) SocketAddr);

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected an IP address and a port, such as 127.0.0.1:8080";
        text.parse().map(Self).map_err(|_unparsable| expected)
    }
}
