//! Keeps the state file: reads it at start, and replaces it when another policy is in force.
//!
//! It is written in a task of its own: a disk that hangs holds up nothing that decides requests.

use std::fmt::Display;
use std::time::Duration;

use tidegate_rollout::{RolloutPosition, SavedPolicy, StoredRevision};
use tidegate_telemetry::{again_and_again, names};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::StoreSettings;
use super::state_dir::StateDir;

/// Pause after a failure: a full disk, or a directory that cannot be written, is an operator's to mend.
const RETRY: Duration = Duration::from_secs(30);

/// Longest wait for the file at start: without it the store says what is in force.
const READ_MAX: Duration = Duration::from_secs(5);

/// The state file, if the configuration has a directory for it.
pub(super) struct StateKeeper {
    directory: Option<StateDir>,
    /// What the file is to say; nothing leaves it as it is.
    wanted: watch::Sender<Option<SavedState>>,
    /// Whether the file was read, and what is in force may be from it.
    is_read: bool,
    /// Whether the file is of another database: one start with the wrong database is not to cost the last good policy.
    is_foreign: bool,
}

/// A database: the system identifier of its cluster and its OID there, as far as they are known.
pub(super) type DatabaseId = (Option<u64>, Option<u32>);

/// What the directory is to hold.
#[derive(Clone)]
pub(super) enum SavedState {
    /// A policy that is in force.
    Policy(Box<SavedPolicy>),
    /// No file: nothing was rolled out yet.
    Nothing,
}

impl SavedState {
    /// Returns what is in force, where it was read, with its revision and the greatest floor that counts.
    pub(super) fn of(
        ((system, database), position, started): (DatabaseId, RolloutPosition, u64),
        (stored, floor): (Option<&StoredRevision>, u32),
        fleet: &str,
    ) -> Self {
        let RolloutPosition { timeline, rollout } = position;
        let kept = match stored {
            Some(stored) => SavedPolicy::of(stored),
            // The floor holds for what follows the built-in policy.
            None if rollout > 0 || floor > 0 => SavedPolicy::built_in(),
            None => return Self::Nothing,
        };
        Self::Policy(Box::new(SavedPolicy {
            fleet: fleet.to_owned(),
            system,
            database,
            timeline,
            rollout,
            started,
            floor_accepted: floor,
            ..kept
        }))
    }
}

impl StateKeeper {
    pub(super) fn new(settings: &StoreSettings) -> Self {
        Self {
            directory: settings.state_dir.as_deref().map(StateDir::new),
            wanted: watch::Sender::new(None),
            is_read: false,
            is_foreign: false,
        }
    }

    /// Returns what the file of a fleet says.
    pub(super) async fn read(&mut self, fleet: &str) -> Option<SavedPolicy> {
        let directory = self.directory.as_ref()?;
        let read = match timeout(READ_MAX, directory.read(fleet)).await {
            Ok(read) => read.map_err(|error| error.to_string()),
            Err(_elapsed) => Err(format!("it was not read within {} s", READ_MAX.as_secs())),
        };
        match read {
            Ok(saved) => {
                self.is_read = saved.is_some();
                saved
            }
            Err(reason) => {
                self.ignore(&reason);
                None
            }
        }
    }

    /// Records that what the file says does not count.
    pub(super) fn ignore(&self, reason: &dyn Display) {
        let Some(directory) = &self.directory else {
            return;
        };
        let file = directory.file();
        tracing::warn!(file = %file.display(), %reason, "the state file is ignored");
        count("ignored");
    }

    /// Records that what the file says does not count, once it was read.
    pub(super) fn refuse(&mut self, reason: &dyn Display) {
        self.is_read = false;
        self.ignore(reason);
    }

    /// Records that the database is another one than that of the file, and of what is not yet written.
    pub(super) fn forget(&mut self) {
        self.wanted.send_replace(None);
        self.is_foreign = true;
        if std::mem::take(&mut self.is_read) {
            self.ignore(&"it is of another database");
        }
    }

    /// Has the file replaced, at some time soon; that of another database only by a policy.
    pub(super) fn save(&mut self, state: SavedState) {
        self.is_read = false;
        if self.is_foreign && matches!(state, SavedState::Nothing) {
            return;
        }
        self.is_foreign = false;
        self.wanted.send_replace(Some(state));
    }

    /// Returns the work of replacing the file; it ends with the keeper.
    pub(super) fn writer(&self) -> impl Future<Output = ()> + Send + use<> {
        let (directory, wanted) = (self.directory.clone(), self.wanted.subscribe());
        async move {
            if let Some(directory) = directory {
                // The file is replaced as a whole, so that one that was not is just written again.
                let keep = || keep(directory.clone(), wanted.clone());
                again_and_again("state file", keep).await;
            }
        }
    }
}

/// Replaces the file when something else is wanted, and tries again what has failed; tells at once if it
/// could not be replaced.
async fn keep(directory: StateDir, mut wanted: watch::Receiver<Option<SavedState>>) {
    if let Err(error) = directory.probe().await {
        fail(&directory, &error);
    }
    loop {
        let state = wanted.borrow_and_update().clone();
        let is_kept = match state {
            Some(state) => write(&directory, state).await,
            None => true,
        };
        let changed = tokio::select! {
            changed = wanted.changed() => changed,
            () = sleep(RETRY), if !is_kept => Ok(()),
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Returns whether the file could be replaced.
async fn write(directory: &StateDir, state: SavedState) -> bool {
    let written = match state {
        SavedState::Policy(policy) => directory.write(*policy).await,
        SavedState::Nothing => directory.remove().await,
    };
    match &written {
        Ok(()) => count("written"),
        Err(error) => fail(directory, error),
    }
    written.is_ok()
}

fn fail(directory: &StateDir, error: &dyn Display) {
    let file = directory.file();
    tracing::warn!(file = %file.display(), %error, "the state file cannot be written");
    count("failed");
}

fn count(outcome: &'static str) {
    metrics::counter!(names::TRAFFIC_STATE_FILE, "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use tokio::time::Instant;

    fn keeper(folder: &Path) -> StateKeeper {
        StateKeeper::new(&StoreSettings {
            state_dir: Some(folder.to_owned()),
        })
    }

    /// Waits until the file says something, with pauses that take no time.
    async fn until_saved(keeper: &mut StateKeeper) -> SavedPolicy {
        loop {
            if let Some(saved) = keeper.read("").await {
                return saved;
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_written_is_written_once_it_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("later");
        let mut keeper = keeper(&missing);
        let writer = tokio::spawn(keeper.writer());
        let saved = SavedPolicy::built_in();
        keeper.save(SavedState::Policy(Box::new(saved.clone())));
        let begun = Instant::now();
        sleep(RETRY / 2).await;
        std::fs::create_dir(&missing).unwrap();
        assert_eq!(until_saved(&mut keeper).await, saved);
        assert!(begun.elapsed() >= RETRY, "it is not tried all the time");
        drop(keeper);
        writer.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_file_of_another_database_is_replaced_by_a_policy_and_not_removed_for_want_of_one()
    {
        let folder = tempfile::tempdir().unwrap();
        let mut keeper = keeper(folder.path());
        tokio::spawn(keeper.writer());
        let of = |rollout| SavedPolicy {
            rollout,
            ..SavedPolicy::built_in()
        };
        keeper.save(SavedState::Policy(Box::new(of(7))));
        assert_eq!(until_saved(&mut keeper).await, of(7));
        keeper.forget();
        keeper.save(SavedState::Nothing);
        sleep(2 * RETRY).await;
        assert_eq!(keeper.read("").await, Some(of(7)));
        keeper.save(SavedState::Policy(Box::new(of(1))));
        while keeper.read("").await != Some(of(1)) {
            sleep(Duration::from_secs(1)).await;
        }
        // Of what this database has had in force a promotion may leave nothing.
        keeper.save(SavedState::Nothing);
        while keeper.read("").await.is_some() {
            sleep(Duration::from_secs(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_database_has_said_is_not_written_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("later");
        let mut keeper = keeper(&missing);
        tokio::spawn(keeper.writer());
        keeper.save(SavedState::Policy(Box::new(SavedPolicy::built_in())));
        sleep(RETRY / 2).await;
        keeper.forget();
        std::fs::create_dir(&missing).unwrap();
        sleep(2 * RETRY).await;
        assert_eq!(keeper.read("").await, None);
    }
}
