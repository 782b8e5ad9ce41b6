//! The names of the fields that were looked for when a request was recorded: without them, a field that is not
//! in a receipt may have been absent, or not have been written down.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Most names of one kind that are written; what comes after, by name, counts as not written down.
const NAMES_MAX: usize = 256;

/// Names by kind, sorted. Receipts of earlier versions have none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RecordedNames {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) headers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) cookies: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) query: Vec<String>,
    /// The texts of affinity keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) keys: Vec<String>,
}

impl RecordedNames {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Returns names as they are written.
pub(super) fn written<S: Into<String> + Ord>(names: impl Iterator<Item = S>) -> Vec<String> {
    let names: BTreeSet<S> = names.collect();
    names.into_iter().take(NAMES_MAX).map(Into::into).collect()
}

/// Returns whether such a list has a name.
pub(super) fn has(names: &[String], name: &str) -> bool {
    names.iter().any(|known| known == name)
}
