//! The fleet that a gateway belongs to, from flags, variables and file.

use std::path::PathBuf;

use super::address::Address;
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
    let Some(Address(listen)) = merge.value(&FLEET_LISTEN)? else {
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
    let listen: Option<Address> = merge.value(&FLEET_LISTEN)?;
    match listen {
        Some(_) => peers(merge),
        None => Ok(Vec::new()),
    }
}

/// Returns the peers that the file lists, for a gateway that belongs to the fleet and for one that does not.
pub(super) fn peers(merge: &Merge<'_>) -> Result<Vec<Peer>, ConfigError> {
    let source = &merge.file.source;
    let mut peers: Vec<Peer> = Vec::new();
    for section in &merge.file.content.fleet.peers {
        let region: RegionId = merge.file_value(&section.region, "fleet.peers.region")?;
        let address = source.parsed(&section.address, "fleet.peers.address", |text| {
            host_and_port(text)
        })?;
        let peer = Peer { region, address };
        if peers.contains(&peer) {
            let key = "fleet.peers.address";
            return Err(source.refused(&section.address, key, "it is listed twice"));
        }
        peers.push(peer);
    }
    Ok(peers)
}

fn host_and_port(text: &str) -> Result<String, &'static str> {
    let expected = "expected a host and a port, such as gateways.us.internal:8443";
    let (host, port) = text.rsplit_once(':').ok_or(expected)?;
    let port: u16 = port.parse().map_err(|_unparsable| expected)?;
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let is_host = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains([':', '/', '@', ' ']),
    };
    match !is_host || port == 0 {
        true => Err(expected),
        false => Ok(text.to_owned()),
    }
}
