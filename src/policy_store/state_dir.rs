//! The state file on disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{AccessFlags, access};
use tidegate_rollout::{SavedPolicy, SavedPolicyError};

const NAME: &str = "traffic-policy.json";

/// Largest file that is read: a text of 256 KiB is six times as long if each of its bytes is escaped.
const BYTES_MAX: u64 = 2 << 20;

/// Age of a temporary file that no process will rename: a write takes far less.
const LEFT: Duration = Duration::from_hours(1);

/// The directory of the state file.
#[derive(Clone, Debug)]
pub(super) struct StateDir(PathBuf);

/// Why the file gives nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is not a regular file")]
    Kind,
    #[error("it is larger than 2 MiB")]
    Size,
    #[error(transparent)]
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

    /// Tries whether the file could be replaced, and removes what an interrupted write has left.
    pub(super) async fn probe(&self) -> Result<(), StateError> {
        let state = self.clone();
        blocking(move || {
            let temporary = state.temporary();
            create(&temporary)?;
            std::fs::remove_file(&temporary)?;
            Ok(state.remove_left()?)
        })
        .await
    }

    /// Returns a name for one write: another process may use the same directory.
    fn temporary(&self) -> PathBuf {
        self.0
            .join(format!("{NAME}.new.{:016x}", fastrand::u64(..)))
    }

    fn remove_left(&self) -> io::Result<()> {
        for file in std::fs::read_dir(&self.0)? {
            let file = file?;
            let name = file.file_name();
            let is_temporary = name.to_string_lossy().starts_with(&format!("{NAME}.new"));
            // Another process may have renamed it since.
            let Ok(modified) = file.metadata().and_then(|it| it.modified()) else {
                continue;
            };
            if is_temporary && modified.elapsed().is_ok_and(|age| age >= LEFT) {
                std::fs::remove_file(file.path())?;
            }
        }
        Ok(())
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
        let written = written.and_then(|()| std::fs::rename(&temporary, self.file()));
        if let Err(error) = written {
            // The disk is full, perhaps: what was written of it only takes its space.
            let _kept = std::fs::remove_file(&temporary);
            return Err(error.into());
        }
        File::open(&self.0)?.sync_all()?;
        Ok(())
    }
}

/// Why a directory cannot have the state file, as far as that can be known without writing.
#[must_use]
pub fn state_dir_fault(directory: &Path) -> Option<io::Error> {
    match std::fs::metadata(directory).map(|it| it.is_dir()) {
        Err(error) => Some(error),
        Ok(false) => Some(io::ErrorKind::NotADirectory.into()),
        Ok(true) => {
            let writable = access(directory, AccessFlags::W_OK | AccessFlags::X_OK);
            writable.err().map(io::Error::from)
        }
    }
}

/// Creates a file; a link or a pipe of its name is not written to.
fn create(path: &Path) -> io::Result<File> {
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
        SavedPolicy::of(&tidegate_rollout::StoredRevision::unsigned(3, "policy"))
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

    #[test]
    fn a_directory_that_cannot_have_the_file_is_known_without_writing_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        assert!(state_dir_fault(folder.path()).is_none());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        std::fs::write(&file, "").unwrap();
        for (path, kind) in [
            (folder.path().join("missing"), io::ErrorKind::NotFound),
            (file, io::ErrorKind::NotADirectory),
        ] {
            let fault = state_dir_fault(&path).unwrap();
            assert_eq!(fault.kind(), kind, "{fault}");
        }
    }

    #[tokio::test]
    async fn garbage_a_file_that_is_too_large_and_a_missing_directory_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path());
        std::fs::write(state.file(), [0xff; 100]).unwrap();
        assert!(matches!(state.read("").await, Err(StateError::Content(_))));
        std::fs::write(state.file(), vec![b' '; (2 << 20) + 1]).unwrap();
        assert!(matches!(state.read("").await, Err(StateError::Size)));
        let missing = StateDir::new(&folder.path().join("missing"));
        assert!(missing.write(saved()).await.is_err());
    }

    #[tokio::test]
    async fn the_longest_text_is_read_again_though_each_of_its_bytes_is_escaped() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path());
        let longest = SavedPolicy {
            body: "\u{1}".repeat(tidegate_traffic::syntax::BYTES_MAX),
            ..saved()
        };
        state.write(longest.clone()).await.unwrap();
        assert!(state.read("").await.unwrap() == Some(longest));
    }

    #[tokio::test]
    async fn two_processes_that_share_a_directory_do_not_touch_each_others_unfinished_file() {
        let folder = tempfile::tempdir().unwrap();
        let states = [StateDir::new(folder.path()), StateDir::new(folder.path())];
        for _ in 0..20 {
            let [one, other] = &states;
            let (one, other) = tokio::join!(one.write(saved()), async {
                other.probe().await?;
                other.write(saved()).await
            });
            one.unwrap();
            other.unwrap();
            assert_eq!(states[0].read("").await.unwrap(), Some(saved()));
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn what_an_interrupted_write_has_left_is_removed_after_an_hour() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path());
        let left =
            ["", ".0123456789abcdef"].map(|it| folder.path().join(format!("{NAME}.new{it}")));
        for path in &left {
            let old = std::time::SystemTime::now() - LEFT;
            create(path).unwrap().set_modified(old).unwrap();
        }
        let fresh = state.temporary();
        create(&fresh).unwrap();
        state.write(saved()).await.unwrap();
        state.probe().await.unwrap();
        assert!(left.iter().all(|path| !path.exists()));
        assert!(fresh.exists() && state.file().exists());
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
            let made = folder.path().join("made");
            kind(&made);
            assert!(create(&made).is_err());
            std::fs::remove_file(&made).unwrap();
            state.write(saved()).await.unwrap();
            assert_eq!(state.read("").await.unwrap(), Some(saved()));
            assert_eq!(std::fs::read(&elsewhere).unwrap(), whole);
        }
        std::fs::remove_file(state.file()).unwrap();
        std::fs::create_dir(state.file()).unwrap();
        assert!(matches!(state.read("").await, Err(StateError::Kind)));
        assert!(state.write(saved()).await.is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        assert!(matches!(
            StateDir::new(Path::new("/dev/null")).probe().await,
            Err(StateError::Io(_))
        ));
    }
}
