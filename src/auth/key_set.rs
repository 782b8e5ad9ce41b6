//! JSON Web Key Sets (RFC 7517).

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::AuthError;
use super::key::{Algorithm, Key};

/// Keys in one set. Issuers publish two or three; a hundred is a mistake or an attack.
const KEYS_MAX: usize = 100;

/// The range of RSA moduli that ring verifies with.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// Bytes of a P-256 coordinate and of an Ed25519 public key.
const COORDINATE_BYTES: usize = 32;

/// Why a document is not a useful key set.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeySetError {
    #[error("it is not a JSON Web Key Set: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("it has {0} keys, more than {KEYS_MAX}")]
    TooMany(usize),
    #[error("none of its keys can verify RS256, ES256 or EdDSA")]
    NoneUsable,
}

/// The keys of a set that can verify signatures.
#[derive(Debug)]
pub(super) struct KeySet(Vec<NamedKey>);

#[derive(Debug)]
struct NamedKey {
    kid: Option<String>,
    key: Arc<Key>,
}

impl KeySet {
    /// Reads a set. Keys for other purposes or of other kinds are ignored, as the RFC requires,
    /// including symmetric ones, which do not belong in a public document.
    pub(super) fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        let set: Document = serde_json::from_slice(document)?;
        if set.keys.len() > KEYS_MAX {
            return Err(KeySetError::TooMany(set.keys.len()));
        }
        let usable = |key: Box<RawValue>| serde_json::from_str::<Jwk>(key.get()).ok()?.into_key();
        let keys: Vec<_> = set.keys.into_iter().filter_map(usable).collect();
        if keys.is_empty() {
            Err(KeySetError::NoneUsable)
        } else {
            Ok(Self(keys))
        }
    }

    /// Finds the key with this id for this algorithm. Without an id it is the only key for the
    /// algorithm: a signature is never tried with several keys.
    pub(super) fn find(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Arc<Key>, AuthError> {
        let fits = |it: &&NamedKey| it.key.algorithm() == algorithm;
        let Some(kid) = kid else {
            let mut fitting = self.0.iter().filter(fits);
            return match (fitting.next(), fitting.next()) {
                (Some(only), None) => Ok(Arc::clone(&only.key)),
                _ => Err(AuthError::UnknownKey),
            };
        };
        let mut named = self
            .0
            .iter()
            .filter(|it| it.kid.as_deref() == Some(kid))
            .peekable();
        named.peek().ok_or(AuthError::UnknownKey)?;
        named
            .find(fits)
            .map(|it| Arc::clone(&it.key))
            .ok_or(AuthError::Algorithm)
    }
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Box<RawValue>>,
}

/// The parameters of a key that are used here.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Jwk {
    fn into_key(self) -> Option<NamedKey> {
        let key = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => self.rsa(),
            ("EC", Some("P-256")) => self.p256(),
            ("OKP", Some("Ed25519")) => coordinate(self.x.as_ref()).map(Key::ed25519),
            _ => None,
        }?;
        let usable = self.is_for_signatures() && self.is_for(key.algorithm());
        usable.then(|| NamedKey {
            kid: self.kid,
            key: Arc::new(key),
        })
    }

    fn is_for_signatures(&self) -> bool {
        let by_use = self
            .purpose
            .as_deref()
            .is_none_or(|purpose| purpose == "sig");
        let by_ops = self
            .key_ops
            .as_ref()
            .is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        by_use && by_ops
    }

    fn is_for(&self, algorithm: Algorithm) -> bool {
        self.alg
            .as_ref()
            .is_none_or(|alg| alg.parse() == Ok(algorithm))
    }

    fn rsa(&self) -> Option<Key> {
        let n = without_leading_zeros(decode(self.n.as_ref())?);
        let e = without_leading_zeros(decode(self.e.as_ref())?);
        RSA_BYTES.contains(&n.len()).then(|| Key::rsa(n, e))
    }

    fn p256(&self) -> Option<Key> {
        const UNCOMPRESSED: u8 = 4;
        let (x, y) = (coordinate(self.x.as_ref())?, coordinate(self.y.as_ref())?);
        Some(Key::p256(
            [&[UNCOMPRESSED], x.as_slice(), y.as_slice()].concat(),
        ))
    }
}

fn decode(text: Option<&String>) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text?).ok()
}

fn coordinate(text: Option<&String>) -> Option<Vec<u8>> {
    decode(text).filter(|bytes| bytes.len() == COORDINATE_BYTES)
}

fn without_leading_zeros(mut bytes: Vec<u8>) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.drain(..zeros);
    bytes
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn ed25519(kid: &str) -> Value {
        let x = BASE64_URL_SAFE_NO_PAD.encode([7; 32]);
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x })
    }

    fn parse(keys: &Value) -> Result<KeySet, KeySetError> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[test]
    fn a_key_is_found_by_its_id_and_only_for_its_algorithm() {
        let set = parse(&json!([ed25519("a"), ed25519("b")])).unwrap();
        assert!(set.find(Some("a"), Algorithm::EdDsa).is_ok());
        assert_eq!(
            set.find(Some("a"), Algorithm::Rs256).unwrap_err(),
            AuthError::Algorithm
        );
        assert_eq!(
            set.find(Some("c"), Algorithm::EdDsa).unwrap_err(),
            AuthError::UnknownKey
        );
    }

    #[test]
    fn without_an_id_the_key_must_be_the_only_one() {
        let one = parse(&json!([ed25519("a")])).unwrap();
        assert!(one.find(None, Algorithm::EdDsa).is_ok());
        let two = parse(&json!([ed25519("a"), ed25519("b")])).unwrap();
        assert_eq!(
            two.find(None, Algorithm::EdDsa).unwrap_err(),
            AuthError::UnknownKey
        );
    }

    #[test]
    fn keys_of_other_kinds_and_purposes_are_left_out() {
        let with = |field: &str, value: Value| {
            let mut key = ed25519("a");
            key[field] = value;
            key
        };
        for unusable in [
            json!({ "kty": "oct", "kid": "a", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQ" }),
            json!({ "kty": "RSA", "kid": "a", "n": "AQAB", "e": "AQAB" }),
            json!("not an object"),
            with("use", json!("enc")),
            with("key_ops", json!(["sign"])),
            with("alg", json!("RS256")),
            with("crv", json!("X25519")),
            with("x", json!("AQAB")),
        ] {
            let error = parse(&json!([unusable])).unwrap_err();
            assert!(matches!(error, KeySetError::NoneUsable), "{unusable}");
            assert!(
                parse(&json!([unusable, ed25519("b")])).is_ok(),
                "{unusable}"
            );
        }
    }

    #[test]
    fn a_number_beyond_a_double_spoils_no_key() {
        let key = ed25519("a")
            .to_string()
            .replacen('{', r#"{"issued": 1e309, "#, 1);
        let set = format!(r#"{{"keys": [{key}], "version": 1e309}}"#);
        assert!(KeySet::parse(set.as_bytes()).is_ok());
    }

    #[test]
    fn a_flood_of_keys_is_refused() {
        let keys = Value::from(vec![ed25519("a"); KEYS_MAX + 1]);
        assert!(matches!(
            parse(&keys).unwrap_err(),
            KeySetError::TooMany(101)
        ));
    }
}
