//! A repository's access keys.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::StorageError;
use super::seal::random;

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyMode {
    /// Read and list.
    Read,
    /// Also write and delete.
    Write,
    /// Also create and delete repositories with the members and the policy of its own.
    Admin,
}

impl KeyMode {
    /// Returns its name on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for KeyMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyMode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Read, Self::Write, Self::Admin];
        let found = all.into_iter().find(|it| it.as_str() == text);
        found.ok_or("expected read, write or admin")
    }
}

/// A key of a repository.
#[derive(Debug, Clone)]
pub struct KeyPair {
    /// Its id among rows.
    pub id: String,
    /// The id that clients send.
    pub key_id: String,
    /// What clients sign with.
    pub secret: SecretString,
    /// While it is rotated, the other secret that holds.
    pub next_secret: Option<SecretString>,
    /// The id of the repository.
    pub repository: String,
    /// What it may do.
    pub mode: KeyMode,
}

/// A key that was just made; its secret is shown once.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewKey {
    /// Its id among rows.
    pub id: String,
    /// The id that clients send.
    pub key_id: String,
    /// What clients sign with.
    pub secret: String,
    /// What it may do.
    pub mode: KeyMode,
}

impl NewKey {
    /// Makes one: an id as AWS has them, and 240 bits of secret.
    pub(super) fn random(id: String, mode: KeyMode) -> Result<Self, StorageError> {
        const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let letter = |byte: u8| char::from(LETTERS[usize::from(byte % 32)]);
        let letters: String = random::<16>()?.into_iter().map(letter).collect();
        Ok(Self {
            id,
            key_id: format!("TGAK{letters}"),
            secret: URL_SAFE_NO_PAD.encode(random::<30>()?),
            mode,
        })
    }
}
