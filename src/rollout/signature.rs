//! Revisions as they are stored, and who has signed them: Ed25519 (RFC 8032).

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use tidegate_traffic::syntax::{BYTES_MAX, LANGUAGE};

use crate::RevisionRefusal;

const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

/// What stands before the 32 bytes of a private key in PKCS#8, version 1 (RFC 5958, RFC 8410). OpenSSL 3.0 reads no
/// version 2, which has the public key too.
const PKCS8_V1: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// A revision as it is stored, before anything about it is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRevision {
    /// Its number.
    pub revision: u32,
    /// Its text.
    pub body: String,
    /// The SHA-256 of the text, in hexadecimal.
    pub sha256: String,
    /// The least version of the language that can read it.
    pub language: u32,
    /// Revisions below this number are void.
    pub floor: u32,
    /// The signature, if it is signed.
    pub signature: Option<Vec<u8>>,
}

impl StoredRevision {
    /// Returns a text as it is stored: not signed, without a floor, and in the first version of the language.
    #[must_use]
    pub fn unsigned(revision: u32, body: &str) -> Self {
        Self {
            revision,
            body: body.to_owned(),
            sha256: sha256_hex(body.as_bytes()),
            language: 1,
            floor: 0,
            signature: None,
        }
    }

    /// Returns whether the gateway may compile it; `floor` is the greatest one that was accepted.
    ///
    /// # Errors
    /// The first reason against it.
    pub fn admit(&self, trust: &TrustedKeys, floor: u32) -> Result<(), RevisionRefusal> {
        if self.body.is_empty() || self.body.len() > BYTES_MAX {
            return Err(RevisionRefusal::Size);
        }
        if !self.is_whole() {
            return Err(RevisionRefusal::Digest);
        }
        if self.language > LANGUAGE {
            return Err(RevisionRefusal::Language);
        }
        self.is_signed(trust)?;
        match self.revision < floor.max(self.floor) {
            true => Err(RevisionRefusal::Floor),
            false => Ok(()),
        }
    }

    /// Whether its digest is of its text.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        sha256_hex(self.body.as_bytes()) == self.sha256
    }

    /// Returns its floor if a trusted key has signed it; the text is not needed for that.
    #[must_use]
    pub fn signed_floor(&self, trust: &TrustedKeys) -> Option<u32> {
        let is_signed = !trust.keys.is_empty() && self.is_signed(trust).is_ok();
        (is_signed && self.floor <= self.revision).then_some(self.floor)
    }

    fn is_signed(&self, trust: &TrustedKeys) -> Result<(), RevisionRefusal> {
        if trust.keys.is_empty() {
            return Ok(());
        }
        let Some(signature) = &self.signature else {
            return Err(RevisionRefusal::Unsigned);
        };
        let signed = statement(&trust.fleet, self);
        let by = |TrustedKey(key): &TrustedKey| {
            let key = UnparsedPublicKey::new(&ED25519, key);
            key.verify(signed.as_bytes(), signature).is_ok()
        };
        match trust.keys.iter().any(by) {
            true => Ok(()),
            false => Err(RevisionRefusal::Signature),
        }
    }
}

/// Returns the SHA-256 of some bytes in hexadecimal.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    let hash = digest(&SHA256, bytes);
    hash.as_ref().iter().map(|it| format!("{it:02x}")).collect()
}

/// What a signature is over.
fn statement(fleet: &str, of: &StoredRevision) -> String {
    format!(
        "tidegate-revision-v1\n{fleet}\n{}\n{}\n{}\n",
        of.revision, of.floor, of.sha256
    )
}

/// Whose signatures count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedKeys {
    /// The fleet's name, which is in every signature.
    pub fleet: String,
    /// The keys; with none, revisions need no signature.
    pub keys: Vec<TrustedKey>,
}

/// A public key: its 32 bytes, in base64 where it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedKey([u8; 32]);

impl FromStr for TrustedKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = STANDARD
            .decode(text)
            .map_err(|_unreadable| KeyError::Public)?;
        let bytes = bytes.try_into().map_err(|_length| KeyError::Public)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

/// A private key that signs revisions.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// Makes a key; returns its PKCS#8 form in PEM and itself.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn generate() -> Result<(String, Self), KeyError> {
        let mut seed = [0; 32];
        let filled = SystemRandom::new().fill(&mut seed);
        filled.map_err(|_unspecified| KeyError::Random)?;
        let pkcs8 = STANDARD.encode([&PKCS8_V1[..], &seed].concat());
        let pem = format!("{PEM_BEGIN}\n{pkcs8}\n{PEM_END}\n");
        Ok((pem.clone(), Self::from_pem(&pem)?))
    }

    /// Reads a key in PKCS#8 PEM, as `openssl genpkey -algorithm ed25519` writes it; version 2 is read too.
    ///
    /// # Errors
    /// When it is not one.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let (_, rest) = text.split_once(PEM_BEGIN).ok_or(KeyError::Private)?;
        let (body, _) = rest.split_once(PEM_END).ok_or(KeyError::Private)?;
        let body: String = body.split_whitespace().collect();
        let der = STANDARD
            .decode(body)
            .map_err(|_unreadable| KeyError::Private)?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der);
        pair.map(Self).map_err(|_rejected| KeyError::Private)
    }

    /// Returns the public key, as `trusted_keys` takes it.
    #[must_use]
    pub fn public(&self) -> TrustedKey {
        let bytes = self.0.public_key().as_ref().try_into();
        TrustedKey(bytes.unwrap_or_default())
    }

    /// Signs a revision of a fleet.
    #[must_use]
    pub fn sign(&self, fleet: &str, revision: &StoredRevision) -> Vec<u8> {
        let signature = self.0.sign(statement(fleet, revision).as_bytes());
        signature.as_ref().to_vec()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public()).finish()
    }
}

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A private one.
    #[error(
        "expected an unencrypted Ed25519 key in PKCS#8 PEM, as `tidegate policy key` writes it"
    )]
    Private,
    /// A public one.
    #[error(
        "expected the 32 bytes of an Ed25519 public key in base64, as `tidegate policy key` prints them"
    )]
    Public,
    /// There are no random numbers.
    #[error("the system has no random numbers")]
    Random,
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &str = "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";
    const SIGNED: &str = "bPTzzu5rUmXFVRVuK97CdDq3gQBANr7DOuMxBPyR+TNgXhdxYfeeaPPMCoQO0x6s\
        EY1GPYCRC2oW4tx4qvDrBg==";

    fn trust(keys: &[&SigningKey]) -> TrustedKeys {
        TrustedKeys {
            fleet: "shop".to_owned(),
            keys: keys.iter().map(|key| key.public()).collect(),
        }
    }

    #[test]
    fn without_keys_a_whole_text_counts_and_a_wrong_one_is_refused_with_its_reason() {
        let open = TrustedKeys::default();
        let good = StoredRevision::unsigned(3, "policy");
        assert_eq!(good.admit(&open, 3), Ok(()));
        assert_eq!(good.admit(&open, 4), Err(RevisionRefusal::Floor));
        let other = |change: &dyn Fn(&mut StoredRevision)| {
            let mut other = good.clone();
            change(&mut other);
            other.admit(&open, 0)
        };
        assert_eq!(other(&|it| it.body.push(' ')), Err(RevisionRefusal::Digest));
        assert_eq!(other(&|it| it.body.clear()), Err(RevisionRefusal::Size));
        assert_eq!(other(&|it| it.language = 2), Err(RevisionRefusal::Language));
        let long = "x".repeat(BYTES_MAX + 1);
        assert_eq!(
            StoredRevision::unsigned(1, &long).admit(&open, 0),
            Err(RevisionRefusal::Size)
        );
    }

    #[test]
    fn a_signature_counts_for_its_key_fleet_number_floor_and_text_alone() {
        let (_, key) = SigningKey::generate().unwrap();
        let (_, unknown) = SigningKey::generate().unwrap();
        let mut good = StoredRevision::unsigned(7, "policy");
        good.floor = 2;
        good.signature = Some(key.sign("shop", &good));
        assert_eq!(good.admit(&trust(&[&unknown, &key]), 0), Ok(()));
        let refused = Err(RevisionRefusal::Signature);
        assert_eq!(good.admit(&trust(&[&unknown]), 0), refused);
        let elsewhere = TrustedKeys {
            fleet: "other".to_owned(),
            ..trust(&[&key])
        };
        assert_eq!(good.admit(&elsewhere, 0), refused);
        let renumbered = StoredRevision {
            revision: 8,
            ..good.clone()
        };
        assert_eq!(renumbered.admit(&trust(&[&key]), 0), refused);
        let lower = StoredRevision {
            floor: 1,
            ..good.clone()
        };
        assert_eq!(lower.admit(&trust(&[&key]), 0), refused);
        let rewritten = StoredRevision {
            signature: good.signature.clone(),
            floor: 2,
            ..StoredRevision::unsigned(7, "other")
        };
        assert_eq!(rewritten.admit(&trust(&[&key]), 0), refused);
        let unsigned = StoredRevision {
            signature: None,
            ..good
        };
        assert_eq!(
            unsigned.admit(&trust(&[&key]), 0),
            Err(RevisionRefusal::Unsigned)
        );
    }

    #[test]
    fn a_key_of_openssl_is_read_and_signs_as_rfc_8032_says() {
        // RFC 8410 section 10.3.
        let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
        let key = SigningKey::from_pem(pem).unwrap();
        assert_eq!(key.public().to_string(), PUBLIC);
        let mut revision = StoredRevision::unsigned(7, "policy");
        revision.floor = 2;
        // `openssl pkeyutl -sign -rawin` over the same five lines.
        assert_eq!(STANDARD.encode(key.sign("shop", &revision)), SIGNED);
    }

    #[test]
    fn a_key_is_written_as_openssl_writes_it_and_one_with_its_public_key_is_read_too() {
        let (pem, key) = SigningKey::generate().unwrap();
        let lines: Vec<_> = pem.lines().collect();
        let der = STANDARD.decode(lines[1]).unwrap();
        assert_eq!((der.len(), &der[..16]), (48, &PKCS8_V1[..]));
        assert_eq!(SigningKey::from_pem(&pem).unwrap().public(), key.public());
        let version_2 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pem = format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", STANDARD.encode(&version_2));
        let pair = Ed25519KeyPair::from_pkcs8(version_2.as_ref()).unwrap();
        let key = SigningKey::from_pem(&pem).unwrap();
        assert_eq!(key.public().0, pair.public_key().as_ref());
    }

    #[test]
    fn a_floor_counts_without_its_text_where_a_trusted_key_has_signed_it() {
        let (_, key) = SigningKey::generate().unwrap();
        let mut signed = StoredRevision::unsigned(7, "policy");
        signed.floor = 5;
        signed.signature = Some(key.sign("shop", &signed));
        signed.body.clear();
        assert_eq!(signed.signed_floor(&trust(&[&key])), Some(5));
        assert_eq!(
            signed.signed_floor(&trust(&[])),
            None,
            "no key says anything"
        );
        let raised = StoredRevision {
            floor: 7,
            ..signed.clone()
        };
        assert_eq!(raised.signed_floor(&trust(&[&key])), None);
        let mut above = StoredRevision::unsigned(7, "policy");
        above.floor = 8;
        above.signature = Some(key.sign("shop", &above));
        assert_eq!(above.signed_floor(&trust(&[&key])), None);
    }

    #[test]
    fn what_is_not_a_key_is_refused() {
        for text in ["", "AAAA", "not base64!"] {
            assert_eq!(text.parse::<TrustedKey>(), Err(KeyError::Public));
            assert!(SigningKey::from_pem(text).is_err());
        }
    }
}
