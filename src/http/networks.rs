//! Lists of networks, as `[server] trusted_proxies` writes them.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Deserializer, de::Error};

use tidegate_model::values::{Form, Given, value};

/// Most networks in one list: it is walked for every entry of `X-Forwarded-For`. Enough for all
/// ranges that a CDN connects from.
const NETWORKS_MAX: usize = 1_000;

/// Length of the prefix of IPv4-mapped addresses (RFC 4291 section 2.5.5.2).
const MAPPED: u8 = 96;

const EXPECTED: &str = "a network such as \"10.0.0.0/8\", or an address";

/// Networks in CIDR form, and single addresses.
pub(super) struct Networks;

impl Form<Vec<IpNet>> for Networks {
    fn range(&self) -> String {
        format!("networks and addresses, at most {NETWORKS_MAX}")
    }

    fn written(&self, value: &Vec<IpNet>) -> String {
        let quoted: Vec<_> = value.iter().map(|it| format!("\"{it}\"")).collect();
        format!("[{}]", quoted.join(", "))
    }

    fn read<'de, D: Deserializer<'de>>(&self, from: D) -> Result<Vec<IpNet>, D::Error> {
        let listed = Vec::<Network>::deserialize(from)?;
        if listed.len() > NETWORKS_MAX {
            let expected = format!("at most {NETWORKS_MAX} networks");
            return Err(D::Error::invalid_length(listed.len(), &&*expected));
        }
        Ok(listed.into_iter().map(|Network(network)| network).collect())
    }
}

/// One network: a type of its own, so that an error has the line of the network.
struct Network(IpNet);

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        value(from, EXPECTED, |given| match given {
            Given::Text(text) => network(text).map(Self),
            Given::Whole(_) | Given::Decimal(_) => Err(EXPECTED.to_owned()),
        })
    }
}

/// Reads one network, or states what is expected in its place.
fn network(text: &str) -> Result<IpNet, String> {
    let address = |text: &str| text.parse::<IpAddr>().map(IpNet::from).ok();
    let network = text.parse().ok().or_else(|| address(text));
    let network: IpNet = network.ok_or(EXPECTED)?;
    if network.prefix_len() == 0 {
        return Err(
            "the networks of the proxies: with all of them any client could claim any address"
                .to_owned(),
        );
    }
    if let IpAddr::V4(address) = network.addr().to_canonical()
        && let Some(length) = network.prefix_len().checked_sub(MAPPED)
        && network.addr().is_ipv6()
        && let Ok(of_ipv4) = Ipv4Net::new(address, length)
    {
        return Err(format!(
            "IPv4, since addresses are compared in that form: \"{}\"",
            of_ipv4.trunc()
        ));
    }
    if network != network.trunc() {
        let (whole, address) = (network.trunc(), IpNet::from(network.addr()));
        return Err(format!(
            "the network \"{whole}\" or the address \"{address}\""
        ));
    }
    Ok(network)
}
