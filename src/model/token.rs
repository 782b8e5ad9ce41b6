//! Consistency tokens: a signed WAL position that a client carries between requests and regions.
//!
//! ```text
//! base64url( version u8 | system u64 | timeline u32 | lsn u64 | first 16 bytes of HMAC-SHA-256 )
//! ```
//!
//! Integers are big-endian. The signature prevents clients from inventing positions, for which
//! gateways would wait in vain; the contents are not secret. There is no expiry: every node
//! satisfies an old position.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use subtle::ConstantTimeEq;

use crate::settings::Setting;
use crate::{Lsn, SystemId, Timeline, WalPosition};

const VERSION: u8 = 1;
const PAYLOAD_LENGTH: usize = 1 + 8 + 4 + 8;
/// Half of HMAC-SHA-256, the shortest truncation that RFC 2104 recommends.
const TAG_LENGTH: usize = 16;
const BINARY_LENGTH: usize = PAYLOAD_LENGTH + TAG_LENGTH;
const TEXT_LENGTH: usize = (BINARY_LENGTH * 4).div_ceil(3);

/// Shortest secret: with fewer than 128 bits the key is easier to guess than the tag.
const SECRET_LENGTH_MIN: usize = 16;
/// Most keys at once: each adds one HMAC for every unverifiable token, and rotation needs two.
const KEYS_MAX: usize = 8;

/// Signs and verifies tokens: the first key signs, all verify.
pub struct TokenKeys {
    signing: hmac::Key,
    retired: Vec<hmac::Key>,
}

impl TokenKeys {
    /// The secrets of a process.
    pub const SETTING: Setting = Setting {
        variable: Some("TOKEN_SECRET"),
        default: || "not set: random keys, with a warning".to_owned(),
        range: || {
            format!(
                "1 to {KEYS_MAX} secrets of at least {SECRET_LENGTH_MIN} bytes, separated by commas"
            )
        },
        shown: Setting::secret,
        meaning: "The keys of [consistency tokens](security.md#the-token-secret), the same in every region: \
                  the first signs, all verify.",
        ..Setting::UNNAMED
    };

    /// Reads comma-separated secrets of at least 16 bytes each; blanks around them do not count.
    ///
    /// # Errors
    ///
    /// Gives the place of the first secret that is too short, or states that there are too many.
    pub fn parse(secrets: &str) -> Result<Self, TokenKeysError> {
        let mut keys = Vec::new();
        for secret in secrets.split(',').map(str::trim) {
            let place = keys.len() + 1;
            if place > KEYS_MAX {
                return Err(TokenKeysError::TooMany);
            }
            if secret.len() < SECRET_LENGTH_MIN {
                return Err(TokenKeysError::TooShort { place });
            }
            keys.push(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()));
        }
        let signing = keys.remove(0); // splitting a text gives at least one piece
        Ok(Self {
            signing,
            retired: keys,
        })
    }

    /// Generates one key, which neither other processes nor this one after a restart will know.
    ///
    /// # Errors
    ///
    /// The operating system did not provide random bytes.
    pub fn random() -> Result<Self, TokenKeysError> {
        let signing = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .or(Err(TokenKeysError::NoRandomness))?;
        Ok(Self {
            signing,
            retired: Vec::new(),
        })
    }

    /// Writes the token of a position.
    pub fn sign(&self, position: &WalPosition) -> String {
        let payload = encode(position);
        let mut binary = [0; BINARY_LENGTH];
        binary[..PAYLOAD_LENGTH].copy_from_slice(&payload);
        binary[PAYLOAD_LENGTH..].copy_from_slice(&tag(&self.signing, &payload));
        URL_SAFE_NO_PAD.encode(binary)
    }

    /// Reads the position from a token that one of the keys has signed.
    ///
    /// # Errors
    ///
    /// [`TokenError::Malformed`] if no gateway can have issued it, [`TokenError::Unverifiable`] if
    /// it is well-formed but none of the keys signed it.
    pub fn verify(&self, token: &str) -> Result<WalPosition, TokenError> {
        self.verify_bytes(token.as_bytes())
    }

    pub(super) fn verify_bytes(&self, token: &[u8]) -> Result<WalPosition, TokenError> {
        let (binary, TokenParts { position, .. }) = read(token)?;
        let (payload, received) = binary.split_at(PAYLOAD_LENGTH);
        let signed = self
            .keys()
            .any(|key| tag(key, payload).ct_eq(received).into());
        if signed {
            Ok(position)
        } else {
            Err(TokenError::Unverifiable)
        }
    }

    fn keys(&self) -> impl Iterator<Item = &hmac::Key> {
        std::iter::once(&self.signing).chain(&self.retired)
    }
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKeys({})", self.keys().count())
    }
}

/// The contents of a token, regardless of the signature: for display, never for decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenParts {
    /// The version of the format.
    pub version: u8,
    /// The position that it contains.
    pub position: WalPosition,
}

impl TokenParts {
    /// Reads a token without verifying its signature.
    ///
    /// # Errors
    ///
    /// Only [`TokenError::Malformed`].
    pub fn read(token: &str) -> Result<Self, TokenError> {
        read(token.as_bytes()).map(|(_, parts)| parts)
    }
}

/// Why a token's position cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not a token of this version, or repeated fields disagree.
    #[error("the consistency token is malformed")]
    Malformed,
    /// It may be genuine, but none of the keys here signed it.
    #[error("the consistency token was not signed by a key of this gateway")]
    Unverifiable,
}

/// Why there are no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenKeysError {
    /// A secret is so short that it could be guessed.
    #[error("secret {place} is shorter than {SECRET_LENGTH_MIN} bytes")]
    TooShort {
        /// Which secret, counted from 1.
        place: usize,
    },
    /// There are more secrets than a rotation needs.
    #[error("there are more than {KEYS_MAX} secrets")]
    TooMany,
    /// The operating system's generator failed.
    #[error("the operating system did not provide random bytes")]
    NoRandomness,
}

fn tag(key: &hmac::Key, payload: &[u8]) -> [u8; TAG_LENGTH] {
    let mut tag = [0; TAG_LENGTH];
    tag.copy_from_slice(&hmac::sign(key, payload).as_ref()[..TAG_LENGTH]);
    tag
}

fn encode(position: &WalPosition) -> [u8; PAYLOAD_LENGTH] {
    let mut payload = [0; PAYLOAD_LENGTH];
    payload[0] = VERSION;
    payload[1..9].copy_from_slice(&position.system.0.to_be_bytes());
    payload[9..13].copy_from_slice(&position.timeline.0.to_be_bytes());
    payload[13..].copy_from_slice(&position.lsn.0.to_be_bytes());
    payload
}

/// Decodes a token. The length is checked first, so that a hostile one is not even decoded.
fn read(token: &[u8]) -> Result<([u8; BINARY_LENGTH], TokenParts), TokenError> {
    if token.len() != TEXT_LENGTH {
        return Err(TokenError::Malformed);
    }
    let mut binary = [0; BINARY_LENGTH];
    let length = URL_SAFE_NO_PAD
        .decode_slice(token, &mut binary)
        .or(Err(TokenError::Malformed))?;
    let position = decode(&binary[..PAYLOAD_LENGTH]).filter(|_| length == BINARY_LENGTH);
    let position = position.ok_or(TokenError::Malformed)?;
    let parts = TokenParts {
        version: VERSION,
        position,
    };
    Ok((binary, parts))
}

/// Reads a payload; another version gives `None`.
fn decode(payload: &[u8]) -> Option<WalPosition> {
    let (&VERSION, rest) = payload.split_first()? else {
        return None;
    };
    let (system, rest) = rest.split_first_chunk()?;
    let (timeline, lsn) = rest.split_first_chunk()?;
    Some(WalPosition {
        system: SystemId(u64::from_be_bytes(*system)),
        timeline: Timeline(u32::from_be_bytes(*timeline)),
        lsn: Lsn(u64::from_be_bytes(lsn.try_into().ok()?)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OLD: &str = "an old secret of the gateway";
    const NEW: &str = "a new secret of the gateway";

    fn keys(secrets: &str) -> TokenKeys {
        TokenKeys::parse(secrets).unwrap()
    }

    fn position(system: u64, timeline: u32, lsn: u64) -> WalPosition {
        WalPosition {
            system: SystemId(system),
            timeline: Timeline(timeline),
            lsn: Lsn(lsn),
        }
    }

    #[test]
    fn the_format_does_not_change_by_accident() {
        let token = keys(OLD).sign(&position(7_000_000_000_000_000_001, 3, 0x16_B374_D848));
        assert_eq!(token, "AWEk_umTvAABAAAAAwAAABazdNhI-x11UTaBF92W87fsOpzHRw");
    }

    #[test]
    fn the_first_key_signs_and_all_verify() {
        let at = position(1, 1, 1);
        let rotated = keys(&format!("{NEW}, {OLD}"));
        assert_eq!(rotated.verify(&keys(OLD).sign(&at)), Ok(at));
        assert_eq!(keys(NEW).verify(&rotated.sign(&at)), Ok(at));
        assert_eq!(
            keys(OLD).verify(&rotated.sign(&at)),
            Err(TokenError::Unverifiable)
        );
    }

    #[test]
    fn a_random_key_is_like_no_other() {
        let (one, other) = (TokenKeys::random().unwrap(), TokenKeys::random().unwrap());
        let token = one.sign(&position(1, 1, 1));
        assert!(one.verify(&token).is_ok());
        assert_eq!(other.verify(&token), Err(TokenError::Unverifiable));
    }

    #[test]
    fn anybody_can_read_the_parts_of_a_token() {
        let position = position(1, 2, 3);
        let parts = TokenParts {
            version: VERSION,
            position,
        };
        assert_eq!(TokenParts::read(&keys(OLD).sign(&position)), Ok(parts));
        assert_eq!(TokenParts::read("AAAA"), Err(TokenError::Malformed));
    }

    #[test]
    fn weak_secrets_are_refused_by_place() {
        let refused = |secrets: &str| TokenKeys::parse(secrets).err();
        assert_eq!(refused(""), Some(TokenKeysError::TooShort { place: 1 }));
        assert_eq!(
            refused("short"),
            Some(TokenKeysError::TooShort { place: 1 })
        );
        assert_eq!(
            refused(&format!("{NEW},")),
            Some(TokenKeysError::TooShort { place: 2 })
        );
        assert_eq!(
            refused(&[NEW; KEYS_MAX + 1].join(",")),
            Some(TokenKeysError::TooMany)
        );
        assert_eq!(refused(&"k".repeat(SECRET_LENGTH_MIN)), None);
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", keys(&format!("{NEW},{OLD}")));
        assert_eq!(shown, "TokenKeys(2)");
    }

    #[test]
    fn what_no_gateway_issued_is_malformed() {
        let token = keys(OLD).sign(&position(1, 1, 1));
        let padded = format!("{token}==");
        let foreign = token.replacen('A', "+", 1);
        let version_2 = token.replacen("AQ", "Ag", 1);
        let huge = "A".repeat(1 << 20);
        for bad in [
            "",
            "AAAA",
            &token[1..],
            &padded,
            &foreign,
            &version_2,
            &huge,
        ] {
            assert_eq!(keys(OLD).verify(bad), Err(TokenError::Malformed));
        }
    }

    proptest! {
        #[test]
        fn signing_and_verifying_cancel_out(system: u64, timeline: u32, lsn: u64) {
            let at = position(system, timeline, lsn);
            prop_assert_eq!(keys(OLD).verify(&keys(OLD).sign(&at)), Ok(at));
        }

        #[test]
        fn a_token_with_any_bit_flipped_is_refused(lsn: u64, bit in 0..TEXT_LENGTH * 8) {
            let mut token = keys(OLD).sign(&position(1, 1, lsn)).into_bytes();
            token[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(keys(OLD).verify_bytes(&token).is_err());
        }

        #[test]
        fn a_payload_with_any_bit_flipped_is_refused(lsn: u64, bit in 0..BINARY_LENGTH * 8) {
            let token = keys(OLD).sign(&position(1, 1, lsn));
            let mut binary = URL_SAFE_NO_PAD.decode(token).unwrap();
            binary[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(keys(OLD).verify(&URL_SAFE_NO_PAD.encode(binary)).is_err());
        }
    }
}
