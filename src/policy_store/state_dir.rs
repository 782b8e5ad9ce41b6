//! The state file on disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use tidegate_rollout::{SavedPolicy, SavedPolicyError};

const NAME: &str = "traffic-policy.json";

/// Largest file that is read: a text of 256 KiB, each byte escaped at worst.
const BYTES_MAX: u64 = 1 << 20;

/// The directory of the state file.
#[derive(Clone, Debug)]
pub(super) struct StateDir(PathBuf);

/// Why the file gives nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is not a regular file")]
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

    /// Replaces the file: there is always a whole one.
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

    /// Tries whether the file could be replaced.
    pub(super) async fn probe(&self) -> Result<(), StateError> {
        let temporary = self.temporary();
        blocking(move || {
            create(&temporary)?;
            Ok(std::fs::remove_file(&temporary)?)
        })
        .await
    }

    fn temporary(&self) -> PathBuf {
        self.0.join(format!("{NAME}.new"))
    }

    fn read_now(&self, fleet: &str) -> Result<Option<SavedPolicy>, StateError> {
        // A link may lead anywhere, and opening a pipe would wait for its writer.
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(flags.bits());
        let file = match options.open(self.file()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.raw_os_error() == Some(Errno::ELOOP as i32) => {
                return Err(StateError::Kind);
            }
            opened => opened?,
        };
        if !file.metadata()?.is_file() {
            return Err(StateError::Kind);
        }
        let mut bytes = Vec::new();
        file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > BYTES_MAX {
            return Err(StateError::Size);
        }
        let text = String::from_utf8_lossy(&bytes);
        Ok(Some(SavedPolicy::read(&text, fleet)?))
    }

    fn write_now(&self, saved: &SavedPolicy) -> Result<(), StateError> {
        let text = saved.write()?;
        let temporary = self.temporary();
        let mut file = create(&temporary)?;
        let written = file.write_all(text.as_bytes());
        let written = written.and_then(|()| file.sync_all());
        if let Err(error) = written {
            // The disk is full, perhaps: what was written of it only takes its space.
            let _kept = std::fs::remove_file(&temporary);
            return Err(error.into());
        }
        std::fs::rename(&temporary, self.file())?;
        File::open(&self.0)?.sync_all()?;
        Ok(())
    }
}

/// Creates a file in the place of whatever has its name: a leftover, a link or a pipe is not written to.
fn create(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).open(path)
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
    async fn garbage_a_file_that_is_too_large_and_a_missing_directory_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path());
        std::fs::write(state.file(), [0xff; 100]).unwrap();
        assert!(matches!(state.read("").await, Err(StateError::Content(_))));
        std::fs::write(state.file(), vec![b' '; (1 << 20) + 1]).unwrap();
        assert!(matches!(state.read("").await, Err(StateError::Size)));
        let missing = StateDir::new(&folder.path().join("missing"));
        assert!(missing.write(saved()).await.is_err());
    }

    #[tokio::test]
    async fn links_pipes_devices_and_directories_are_refused_and_replaced_but_never_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path());
        state.write(saved()).await.unwrap();
        let elsewhere = folder.path().join("elsewhere");
        std::fs::rename(state.file(), &elsewhere).unwrap();
        let link = |to: &str, at: &Path| std::os::unix::fs::symlink(to, at).unwrap();
        let pipe = |at: &Path| nix::unistd::mkfifo(at, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let kinds: [&dyn Fn(&Path); 4] = [
            &|at| link("elsewhere", at),
            &|at| link("nowhere", at),
            &|at| link("/dev/zero", at),
            &pipe,
        ];
        let whole = std::fs::read(&elsewhere).unwrap();
        for kind in kinds {
            std::fs::remove_file(state.file()).ok();
            kind(&state.file());
            assert!(matches!(state.read("").await, Err(StateError::Kind)));
            kind(&state.temporary());
            state.write(saved()).await.unwrap();
            assert_eq!(state.read("").await.unwrap(), Some(saved()));
            assert_eq!(std::fs::read(&elsewhere).unwrap(), whole);
        }
        std::fs::remove_file(state.file()).unwrap();
        std::fs::create_dir(state.file()).unwrap();
        assert!(matches!(state.read("").await, Err(StateError::Kind)));
        assert!(state.write(saved()).await.is_err());
        assert!(matches!(
            StateDir::new(Path::new("/dev/null")).probe().await,
            Err(StateError::Io(_))
        ));
    }
}
