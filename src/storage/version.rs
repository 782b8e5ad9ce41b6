//! A version of an object, and where its bytes are.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;

use super::StorageError;
use super::object_name::{ObjectName, VendorObject};

/// What a client has said about an object beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Meta {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cache_control: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_disposition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_language: Option<String>,
    /// As an HTTP date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) user: BTreeMap<String, String>,
    /// Checksums that the client has sent, by the name of their algorithm.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) checksums: BTreeMap<String, String>,
}

/// The newest version of a key.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) id: String,
    pub(super) size: u64,
    pub(super) etag: String,
    pub(super) meta: Meta,
    /// Seconds since 1970.
    pub(super) modified: i64,
    /// In the order of their bytes.
    pub(super) blobs: Vec<Blob>,
}

/// A part of a version's bytes, and where its copies are.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Blob {
    pub(super) id: String,
    pub(super) size: u64,
    /// Empty if it is not known: the blob was imported, and never read in full.
    pub(super) sha256: String,
    pub(super) copies: Vec<StoredCopy>,
}

/// A copy that can be read.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoredCopy {
    pub(super) id: String,
    pub(super) bucket: String,
    /// Whether it was found damaged or missing: it is read only when all others fail, and its bytes are
    /// compared.
    #[serde(default)]
    pub(super) is_suspect: bool,
    /// The provider's object, if the copy was imported.
    #[serde(default)]
    pub(super) vendor: Option<VendorObject>,
}

impl StoredCopy {
    pub(super) fn object(&self) -> ObjectName<'_> {
        ObjectName::of(&self.id, self.vendor.as_ref())
    }
}

impl Blob {
    /// The copies that are not suspect.
    pub(super) fn good(&self) -> impl Iterator<Item = &StoredCopy> {
        self.copies.iter().filter(|copy| !copy.is_suspect)
    }
}

/// Reads a column of JSON.
pub(super) fn json<T: DeserializeOwned>(row: &Row, column: usize) -> Result<T, StorageError> {
    let unreadable = |error| StorageError::Invalid(format!("a row of the index: {error}"));
    serde_json::from_str(row.try_get(column)?).map_err(unreadable)
}
