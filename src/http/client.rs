//! The client's identity: an address that it cannot choose.
//!
//! Every proxy appends to `X-Forwarded-For` the address that connected to it, so only the entries at
//! the right, written by trusted proxies, are reliable: everything to the left of them came with
//! the request. Hence the walk from the right, as in nginx's `real_ip_recursive`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::HeaderValue;
use ipnet::IpNet;

/// Most entries that are examined; no chain of trusted proxies is that long.
const HOPS_MAX: usize = 16;

/// One client for rate limits: an IPv4 address, or an IPv6 /64, all addresses of which belong to a
/// single subscriber (RFC 6177).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// The address.
    V4(Ipv4Addr),
    /// The first 64 bits.
    V6([u16; 4]),
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

/// The first address that is not a trusted proxy's: the peer's, or else the first from the right
/// among the values of `X-Forwarded-For`, which are given in their order.
///
/// An entry that is not an address ends the walk at the proxy that let it through, and so does the
/// end of the list: an address that is not known to be a client's is never treated as one.
pub fn client_address<'a>(
    peer: IpAddr,
    forwarded_for: impl DoubleEndedIterator<Item = &'a HeaderValue>,
    trusted: &[IpNet],
) -> IpAddr {
    let entries = forwarded_for
        .rev()
        .flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    let mut entries = entries.take(HOPS_MAX);
    let mut address = peer.to_canonical();
    while trusted.iter().any(|network| network.contains(&address)) {
        match entries.next().and_then(parse) {
            Some(next) => address = next,
            None => break,
        }
    }
    address
}

/// Reads an address, with or without a port, which some load balancers add.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry.trim_ascii()).ok()?;
    let bare = || text.parse().ok();
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address: IpAddr = bare().or_else(with_port).or_else(in_brackets)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VPC: &str = "10.0.0.0/8";
    const EDGE: &str = "130.176.0.0/16";

    fn walk(peer: &str, values: &[&str], trusted: &[&str]) -> String {
        let values: Vec<_> = values
            .iter()
            .map(|value| HeaderValue::from_bytes(value.as_bytes()).unwrap())
            .collect();
        let trusted: Vec<_> = trusted.iter().map(|text| text.parse().unwrap()).collect();
        client_address(peer.parse().unwrap(), values.iter(), &trusted).to_string()
    }

    #[test]
    fn a_peer_that_is_not_trusted_is_the_client_whatever_it_says() {
        assert_eq!(walk("198.51.100.7", &["203.0.113.9"], &[]), "198.51.100.7");
        assert_eq!(
            walk("198.51.100.7", &["203.0.113.9"], &[VPC]),
            "198.51.100.7"
        );
    }

    #[test]
    fn the_first_untrusted_address_from_the_right_is_the_client() {
        for (values, client) in [
            (&["203.0.113.9"][..], "203.0.113.9"),
            (&["203.0.113.9, 130.176.1.2"], "203.0.113.9"),
            // Entries further left came with the request.
            (&["1.1.1.1, 203.0.113.9, 130.176.1.2"], "203.0.113.9"),
            (&["10.1.1.1,203.0.113.9 ,\t130.176.1.2"], "203.0.113.9"),
            (&["rubbish, 203.0.113.9, 130.176.1.2"], "203.0.113.9"),
            // Several fields form one list.
            (&["1.1.1.1", "203.0.113.9", "130.176.1.2"], "203.0.113.9"),
            (&["1.1.1.1, 203.0.113.9", "130.176.1.2"], "203.0.113.9"),
        ] {
            assert_eq!(walk("10.0.0.5", values, &[VPC, EDGE]), client, "{values:?}");
        }
    }

    #[test]
    fn ports_brackets_and_mapped_addresses_are_read() {
        for (entry, client) in [
            ("203.0.113.9:4711", "203.0.113.9"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
        ] {
            assert_eq!(walk("10.0.0.5", &[entry], &[VPC]), client);
        }
        assert_eq!(
            walk("::ffff:10.0.0.5", &["203.0.113.9"], &[VPC]),
            "203.0.113.9"
        );
    }

    #[test]
    fn the_walk_ends_at_the_last_proxy_that_is_known_when_the_next_entry_is_no_address() {
        for entry in [
            "",
            " ",
            "unknown",
            "203.0.113",
            "203.0.113.9.1",
            "_hidden",
            "é",
            "1.1.1.1;",
        ] {
            let values = [&*format!("203.0.113.9, {entry}, 130.176.1.2")];
            assert_eq!(walk("10.0.0.5", &values, &[VPC, EDGE]), "130.176.1.2");
            assert_eq!(walk("10.0.0.5", &[entry], &[VPC, EDGE]), "10.0.0.5");
        }
        assert_eq!(walk("10.0.0.5", &[], &[VPC, EDGE]), "10.0.0.5");
    }

    #[test]
    fn a_chain_of_trusted_proxies_only_gives_its_far_end_within_a_bound() {
        assert_eq!(
            walk("10.0.0.5", &["10.0.0.7, 10.0.0.6"], &[VPC]),
            "10.0.0.7"
        );
        let long = format!("203.0.113.9{}", ", 10.0.0.6".repeat(HOPS_MAX));
        assert_eq!(walk("10.0.0.5", &[&long], &[VPC]), "10.0.0.6");
        let longest = format!("203.0.113.9{}", ", 10.0.0.6".repeat(HOPS_MAX - 1));
        assert_eq!(walk("10.0.0.5", &[&longest], &[VPC]), "203.0.113.9");
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_subnet() {
        let client = |text: &str| Client::from(text.parse::<IpAddr>().unwrap());
        assert_ne!(client("203.0.113.9"), client("203.0.113.8"));
        assert_eq!(client("203.0.113.9"), client("::ffff:203.0.113.9"));
        assert_eq!(
            client("2001:db8:0:1::1"),
            client("2001:db8:0:1:ffff:ffff:ffff:ffff")
        );
        assert_ne!(client("2001:db8:0:1::1"), client("2001:db8:0:2::1"));
    }

    proptest! {
        /// Nothing that a client sends changes what the proxies behind it append.
        #[test]
        fn no_header_of_the_clients_own_changes_who_it_is(
            sent in proptest::collection::vec("[ -~]{0,80}", 0..4),
            client: std::net::Ipv4Addr,
        ) {
            let trusted: Vec<IpNet> = vec![VPC.parse().unwrap(), EDGE.parse().unwrap()];
            prop_assume!(!trusted.iter().any(|network| network.contains(&IpAddr::V4(client))));
            let mut values: Vec<_> =
                sent.iter().map(|value| HeaderValue::from_str(value).unwrap()).collect();
            let appended = format!("{client}, 130.176.1.2");
            match values.pop() {
                Some(last) => {
                    let joined = format!("{}, {appended}", last.to_str().unwrap());
                    values.push(HeaderValue::from_str(&joined).unwrap());
                }
                None => values.push(HeaderValue::from_str(&appended).unwrap()),
            }
            let peer = "10.0.0.5".parse().unwrap();
            prop_assert_eq!(client_address(peer, values.iter(), &trusted), IpAddr::V4(client));
            let direct = client_address(IpAddr::V4(client), values.iter(), &trusted);
            prop_assert_eq!(direct, IpAddr::V4(client));
        }
    }
}
