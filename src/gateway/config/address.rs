//! The address of a listener.

use std::net::SocketAddr;
use std::str::FromStr;

use super::merge::Merge;
use tidegate_model::ConfigError;
use tidegate_model::settings::Setting;

/// What turns a listener off that there need not be.
const OFF: &str = "off";

/// The address of a listener.
pub(super) struct Address(pub(super) SocketAddr);

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected an IP address and a port, such as 127.0.0.1:8080";
        text.parse().map(Self).map_err(|_unparsable| expected)
    }
}

/// The address of a listener that there need not be.
struct AddressOrOff(Option<SocketAddr>);

impl FromStr for AddressOrOff {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected an IP address and a port, such as 127.0.0.1:8080, or `off`";
        if is_off(text) {
            return Ok(Self(None));
        }
        let address: SocketAddr = text.parse().map_err(|_unparsable| expected)?;
        Ok(Self(Some(address)))
    }
}

/// Returns the address of a listener, unless it is off.
pub(super) fn listener(
    merge: &Merge<'_>,
    setting: &Setting,
) -> Result<Option<SocketAddr>, ConfigError> {
    let given: Option<AddressOrOff> = merge.value(setting)?;
    Ok(given.and_then(|AddressOrOff(address)| address))
}

/// Whether a text says that there is no listener.
pub(super) fn is_off(text: &str) -> bool {
    text == OFF
}
