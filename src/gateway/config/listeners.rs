//! The addresses of all listeners: each has its own.

use std::net::SocketAddr;

use super::merge::Merge;
use tidegate_model::settings::Setting;
use tidegate_model::{ConfigError, Place};

/// Refuses an address that an earlier listener has.
///
/// # Errors
/// Names what sets the address, and the other listener.
pub(super) fn check_listeners(
    merge: &Merge<'_>,
    listeners: &[(&Setting, Option<SocketAddr>)],
) -> Result<(), ConfigError> {
    for (at, (setting, address)) in listeners.iter().enumerate() {
        let Some(address) = *address else { continue };
        let is_taken = |other: Option<SocketAddr>| other.is_some_and(|it| clash(address, it));
        let mut earlier = listeners[..at].iter();
        let Some((other, _)) = earlier.find(|(_, other)| is_taken(*other)) else {
            continue;
        };
        let place = merge.shown(setting)?.map(|(_, place)| place);
        let place = place.unwrap_or_else(|| Place::Name(name(setting)));
        let other = name(other);
        let why = format!("{address} cannot be listened on, as {other} takes it");
        return Err(ConfigError::new(&place, why));
    }
    Ok(())
}

fn name(setting: &Setting) -> &'static str {
    setting.variable.unwrap_or(setting.key)
}

/// Whether only one of two addresses can be listened on. A port of 0 is any that is free.
fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    let includes = is_any && one.is_ipv4() == other.is_ipv4();
    one.port() == other.port() && one.port() > 0 && (one.ip() == other.ip() || includes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_clash_if_one_is_or_includes_the_other() {
        let clash = |one: &str, other: &str| clash(one.parse().unwrap(), other.parse().unwrap());
        for (one, other) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::1]:8080", "[::]:8080"),
        ] {
            assert!(clash(one, other) && clash(other, one), "{one} {other}");
        }
        for (one, other) in [
            ("127.0.0.1:8080", "127.0.0.1:8081"),
            ("127.0.0.1:8080", "127.0.0.2:8080"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            // Whether that clashes is a setting of the system.
            ("0.0.0.0:8080", "[::]:8080"),
        ] {
            assert!(!clash(one, other) && !clash(other, one), "{one} {other}");
        }
    }
}
