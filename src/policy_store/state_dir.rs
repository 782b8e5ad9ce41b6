//! The state file on disk.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tidegate_rollout::{SavedPolicy, SavedPolicyError};
use uuid::Uuid;

const NAME: &str = "traffic-policy.json";

/// Largest file that is read: a text of 256 KiB, each byte escaped at worst.
const BYTES_MAX: u64 = 1 << 20;

/// The directory of the state file.
#[derive(Clone, Debug)]
pub(super) struct StateDir(PathBuf);

/// Why the file gives nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateError {
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("it is no regular file")]
    Kind,
    #[error("it is larger than 1 MiB")]
    Size,
    #[error("{0}")]
    Content(#[from] SavedPolicyError),
}

impl StateDir {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Returns the file's path.
    pub(super) fn file(&self) -> PathBuf {
        self.0.join(NAME)
    }

    /// Reads the file, if there is one.
    pub(super) async fn read(&self, fleet: &str) -> Result<Option<SavedPolicy>, StateError> {
        let (state, fleet) = (self.clone(), fleet.to_owned());
        blocking(move || state.read_now(&fleet)).await
    }

    /// Replaces the file: there is always a whole one, even if the gateways of a region share the directory
    /// and write at the same time.
    pub(super) async fn write(&self, saved: SavedPolicy) -> Result<(), StateError> {
        let state = self.clone();
        blocking(move || state.write_now(&saved)).await
    }

    /// Removes the file: nothing is in force.
    pub(super) async fn remove(&self) -> Result<(), StateError> {
        let file = self.file();
        blocking(move || match std::fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        })
        .await
    }

    fn read_now(&self, fleet: &str) -> Result<Option<SavedPolicy>, StateError> {
        // Opening a pipe would wait for its writer.
        match std::fs::metadata(self.file()) {
            Ok(kind) if !kind.is_file() => return Err(StateError::Kind),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found?,
        };
        let mut bytes = Vec::new();
        let file = std::fs::File::open(self.file())?;
        file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > BYTES_MAX {
            return Err(StateError::Size);
        }
        let text = String::from_utf8_lossy(&bytes);
        Ok(Some(SavedPolicy::read(&text, fleet)?))
    }

    fn write_now(&self, saved: &SavedPolicy) -> Result<(), StateError> {
        let text = saved.write()?;
        let temporary = self.0.join(format!("{NAME}.{}.new", Uuid::now_v7()));
        let written = self.replace(&temporary, &text);
        if written.is_err() {
            // Whatever is left of it; the error that counts is the one above.
            let _ = std::fs::remove_file(&temporary);
        }
        Ok(written?)
    }

    fn replace(&self, temporary: &Path, text: &str) -> io::Result<()> {
        let mut file = std::fs::File::create_new(temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(temporary, self.file())?;
        std::fs::File::open(&self.0)?.sync_all()
    }
}

/// Works on the file where waiting for a disk holds up nothing else.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StateError> + Send + 'static,
) -> Result<T, StateError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> SavedPolicy {
        let body = "policy".to_owned();
        SavedPolicy::of(&tidegate_rollout::StoredRevision {
            revision: 3,
            sha256: tidegate_rollout::sha256_hex(body.as_bytes()),
            body,
            language: 1,
            floor: 0,
            signature: None,
        })
    }

    #[tokio::test]
    async fn what_is_written_is_read_again_and_a_missing_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path());
        assert!(state.read("").await.unwrap().is_none());
        state.write(saved()).await.unwrap();
        assert_eq!(state.read("").await.unwrap(), Some(saved()));
        state.remove().await.unwrap();
        assert!(state.read("").await.unwrap().is_none());
        state.remove().await.unwrap();
    }

    #[tokio::test]
    async fn gateways_that_share_the_directory_and_write_at_once_leave_a_whole_file_and_nothing_else()
     {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path());
        let writers = (0..32).map(|_| state.write(saved()));
        for written in futures_util::future::join_all(writers).await {
            written.unwrap();
        }
        assert_eq!(state.read("").await.unwrap(), Some(saved()));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn garbage_a_file_that_is_too_large_and_a_missing_directory_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path());
        std::fs::write(state.file(), [0xff; 100]).unwrap();
        assert!(matches!(state.read("").await, Err(StateError::Content(_))));
        std::fs::write(state.file(), vec![b' '; (1 << 20) + 1]).unwrap();
        assert!(matches!(state.read("").await, Err(StateError::Size)));
        std::fs::remove_file(state.file()).unwrap();
        std::fs::create_dir(state.file()).unwrap();
        assert!(matches!(state.read("").await, Err(StateError::Kind)));
        let missing = StateDir::new(&folder.path().join("missing"));
        assert!(missing.write(saved()).await.is_err());
    }
}
