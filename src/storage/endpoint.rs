//! Which hosts may be the endpoint of a bucket.
//!
//! Link-local and metadata addresses never may: what answers there gives credentials away. A bucket that
//! was declared over the network cannot lie in a private network either, unless an operator allows it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which addresses an endpoint may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Public ones only.
    Public,
    /// Also those of private networks and of this machine.
    Any,
}

/// Checks the host of a URL.
///
/// # Errors
/// Says what it is.
pub(super) fn check_host(host: &str, reach: Reach) -> Result<(), &'static str> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse() {
        return check_address(address, reach);
    }
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    match &*host {
        "metadata" | "metadata.google.internal" | "instance-data" => Err(METADATA),
        "localhost" if reach == Reach::Public => Err(PRIVATE),
        _ => Ok(()),
    }
}

const METADATA: &str = "is a link-local or metadata address";
const PRIVATE: &str = "is not a public address";

/// Checks an address, also one that a name resolves to.
///
/// # Errors
/// Says what it is.
pub(super) fn check_address(address: IpAddr, reach: Reach) -> Result<(), &'static str> {
    let inner = match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => inner(v6).map_or(address, IpAddr::V4),
    };
    match inner {
        IpAddr::V4(v4) if is_metadata_v4(v4) => Err(METADATA),
        IpAddr::V6(v6) if is_metadata_v6(v6) => Err(METADATA),
        _ if reach == Reach::Any => Ok(()),
        IpAddr::V4(v4) if !is_private_v4(v4) => Ok(()),
        // Global unicast, without what documentation and tests have of it.
        IpAddr::V6(v6)
            if v6.segments()[0] & 0xe000 == 0x2000 && v6.segments()[..2] != [0x2001, 0xdb8] =>
        {
            Ok(())
        }
        IpAddr::V4(_) | IpAddr::V6(_) => Err(PRIVATE),
    }
}

/// The address of version 4 that one of version 6 stands for: mapped, compatible, NAT64 or 6to4.
fn inner(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match v6.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(of(high, low))
        }
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

fn is_metadata_v4(v4: Ipv4Addr) -> bool {
    // Of Alibaba Cloud, and of Azure's platform.
    v4.is_link_local() || matches!(v4.octets(), [100, 100, 100, 200] | [168, 63, 129, 16])
}

fn is_metadata_v6(v6: Ipv6Addr) -> bool {
    // Of AWS, and of Google Cloud.
    v6.is_unicast_link_local()
        || v6.segments()[..2] == [0xfd00, 0x0ec2]
        || v6.segments() == [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]
}

/// Whether an address is not one of the public internet (RFC 6890).
fn is_private_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    v4.is_private()
        || v4.is_loopback()
        || v4.is_documentation()
        || matches!((a, b, c), (0, ..) | (100, 64..=127, _) | (192, 0, 0) | (198, 18..=19, _))
        // Multicast, and what is reserved.
        || a >= 224
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_and_link_local_addresses_are_refused() {
        for host in [
            "169.254.169.254",
            "[fe80::1]",
            "[fd00:ec2::254]",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "metadata.google.internal",
            "metadata.google.internal.",
            "100.100.100.200",
            "168.63.129.16",
            "[::ffff:168.63.129.16]",
            "[fd20:ce::254]",
        ] {
            for reach in [Reach::Any, Reach::Public] {
                assert!(check_host(host, reach).is_err(), "{host}");
            }
        }
    }

    #[test]
    fn a_public_endpoint_has_no_address_of_a_private_network() {
        for host in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "localhost",
            "LocalHost.",
            "[::1]",
            "[::]",
            "[fc00::1]",
            "[::ffff:10.0.0.1]",
            "[::127.0.0.1]",
            "[2002:7f00:1::]",
            "[ff02::1]",
            "[2001:db8::1]",
        ] {
            assert!(check_host(host, Reach::Public).is_err(), "{host}");
        }
        for host in ["8.8.8.8", "[2600::1]", "s3.example.com", "172.32.0.1"] {
            assert!(check_host(host, Reach::Public).is_ok(), "{host}");
        }
        for host in ["127.0.0.1", "10.0.0.1", "[::1]", "localhost"] {
            assert!(check_host(host, Reach::Any).is_ok(), "{host}");
        }
    }
}
