//! A local directory.

use std::path::{Path, PathBuf};

use object_store::local::LocalFileSystem;
use tokio::time::timeout;

use crate::storage::StorageError;
use crate::storage::attempt::{FIRST_BYTE, silent};
use crate::storage::fault::{Fault, FaultKind};

/// Opens a directory below `file_root`, which links must not leave; returns it with its path without links.
pub(super) fn open(
    directory: &str,
    file_root: &str,
) -> Result<(LocalFileSystem, PathBuf), StorageError> {
    if file_root.is_empty() {
        let why = "url: `file` buckets need [storage] file_root";
        return Err(StorageError::Invalid(why.to_owned()));
    }
    // What else there is on this machine is nothing to tell.
    let outside = |_| {
        let why = "url: it is not a directory below [storage] file_root";
        StorageError::Invalid(why.to_owned())
    };
    let root = Path::new(file_root).canonicalize();
    let root = root.map_err(|error| {
        StorageError::Invalid(format!("url: [storage] file_root cannot be used: {error}"))
    })?;
    let resolved = Path::new(directory).canonicalize().map_err(outside)?;
    if !resolved.starts_with(root) {
        return Err(outside(std::io::ErrorKind::NotFound.into()));
    }
    let store = LocalFileSystem::new_with_prefix(&resolved);
    let store = store.map_err(|error| StorageError::Invalid(format!("url: {error}")))?;
    Ok((store.with_fsync(true), resolved))
}

/// Fails if the directory of a bucket is gone, such as with what is mounted above it: it would be made anew for what
/// is written, and what was there would seem to have been deleted. The path is one without links: if there is one by
/// now, it may lead out of `file_root`.
pub(super) async fn check(directory: &Path) -> Result<(), Fault> {
    let found = async {
        let resolved = tokio::fs::canonicalize(directory).await?;
        let found = tokio::fs::metadata(&resolved).await?;
        Ok::<_, std::io::Error>(found.is_dir() && resolved == directory)
    };
    match timeout(FIRST_BYTE, found).await {
        Ok(Ok(true)) => Ok(()),
        // There is nothing that could answer, nor will there be for the next request.
        Ok(_) => Err(Fault {
            kind: FaultKind::Connection,
            detail: "the directory of the bucket is gone, or a link is in its place".to_owned(),
        }),
        Err(_elapsed) => Err(silent()),
    }
}
