//! Secrets in the database: AES-256-GCM with a data key per row.
//!
//! A sealed value is `version (1) ‖ id of the master key (8) ‖ nonce (12) ‖ data key, sealed (48) ‖
//! nonce (12) ‖ value, sealed`. Table, row and column are the associated data of both, so that sealed
//! values cannot be swapped between rows.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

use super::StorageError;

const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const ID_BYTES: usize = 8;
const VERSION: u8 = 1;
/// Master keys at the same time: a new one, and those that rows are still sealed with.
const KEYS_MAX: usize = 8;

/// The master keys; the first one seals.
#[derive(Clone)]
pub struct MasterKeys(Vec<MasterKey>);

impl std::fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKeys(…)")
    }
}

#[derive(Clone)]
struct MasterKey {
    id: [u8; ID_BYTES],
    key: LessSafeKey,
}

/// Where a sealed value stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell<'a> {
    pub(super) table: &'a str,
    pub(super) id: &'a str,
    pub(super) column: &'a str,
}

impl Cell<'_> {
    fn aad(&self) -> Aad<Vec<u8>> {
        let parts = [self.table, self.id, self.column];
        Aad::from(parts.join("\0").into_bytes())
    }
}

impl MasterKeys {
    /// Reads the value of `STORAGE_MASTER_KEY`.
    ///
    /// # Errors
    /// Says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let key = |text: &str| {
            let bytes = STANDARD.decode(text.trim()).ok();
            bytes.and_then(|bytes| MasterKey::new(&bytes))
        };
        let keys: Option<Vec<_>> = text.split(',').map(key).collect();
        match keys {
            Some(keys) if keys.len() <= KEYS_MAX => Ok(Self(keys)),
            Some(_) => Err(format!("expected at most {KEYS_MAX} keys")),
            None => Err(
                "expected 32 bytes in base64, as `openssl rand -base64 32` prints; several are \
                         separated by commas"
                    .to_owned(),
            ),
        }
    }

    /// Seals a value for one place.
    pub(super) fn seal(&self, cell: Cell<'_>, value: &[u8]) -> Result<Vec<u8>, StorageError> {
        let master = &self.0[0];
        let mut data_key = random::<KEY_BYTES>()?;
        let mut sealed = vec![VERSION];
        sealed.extend(master.id);
        append_sealed(&mut sealed, &master.key, cell, &data_key)?;
        append_sealed(&mut sealed, &aes(&data_key)?, cell, value)?;
        data_key.fill(0);
        Ok(sealed)
    }

    /// Whether the first key has sealed a value.
    pub(super) fn has_sealed(&self, sealed: &[u8]) -> bool {
        sealed
            .get(1..)
            .is_some_and(|rest| rest.starts_with(&self.0[0].id))
    }

    /// Opens what was sealed for the same place.
    pub(super) fn open(&self, cell: Cell<'_>, sealed: &[u8]) -> Result<Vec<u8>, StorageError> {
        let damaged = StorageError::Sealed("a sealed value is damaged, or belongs to another row");
        let unknown = StorageError::Sealed("no key of STORAGE_MASTER_KEY opens a sealed value");
        let Some((&VERSION, rest)) = sealed.split_first() else {
            return Err(damaged);
        };
        let Some((id, rest)) = rest.split_first_chunk::<ID_BYTES>() else {
            return Err(damaged);
        };
        let master = self.0.iter().find(|key| key.id == *id).ok_or(unknown)?;
        let wrapped = NONCE_LEN + KEY_BYTES + TAG_BYTES;
        let Some((key, value)) = rest.split_at_checked(wrapped) else {
            return Err(damaged);
        };
        let key = opened(&master.key, cell, key)?;
        opened(&aes(&key)?, cell, value)
    }
}

impl MasterKey {
    fn new(bytes: &[u8]) -> Option<Self> {
        let hash = digest(&SHA256, bytes);
        Some(Self {
            id: *hash.as_ref().first_chunk()?,
            key: aes(bytes).ok()?,
        })
    }
}

/// Returns random bytes.
pub(super) fn random<const N: usize>() -> Result<[u8; N], StorageError> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    let failed = |_unspecified| StorageError::Sealed("the system has no random bytes");
    filled.map_err(failed).map(|()| bytes)
}

/// Makes an AES-256-GCM key.
pub(super) fn aes(bytes: &[u8]) -> Result<LessSafeKey, StorageError> {
    let key = UnboundKey::new(&AES_256_GCM, bytes);
    let failed = |_unspecified| StorageError::Sealed("a key has not 32 bytes");
    key.map(LessSafeKey::new).map_err(failed)
}

fn append_sealed(
    to: &mut Vec<u8>,
    key: &LessSafeKey,
    cell: Cell<'_>,
    value: &[u8],
) -> Result<(), StorageError> {
    let nonce = random::<NONCE_LEN>()?;
    to.extend(nonce);
    let mut text = value.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    let sealed = key.seal_in_place_append_tag(nonce, cell.aad(), &mut text);
    sealed.map_err(|_unspecified| StorageError::Sealed("a value cannot be sealed"))?;
    to.append(&mut text);
    Ok(())
}

fn opened(key: &LessSafeKey, cell: Cell<'_>, sealed: &[u8]) -> Result<Vec<u8>, StorageError> {
    let damaged = || StorageError::Sealed("a sealed value is damaged, or belongs to another row");
    let (nonce, text) = sealed
        .split_first_chunk::<NONCE_LEN>()
        .ok_or_else(damaged)?;
    let mut text = text.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let value = key.open_in_place(nonce, cell.aad(), &mut text);
    let value = value.map_err(|_unspecified| damaged())?;
    Ok(value.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const TWO: &str = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const CELL: Cell<'_> = Cell {
        table: "bucket",
        id: "1",
        column: "credentials",
    };

    fn keys(text: &str) -> MasterKeys {
        MasterKeys::parse(text).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_in_its_own_place_only() {
        let sealed = keys(ONE).seal(CELL, b"secret").unwrap();
        assert_eq!(keys(ONE).open(CELL, &sealed).unwrap(), b"secret");
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        for other in [
            Cell {
                table: "key",
                ..CELL
            },
            Cell { id: "2", ..CELL },
            Cell {
                column: "x",
                ..CELL
            },
        ] {
            assert!(keys(ONE).open(other, &sealed).is_err(), "{other:?}");
        }
    }

    #[test]
    fn an_older_key_still_opens_and_the_first_one_seals() {
        let old = keys(ONE).seal(CELL, b"x").unwrap();
        let both = keys(&format!("{TWO},{ONE}"));
        assert_eq!(both.open(CELL, &old).unwrap(), b"x");
        let new = both.seal(CELL, b"x").unwrap();
        assert!(keys(ONE).open(CELL, &new).is_err());
        assert!(keys(TWO).open(CELL, &new).is_ok());
    }

    #[test]
    fn any_changed_or_missing_byte_is_noticed() {
        let sealed = keys(ONE).seal(CELL, b"secret").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(keys(ONE).open(CELL, &changed).is_err(), "byte {at}");
            assert!(keys(ONE).open(CELL, &sealed[..at]).is_err(), "{at} bytes");
        }
    }

    #[test]
    fn a_master_key_has_32_bytes() {
        for text in ["", "AAAA", "x", "AAAA,AAAA"] {
            assert!(MasterKeys::parse(text).is_err(), "{text}");
        }
    }
}
