//! A local directory.

use std::path::{Path, PathBuf};

use object_store::local::LocalFileSystem;

use crate::storage::StorageError;

/// Opens a directory below `file_root`, which links must not leave.
pub(super) fn open(directory: &str, file_root: &str) -> Result<LocalFileSystem, StorageError> {
    if file_root.is_empty() {
        let why = "`file` buckets need [storage] file_root";
        return Err(StorageError::Invalid(why.to_owned()));
    }
    let resolved = |path: &str| -> Result<PathBuf, StorageError> {
        let failed = |error| StorageError::Invalid(format!("{path}: {error}"));
        Path::new(path).canonicalize().map_err(failed)
    };
    if !resolved(directory)?.starts_with(resolved(file_root)?) {
        let why = format!("{directory} is not below [storage] file_root");
        return Err(StorageError::Invalid(why));
    }
    let store = LocalFileSystem::new_with_prefix(directory);
    let store = store.map_err(|error| StorageError::Invalid(error.to_string()))?;
    Ok(store.with_fsync(true))
}
