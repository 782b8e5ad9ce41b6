//! Which object of its bucket a copy is.

use object_store::path::Path;
use serde::Deserialize;

use super::fault::{Fault, FaultKind};

/// What this gateway writes lies below it; what is imported does not.
pub(super) const PREFIX: &str = "tidegate";

/// An object that was in a bucket before, as it was when it was imported.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct VendorObject {
    pub(super) key: String,
    /// As the provider writes it, with quotes if it uses them.
    pub(super) etag: String,
}

/// The object of a copy.
#[derive(Debug, Clone, Copy)]
pub(super) enum ObjectName<'a> {
    /// Written here, under the id of the copy.
    Own(&'a str),
    /// Imported: it is read only as long as it is the same.
    Vendor(&'a VendorObject),
}

impl<'a> ObjectName<'a> {
    /// The object of a copy that may be imported.
    pub(super) fn of(id: &'a str, vendor: Option<&'a VendorObject>) -> Self {
        vendor.map_or(Self::Own(id), Self::Vendor)
    }

    pub(super) fn path(self) -> Result<Path, Fault> {
        match self {
            Self::Own(id) => Ok(own_path(id)),
            Self::Vendor(object) => Path::parse(&object.key).map_err(|error| Fault {
                kind: FaultKind::Other,
                detail: error.to_string(),
            }),
        }
    }

    /// The `ETag` that it must have.
    pub(super) fn etag(self) -> Option<String> {
        match self {
            Self::Own(_) => None,
            Self::Vendor(object) => Some(object.etag.clone()),
        }
    }
}

impl<'a> From<&'a str> for ObjectName<'a> {
    fn from(id: &'a str) -> Self {
        Self::Own(id)
    }
}

impl<'a> From<&'a String> for ObjectName<'a> {
    fn from(id: &'a String) -> Self {
        Self::Own(id)
    }
}

/// The key of a copy that was written here.
pub(super) fn own_path(id: &str) -> Path {
    Path::from_iter([PREFIX, id])
}
