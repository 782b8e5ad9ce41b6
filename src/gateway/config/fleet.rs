//! The fleet that a gateway belongs to, from flags, variables and file.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use super::address::listener;
use super::merge::Merge;
use crate::peers::{
    CredentialFiles, FLEET_CA, FLEET_CERTIFICATE, FLEET_KEY, FLEET_LISTEN, FleetConfig, Peer,
};
use tidegate_model::settings::Setting;
use tidegate_model::{ConfigError, Place, RegionId};

/// Returns the fleet, if this gateway belongs to one.
pub(super) fn fleet(
    merge: &Merge<'_>,
    has_token_secret: bool,
) -> Result<Option<FleetConfig>, ConfigError> {
    let peers = peers(merge)?;
    let Some(listen) = listener(merge, &FLEET_LISTEN)? else {
        return match merge.file.content.fleet.peers.first() {
            None => Ok(None),
            Some(peer) => Err(merge.file.source.refused(
                &peer.region,
                "fleet.peers",
                "peers need FLEET_ADDR, the listener for their gateways",
            )),
        };
    };
    if !has_token_secret {
        return Err(ConfigError::new(
            &Place::Name("TOKEN_SECRET"),
            "is required with FLEET_ADDR, and the same in all regions",
        ));
    }
    Ok(Some(FleetConfig {
        listen,
        files: CredentialFiles {
            certificate: credential(merge, &FLEET_CERTIFICATE)?,
            key: credential(merge, &FLEET_KEY)?,
            authority: credential(merge, &FLEET_CA)?,
        },
        peers,
    }))
}

fn credential(merge: &Merge<'_>, setting: &Setting) -> Result<PathBuf, ConfigError> {
    let name = setting.variable.unwrap_or(setting.key);
    merge.value(setting)?.ok_or_else(|| {
        let why = format!("is required with FLEET_ADDR: {}", (setting.range)());
        ConfigError::new(&Place::Name(name), why)
    })
}

/// Returns the peers of a gateway that belongs to a fleet.
pub(super) fn peers_of(merge: &Merge<'_>) -> Result<Vec<Peer>, ConfigError> {
    match listener(merge, &FLEET_LISTEN)? {
        Some(_) => peers(merge),
        None => Ok(Vec::new()),
    }
}

/// Returns the peers that the file lists, for a gateway that belongs to the fleet and for one that does not.
pub(super) fn peers(merge: &Merge<'_>) -> Result<Vec<Peer>, ConfigError> {
    let source = &merge.file.source;
    let (mut peers, mut places) = (Vec::new(), BTreeSet::new());
    for section in &merge.file.content.fleet.peers {
        let region: RegionId = merge.file_value(&section.region, "fleet.peers.region")?;
        let address = source.parsed(&section.address, "fleet.peers.address", |text| {
            host_and_port(text)
        })?;
        // Under another region, too: a gateway is of one region.
        if !places.insert(normal(&address)) {
            let key = "fleet.peers.address";
            return Err(source.refused(&section.address, key, "it is listed twice"));
        }
        peers.push(Peer { region, address });
    }
    Ok(peers)
}

fn host_and_port(text: &str) -> Result<String, &'static str> {
    let expected = "expected a host and a port, such as gateways.us.internal:8443";
    let (host, port) = text.rsplit_once(':').ok_or(expected)?;
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let port: u16 = port.parse().map_err(|_unparsable| expected)?;
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let is_host = match bare {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<Ipv4Addr>().is_ok() || is_name(host),
    };
    match is_host && is_number && port > 0 {
        true => Ok(text.to_owned()),
        false => Err(expected),
    }
}

/// Returns whether a host is a name. One that ends in a number is none: resolvers take it for an IPv4 address in
/// another form, such as 127.1.
fn is_name(host: &str) -> bool {
    let mut labels = host.strip_suffix('.').unwrap_or(host).split('.');
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let is_label = |label: &str| !label.is_empty() && label.chars().all(is_part);
    let all_labels = labels.clone().all(is_label);
    let last = labels.next_back().unwrap_or_default();
    let is_hex = |digits: &str| digits.chars().all(|c| c.is_ascii_hexdigit());
    let hex = last.strip_prefix("0x").or(last.strip_prefix("0X"));
    let ends_in_number = last.chars().all(|c| c.is_ascii_digit()) || hex.is_some_and(is_hex);
    let says_anything = host.chars().any(|c| c.is_ascii_alphanumeric());
    all_labels && says_anything && !ends_in_number
}

/// Returns the host and the port in one form, however they are written. Names are not resolved.
fn normal(address: &str) -> (String, Option<u16>) {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().to_string(),
        Err(_) => host.trim_end_matches('.').to_ascii_lowercase(),
    };
    (host, port.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::{host_and_port, normal};

    #[test]
    fn an_address_is_the_same_however_it_is_written() {
        for (address, same) in [
            ("127.0.0.1:22301", "127.0.0.1:022301"),
            ("127.0.0.1:22301", "[::ffff:127.0.0.1]:22301"),
            ("[::1]:22301", "[0:0:0:0:0:0:0:1]:22301"),
            ("localhost:22301", "Localhost.:22301"),
        ] {
            assert_eq!(normal(address), normal(same), "{same}");
        }
        for other in ["127.0.0.1:22302", "127.0.0.2:22301", "localhost:22301"] {
            assert_ne!(normal("127.0.0.1:22301"), normal(other), "{other}");
        }
    }

    #[test]
    fn an_address_is_the_name_or_the_ip_address_of_a_host_and_a_port() {
        for address in [
            "gateways.us.internal:8443",
            "gateway_1.eu-west-1.:8443",
            "1and1.0xyz:08443",
            "127.0.0.1:5",
            "[::1]:5",
        ] {
            assert_eq!(host_and_port(address).as_deref(), Ok(address));
        }
        for refused in [
            "h\n:5",
            "h\0:5",
            "h\u{1b}[2J:5",
            "h :5",
            "+h:5",
            "h:+5",
            "h:",
            "h:0",
            "h:65536",
            ":5",
            ".:5",
            "-:5",
            "a..b:5",
            ".a:5",
            "é:5",
            "127.1:5",
            "0x7f.0.0.1:5",
            "0x7f000001:5",
            "1:5",
            "a.0x:5",
            "127.0.0.1.:5",
            "127.0.0.256:5",
            "[::1:5",
            "[h]:5",
            "::1:5",
        ] {
            assert!(host_and_port(refused).is_err(), "{refused:?}");
        }
    }
}
