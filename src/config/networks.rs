//! Lists of networks, as `[server] trusted_proxies` writes them.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de::Error};

/// Most networks in one list: it is walked for every entry of `X-Forwarded-For`. Enough for all
/// ranges from which a CDN speaks.
const NETWORKS_MAX: usize = 1_000;

/// Reads networks in CIDR form, and single addresses.
pub(super) fn networks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
    let listed = Vec::<String>::deserialize(from)?;
    if listed.len() > NETWORKS_MAX {
        return Err(D::Error::custom(format!(
            "{} networks are more than {NETWORKS_MAX}",
            listed.len()
        )));
    }
    let parsed = listed.iter().map(|text| {
        network(text).map_err(|why| D::Error::custom(format!("`{}` {why}", text.escape_debug())))
    });
    parsed.collect()
}

fn network(text: &str) -> Result<IpNet, String> {
    let address = |text: &str| text.parse::<IpAddr>().map(IpNet::from).ok();
    let network = text.parse().ok().or_else(|| address(text));
    let network: IpNet =
        network.ok_or("is neither a network, such as `10.0.0.0/8`, nor an address")?;
    if network.prefix_len() == 0 {
        return Err("trusts everybody: any client could claim any address".to_owned());
    }
    if network != network.trunc() {
        return Err(format!("names an address in `{}`", network.trunc()));
    }
    Ok(network)
}
