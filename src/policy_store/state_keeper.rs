//! Keeps the state file: reads it at start, and replaces it when another policy is in force.

use std::fmt::Display;
use std::time::Duration;

use tidegate_rollout::{SavedPolicy, StoreView, StoredRevision};
use tidegate_telemetry::names;
use tokio::time::Instant;

use super::StoreSettings;
use super::state_dir::StateDir;

/// Pause after a failure: a full disk, or a directory that cannot be written, is an operator's to mend.
const RETRY: Duration = Duration::from_secs(30);

/// The state file, if the configuration has a directory for it.
pub(super) struct StateKeeper {
    directory: Option<StateDir>,
    /// What could not be written, and when that was last tried.
    unsaved: Option<(SavedState, Instant)>,
}

/// What the directory is to hold.
#[derive(Clone)]
pub(super) enum SavedState {
    /// A policy that is in force.
    Policy(Box<SavedPolicy>),
    /// No file: nothing was rolled out yet.
    Nothing,
}

impl SavedState {
    /// Returns what a node shows as in force, with its revision and the greatest floor that were accepted.
    pub(super) fn of(
        view: &StoreView,
        (stored, floor): (Option<&StoredRevision>, u32),
        fleet: &str,
    ) -> Self {
        let rollout = view.finished.map_or(0, |it| it.rollout);
        let kept = match stored {
            Some(stored) => SavedPolicy::of(stored),
            // The floor holds for what follows the built-in policy.
            None if rollout > 0 || floor > 0 => SavedPolicy::built_in(),
            None => return Self::Nothing,
        };
        Self::Policy(Box::new(SavedPolicy {
            fleet: fleet.to_owned(),
            system: view.system,
            timeline: view.timeline,
            rollout,
            floor_accepted: floor,
            ..kept
        }))
    }
}

impl StateKeeper {
    pub(super) fn new(settings: &StoreSettings) -> Self {
        Self {
            directory: settings.state_dir.as_deref().map(StateDir::new),
            unsaved: None,
        }
    }

    /// Returns what the file of a fleet says; tells at once if it could not be replaced.
    pub(super) async fn read(&self, fleet: &str) -> Option<SavedPolicy> {
        let directory = self.directory.as_ref()?;
        if let Err(error) = directory.probe().await {
            self.fail(&error);
        }
        let read = directory.read(fleet).await;
        read.unwrap_or_else(|error| {
            self.ignore(&error);
            None
        })
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

    /// Replaces the file.
    pub(super) async fn save(&mut self, state: SavedState) {
        let Some(directory) = &self.directory else {
            return;
        };
        let written = match state.clone() {
            SavedState::Policy(policy) => directory.write(*policy).await,
            SavedState::Nothing => directory.remove().await,
        };
        self.unsaved = match written {
            Ok(()) => {
                count("written");
                None
            }
            Err(error) => {
                self.fail(&error);
                Some((state, Instant::now()))
            }
        };
    }

    /// Tries again what has failed, after a while.
    pub(super) async fn retry(&mut self) {
        let is_due = |(_, tried): &mut (SavedState, Instant)| tried.elapsed() >= RETRY;
        if let Some((state, _)) = self.unsaved.take_if(is_due) {
            self.save(state).await;
        }
    }

    fn fail(&self, error: &dyn Display) {
        let file = self.directory.as_ref().map(StateDir::file);
        let file = file.unwrap_or_default();
        tracing::warn!(file = %file.display(), %error, "the state file cannot be written");
        count("failed");
    }
}

fn count(outcome: &'static str) {
    metrics::counter!(names::TRAFFIC_STATE_FILE, "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_written_is_written_once_it_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("later");
        let mut keeper = StateKeeper::new(&StoreSettings {
            state_dir: Some(missing.clone()),
        });
        let saved = SavedPolicy::built_in();
        keeper
            .save(SavedState::Policy(Box::new(saved.clone())))
            .await;
        std::fs::create_dir(&missing).unwrap();
        keeper.retry().await;
        assert_eq!(keeper.read("").await, None, "it is not tried all the time");
        tokio::time::advance(RETRY).await;
        keeper.retry().await;
        assert_eq!(keeper.read("").await, Some(saved));
    }
}
