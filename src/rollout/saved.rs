//! The state file: what was in force last, for a gateway that starts without a database.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::FinishedRollout;
use crate::signature::{StoredRevision, sha256_hex};

/// What was in force when a rollout finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedPolicy {
    /// The fleet's name.
    pub fleet: String,
    /// The database's system identifier, if it could be read.
    pub system: Option<u64>,
    /// The database's OID in its cluster; none in a file of an older version.
    #[serde(default)]
    pub database: Option<u32>,
    /// The timeline on which the rollout was read.
    pub timeline: u32,
    /// The rollout.
    pub rollout: u64,
    /// When it began, in microseconds since 1970; 0 if that is not known.
    #[serde(default)]
    pub started: u64,
    /// Its revision; 0 for the built-in policy.
    pub revision: u32,
    /// The digest of the text.
    pub sha256: String,
    /// The language that the text needs.
    pub language: u32,
    /// The revision's own floor, which its signature covers.
    pub floor: u32,
    /// The greatest floor that was accepted.
    pub floor_accepted: u32,
    /// The signature in base64.
    pub signature: Option<String>,
    /// The text.
    pub body: String,
}

/// Why a state file does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SavedPolicyError {
    /// Its last line is not the digest of all before it.
    #[error("its last line is not the SHA-256 of the lines before it")]
    Digest,
    /// Its content has another form.
    #[error("its content cannot be read: {0}")]
    Form(String),
    /// It is of another fleet.
    #[error("it is of the fleet \"{0}\"")]
    Fleet(String),
}

impl SavedPolicy {
    /// Writes the file: one line of JSON, and one with its digest.
    ///
    /// # Errors
    /// Never for a saved policy.
    pub fn write(&self) -> Result<String, SavedPolicyError> {
        let form = |error: serde_json::Error| SavedPolicyError::Form(error.to_string());
        let content = serde_json::to_string(self).map_err(form)? + "\n";
        let digest = sha256_hex(content.as_bytes());
        Ok(content + &digest + "\n")
    }

    /// Reads the file of a fleet.
    ///
    /// # Errors
    /// Says why it does not count.
    pub fn read(text: &str, fleet: &str) -> Result<Self, SavedPolicyError> {
        let whole = text.strip_suffix('\n').ok_or(SavedPolicyError::Digest)?;
        let end = whole.rfind('\n').ok_or(SavedPolicyError::Digest)? + 1;
        let (content, digest) = whole.split_at(end);
        if sha256_hex(content.as_bytes()) != digest {
            return Err(SavedPolicyError::Digest);
        }
        let form = |error: serde_json::Error| SavedPolicyError::Form(error.to_string());
        let saved: Self = serde_json::from_str(content).map_err(form)?;
        match saved.fleet == fleet {
            true => Ok(saved),
            false => Err(SavedPolicyError::Fleet(saved.fleet)),
        }
    }

    /// Returns what is to be saved while the built-in policy is in force.
    #[must_use]
    pub fn built_in() -> Self {
        Self::of(&StoredRevision {
            revision: 0,
            body: String::new(),
            sha256: String::new(),
            language: 0,
            floor: 0,
            signature: None,
        })
    }

    /// Returns the rollout that has put it in force.
    #[must_use]
    pub fn by(&self) -> FinishedRollout {
        FinishedRollout {
            rollout: self.rollout,
            started: self.started,
            revision: self.revision,
        }
    }

    /// Returns the revision, to be checked like one from the store.
    #[must_use]
    pub fn stored(&self) -> StoredRevision {
        let decode = |text: &String| STANDARD.decode(text).unwrap_or_default();
        StoredRevision {
            revision: self.revision,
            body: self.body.clone(),
            sha256: self.sha256.clone(),
            language: self.language,
            floor: self.floor,
            signature: self.signature.as_ref().map(decode),
        }
    }

    /// Returns what is to be saved of a revision; the other fields are the caller's.
    #[must_use]
    pub fn of(stored: &StoredRevision) -> Self {
        Self {
            fleet: String::new(),
            system: None,
            database: None,
            timeline: 0,
            rollout: 0,
            started: 0,
            revision: stored.revision,
            sha256: stored.sha256.clone(),
            language: stored.language,
            floor: stored.floor,
            floor_accepted: stored.floor,
            signature: stored.signature.as_ref().map(|it| STANDARD.encode(it)),
            body: stored.body.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> SavedPolicy {
        let stored = StoredRevision {
            floor: 2,
            signature: Some(vec![7; 64]),
            ..StoredRevision::unsigned(4, "region a\npolicy b { prefer a }\n")
        };
        SavedPolicy {
            fleet: "shop".to_owned(),
            system: Some(7),
            database: Some(16_384),
            timeline: 2,
            rollout: 9,
            ..SavedPolicy::of(&stored)
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = saved().write().unwrap();
        assert_eq!(SavedPolicy::read(&text, "shop"), Ok(saved()));
        assert_eq!(saved().stored().signature, Some(vec![7; 64]));
    }

    #[test]
    fn garbage_and_every_truncation_and_every_flipped_byte_are_refused() {
        let text = saved().write().unwrap();
        for end in 0..text.len() {
            assert!(SavedPolicy::read(&text[..end], "shop").is_err(), "{end}");
            let mut flipped = text.clone().into_bytes();
            flipped[end] ^= 1;
            let flipped = String::from_utf8_lossy(&flipped).into_owned();
            assert!(SavedPolicy::read(&flipped, "shop").is_err(), "{end}");
        }
        for text in ["", "\n", "\n\n", "{}\n", "x"] {
            assert!(SavedPolicy::read(text, "shop").is_err());
        }
    }

    #[test]
    fn a_floor_is_kept_while_the_built_in_policy_is_in_force() {
        let built_in = SavedPolicy {
            floor_accepted: 3,
            ..SavedPolicy::built_in()
        };
        let read = SavedPolicy::read(&built_in.write().unwrap(), "").unwrap();
        assert_eq!((read.revision, read.floor_accepted), (0, 3));
    }

    #[test]
    fn a_file_of_an_older_version_is_of_no_database_in_particular() {
        let written = saved().write().unwrap();
        let content = written.lines().next().unwrap();
        let content = content.replace("\"database\":16384,", "") + "\n";
        let text = format!("{content}{}\n", sha256_hex(content.as_bytes()));
        let expected = SavedPolicy {
            database: None,
            ..saved()
        };
        assert_eq!(SavedPolicy::read(&text, "shop"), Ok(expected));
    }

    #[test]
    fn a_file_of_another_fleet_is_refused() {
        let text = saved().write().unwrap();
        let refused = Err(SavedPolicyError::Fleet("shop".to_owned()));
        assert_eq!(SavedPolicy::read(&text, "bank"), refused);
    }
}
