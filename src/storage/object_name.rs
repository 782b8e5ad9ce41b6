//! Which object of its bucket a copy is.

use object_store::path::Path;
use serde::Deserialize;

use super::fault::{Fault, FaultKind};

/// What this gateway writes lies below it; what is imported does not.
pub(super) const PREFIX: &str = "tidegate";
/// What the ids begin with under which a bucket is tried.
const TRIAL: &str = "check-";

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

/// An id under which a bucket is tried; it is deleted again, unless something intervenes.
pub(super) fn trial_id() -> String {
    format!("{TRIAL}{}", uuid::Uuid::now_v7().simple())
}

/// Whether an object is what a trial has left.
pub(super) fn is_trial(path: &Path) -> bool {
    let id = path.as_ref().strip_prefix(PREFIX);
    let Some(trial) = id.and_then(|id| id.strip_prefix('/')?.strip_prefix(TRIAL)) else {
        return false;
    };
    let (id, number) = trial.split_once('-').unwrap_or((trial, "0"));
    let is_number = !number.is_empty() && number.bytes().all(|it| it.is_ascii_digit());
    is_number && id.len() == 32 && id.bytes().all(|it| it.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_trials_are_named_is_one() {
        let id = trial_id();
        for trial in [own_path(&id), own_path(&format!("{id}-49"))] {
            assert!(is_trial(&trial), "{trial}");
        }
        for other in [
            "check-list",
            "tidegate/check-list",
            "tidegate/check-",
            &format!("tidegate/{id}-"),
            &format!("tidegate/{id}/1"),
            &format!("tidegateway/{id}"),
            &format!("{id}/tidegate"),
            &format!("tidegate/{}", &id[TRIAL.len()..]),
        ] {
            assert!(!is_trial(&Path::from(other)), "{other}");
        }
    }
}
