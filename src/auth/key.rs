//! A key and the one algorithm that it is for.

use std::fmt;
use std::str::FromStr;

use ring::hmac;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
};

use super::AuthError;

/// A signature algorithm, by its JOSE name (RFC 7518, RFC 8037, RFC 9864).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Hs256,
    Rs256,
    Es256,
    EdDsa,
}

impl FromStr for Algorithm {
    type Err = AuthError;

    fn from_str(name: &str) -> Result<Self, AuthError> {
        match name {
            "HS256" => Ok(Self::Hs256),
            "RS256" => Ok(Self::Rs256),
            "ES256" => Ok(Self::Es256),
            "EdDSA" | "Ed25519" => Ok(Self::EdDsa),
            _ => Err(AuthError::Algorithm),
        }
    }
}

/// Key material that verifies signatures of exactly one algorithm.
pub(super) enum Key {
    Hmac(hmac::Key),
    Rsa(PublicKeyComponents<Vec<u8>>),
    P256(UnparsedPublicKey<Vec<u8>>),
    Ed25519(UnparsedPublicKey<Vec<u8>>),
}

impl Key {
    pub(super) fn hmac(secret: &[u8]) -> Self {
        Self::Hmac(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// From the big-endian modulus and exponent, without leading zeros.
    pub(super) fn rsa(n: Vec<u8>, e: Vec<u8>) -> Self {
        Self::Rsa(PublicKeyComponents { n, e })
    }

    /// From the uncompressed point.
    pub(super) fn p256(point: Vec<u8>) -> Self {
        Self::P256(UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point))
    }

    pub(super) fn ed25519(point: Vec<u8>) -> Self {
        Self::Ed25519(UnparsedPublicKey::new(&ED25519, point))
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Hmac(_) => Algorithm::Hs256,
            Self::Rsa(_) => Algorithm::Rs256,
            Self::P256(_) => Algorithm::Es256,
            Self::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), AuthError> {
        let verified = match self {
            Self::Hmac(key) => hmac::verify(key, message, signature),
            Self::Rsa(key) => key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature),
            Self::P256(key) | Self::Ed25519(key) => key.verify(message, signature),
        };
        verified.map_err(|ring::error::Unspecified| AuthError::Signature)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", self.algorithm())
    }
}
