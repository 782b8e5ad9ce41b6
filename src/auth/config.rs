//! How bearer tokens are verified: the `AUTH_*` variables.
//!
//! The environment is read elsewhere: a variable that is not set is absent here.

use std::net::IpAddr;

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use tidegate_model::settings::Setting;
use tidegate_model::{ConfigError, Place};

const SECRET: &str = "AUTH_JWT_SECRET";
const JWKS_URL: &str = "AUTH_JWKS_URL";
const AUDIENCE: &str = "AUTH_JWT_AUDIENCE";
const ISSUER: &str = "AUTH_JWT_ISSUER";

/// The secret that bearer tokens are signed with.
pub const JWT_SECRET: Setting = Setting {
    variable: Some(SECRET),
    default: || "not set".to_owned(),
    range: || format!("at least {SECRET_BYTES_MIN} bytes; 32 random ones are better"),
    shown: Setting::secret,
    meaning: "The HS256 secret of [bearer tokens](security.md#clients-jwt). Without it and without a key \
              set, every endpoint with `auth = \"jwt\"` answers 401.",
    ..Setting::UNNAMED
};

/// The URL of the key set that bearer tokens are verified with.
pub const JWT_KEY_SET: Setting = Setting {
    variable: Some(JWKS_URL),
    default: || "none".to_owned(),
    range: || "an `https` URL without credentials; `http` on loopback addresses only".to_owned(),
    meaning: "In place of a secret: the key set for RS256, ES256 and EdDSA.",
    ..Setting::UNNAMED
};

/// The audience that bearer tokens must name.
pub const JWT_AUDIENCE: Setting = Setting {
    variable: Some(AUDIENCE),
    default: || "not checked".to_owned(),
    range: || "a text".to_owned(),
    meaning: "The required member of `aud`; an error without a secret or key set.",
    ..Setting::UNNAMED
};

/// The issuer that bearer tokens must name.
pub const JWT_ISSUER: Setting = Setting {
    variable: Some(ISSUER),
    default: || "not checked".to_owned(),
    range: || "a text".to_owned(),
    meaning: "The required `iss`; an error without a secret or key set.",
    ..Setting::UNNAMED
};

/// Shortest HS256 secret. A shorter one can be found by trying, given a single token; 32 random
/// bytes are better (RFC 7518, section 3.2).
const SECRET_BYTES_MIN: usize = 16;

/// The requirements for a token to be accepted.
#[derive(Debug, Clone, Default)]
pub struct AuthConfig {
    /// The keys that signatures are checked with.
    pub keys: KeySource,
    /// Required member of `aud`; not checked when absent.
    pub audience: Option<String>,
    /// Required `iss`; not checked when absent.
    pub issuer: Option<String>,
}

/// The source of verification keys.
#[derive(Debug, Clone, Default)]
pub enum KeySource {
    /// No tokens can be verified: every endpoint that needs one answers 401.
    #[default]
    None,
    /// One shared secret, for HS256 only.
    Hs256(SecretString),
    /// A JSON Web Key Set to fetch, for RS256, ES256 and `EdDSA`.
    Jwks(Url),
}

impl AuthConfig {
    /// Reads the `AUTH_*` variables; `get` gives the value of one.
    ///
    /// # Errors
    /// A secret together with a JWKS, a secret under 16 bytes, an audience or issuer without
    /// either, or a JWKS URL that is neither `https` nor `http` on a loopback address.
    pub fn resolve<'a>(get: impl Fn(&'static str) -> Option<&'a str>) -> Result<Self, ConfigError> {
        let keys = match (get(SECRET), get(JWKS_URL)) {
            (None, None) => KeySource::None,
            (Some(secret), None) => KeySource::Hs256(parse_secret(secret)?),
            (None, Some(url)) => KeySource::Jwks(parse_url(url)?),
            (Some(_), Some(_)) => {
                let why = format!("contradicts {SECRET}: set one of them");
                return Err(ConfigError::new(&Place::Name(JWKS_URL), why));
            }
        };
        let config = Self {
            keys,
            audience: get(AUDIENCE).map(str::to_owned),
            issuer: get(ISSUER).map(str::to_owned),
        };
        config.require_keys_for(AUDIENCE, config.audience.as_ref())?;
        config.require_keys_for(ISSUER, config.issuer.as_ref())?;
        Ok(config)
    }

    fn require_keys_for(
        &self,
        name: &'static str,
        value: Option<&String>,
    ) -> Result<(), ConfigError> {
        match (&self.keys, value) {
            (KeySource::None, Some(value)) => Err(ConfigError::variable(
                name,
                value,
                format!("has no effect without {SECRET} or {JWKS_URL}"),
            )),
            _ => Ok(()),
        }
    }
}

fn parse_secret(secret: &str) -> Result<SecretString, ConfigError> {
    if secret.len() < SECRET_BYTES_MIN {
        let message = format!("must be at least {SECRET_BYTES_MIN} bytes long; 32 are better");
        return Err(ConfigError::new(&Place::Name(SECRET), message));
    }
    Ok(SecretString::from(secret))
}

fn parse_url(text: &str) -> Result<Url, ConfigError> {
    let refused = |why: &dyn std::fmt::Display| ConfigError::variable(JWKS_URL, text, why);
    let malformed = |why| refused(&format_args!("it is not a valid URL: {why}"));
    let url: Url = text.parse().map_err(malformed)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused(&"it must not carry credentials"));
    }
    if url.port() == Some(0) {
        return Err(refused(&"the port is 0"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        _ => Err(refused(
            &"it must begin with https://; http:// is allowed on loopback addresses only",
        )),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost"
        || host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

impl KeySource {
    /// The shared secret, if tokens are signed with one.
    #[must_use]
    pub fn hs256_secret(&self) -> Option<&[u8]> {
        match self {
            Self::Hs256(secret) => Some(secret.expose_secret().as_bytes()),
            Self::None | Self::Jwks(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(pairs: &[(&str, &str)]) -> Result<AuthConfig, String> {
        let get = |name: &str| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1);
        AuthConfig::resolve(get).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_set_verifies_nothing() {
        assert!(matches!(resolve(&[]).unwrap().keys, KeySource::None));
    }

    #[test]
    fn a_secret_and_a_key_set_contradict_each_other() {
        let pairs = [
            (SECRET, "0123456789abcdef"),
            (JWKS_URL, "https://issuer.example/jwks"),
        ];
        assert_eq!(
            resolve(&pairs).unwrap_err(),
            "AUTH_JWKS_URL: contradicts AUTH_JWT_SECRET: set one of them"
        );
    }

    #[test]
    fn a_short_secret_is_refused_without_being_shown() {
        let message = resolve(&[(SECRET, "hunter2")]).unwrap_err();
        assert!(
            message.starts_with("AUTH_JWT_SECRET: must be at least 16 bytes"),
            "{message}"
        );
        assert!(!message.contains("hunter2"), "{message}");
    }

    #[test]
    fn a_secret_is_never_printed() {
        let config = resolve(&[(SECRET, "0123456789abcdef")]).unwrap();
        assert!(!format!("{config:?}").contains("0123456789abcdef"));
        assert_eq!(
            config.keys.hs256_secret(),
            Some(b"0123456789abcdef".as_slice())
        );
    }

    #[test]
    fn key_sets_come_over_https_or_from_this_host() {
        for good in [
            "https://issuer.example/.well-known/jwks.json",
            "http://127.0.0.1:8000/jwks",
            "http://[::1]:8000/jwks",
            "http://localhost/jwks",
        ] {
            assert!(resolve(&[(JWKS_URL, good)]).is_ok(), "{good}");
        }
        for bad in [
            "http://issuer.example/jwks",
            "http://127.0.0.1.example/jwks",
            "file:///etc/jwks",
            "https://user:secret@issuer.example/jwks",
            "jwks.json",
        ] {
            let message = resolve(&[(JWKS_URL, bad)]).unwrap_err();
            assert!(message.starts_with("AUTH_JWKS_URL = \""), "{message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn an_audience_without_keys_is_a_mistake() {
        let message = resolve(&[(AUDIENCE, "tidegate")]).unwrap_err();
        assert!(
            message.starts_with("AUTH_JWT_AUDIENCE = \"tidegate\": has no effect"),
            "{message}"
        );
    }
}
