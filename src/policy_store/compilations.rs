//! Texts that are compiled and tested, on threads where that holds up nothing.
//!
//! One that takes long says nothing against its text: the machine may be slow. Its run is waited for, from look to
//! look, and not begun again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_rollout::{RevisionRefusal, StoredRevision};
use tidegate_telemetry::names;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::regions::{PolicyFile, PolicyFileError};

/// Longest wait for a text in one look: the polls stand still meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs at a time, those included whose revision is not wanted any more: a run cannot be ended.
const RUNS_MAX: usize = 2;

pub(super) type Compiled = Result<Arc<PolicyFile>, RevisionRefusal>;

/// The revisions that are not compiled yet.
pub(super) struct Compilations {
    waiting: HashMap<u32, Waiting>,
    slots: Arc<Semaphore>,
    patience: Duration,
}

struct Waiting {
    /// The version of the row.
    version: String,
    stored: StoredRevision,
    /// Nothing while there are too many others.
    run: Option<JoinHandle<Compiled>>,
}

impl Default for Compilations {
    fn default() -> Self {
        Self {
            waiting: HashMap::new(),
            slots: Arc::new(Semaphore::new(RUNS_MAX)),
            patience: PATIENCE,
        }
    }
}

impl Compilations {
    /// Whether a revision is waited for.
    pub(super) fn has(&self, revision: u32) -> bool {
        self.waiting.contains_key(&revision)
    }

    /// Returns the row of a revision that is waited for, if it is still the same version.
    pub(super) fn stored(&self, revision: u32, version: &str) -> Option<&StoredRevision> {
        let waiting = self.waiting.get(&revision)?;
        (waiting.version == version).then_some(&waiting.stored)
    }

    /// Waits for revisions of these numbers only.
    pub(super) fn keep_only(&mut self, kept: &impl Fn(u32) -> bool) {
        self.waiting.retain(|revision, _| kept(*revision));
    }

    /// Returns the policy of a revision that is admitted, or that it is slow: then it is asked for again.
    pub(super) async fn policy(&mut self, stored: &StoredRevision, version: &str) -> Compiled {
        let (revision, body) = (stored.revision, stored.body.clone());
        self.run(stored, version, move || compile(revision, &body))
            .await
    }

    async fn run(
        &mut self,
        stored: &StoredRevision,
        version: &str,
        work: impl FnOnce() -> Compiled + Send + 'static,
    ) -> Compiled {
        let known = self.waiting.remove(&stored.revision);
        let known = known.filter(|it| it.stored == *stored);
        let is_known = known.is_some();
        let (mut run, patience) = match known.and_then(|it| it.run) {
            Some(run) => (Some(run), Duration::ZERO),
            None => (self.begin(work), self.patience),
        };
        if let Some(run) = &mut run
            && let Ok(ended) = timeout(patience, run).await
        {
            // It has panicked, perhaps, and would again.
            return ended.unwrap_or(Err(RevisionRefusal::Invalid));
        }
        if !is_known {
            show_slow(stored.revision);
        }
        let waiting = Waiting {
            version: version.to_owned(),
            stored: stored.clone(),
            run,
        };
        self.waiting.insert(stored.revision, waiting);
        Err(RevisionRefusal::Slow)
    }

    fn begin(
        &self,
        work: impl FnOnce() -> Compiled + Send + 'static,
    ) -> Option<JoinHandle<Compiled>> {
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        Some(tokio::task::spawn_blocking(move || {
            let compiled = work();
            drop(slot);
            compiled
        }))
    }
}

/// Compiles a text and runs its tests.
fn compile(revision: u32, body: &str) -> Compiled {
    match PolicyFile::of(&format!("revision {revision}"), body.as_bytes()) {
        Ok(policy) => Ok(Arc::new(PolicyFile { revision, ..policy })),
        Err(PolicyFileError::Refused { only_tests, .. }) if only_tests => {
            Err(RevisionRefusal::Test)
        }
        Err(_) => Err(RevisionRefusal::Invalid),
    }
}

fn show_slow(revision: u32) {
    let seconds = PATIENCE.as_secs();
    tracing::warn!(
        revision,
        "a revision of the traffic policy is not compiled after {seconds} s: it is waited for"
    );
    let reason = RevisionRefusal::Slow.as_str();
    metrics::counter!(names::TRAFFIC_REVISION_REFUSED, "reason" => reason).increment(1);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn stored(revision: u32) -> StoredRevision {
        StoredRevision::unsigned(revision, "policy")
    }

    fn impatient() -> Compilations {
        Compilations {
            patience: Duration::from_millis(10),
            ..Compilations::default()
        }
    }

    /// Work that ends when the sender is used or dropped.
    fn held() -> (mpsc::Sender<()>, impl FnOnce() -> Compiled + Send + 'static) {
        let (release, released) = mpsc::channel();
        let work = move || {
            let _released = released.recv();
            Err(RevisionRefusal::Test)
        };
        (release, work)
    }

    /// Looks again until it has ended.
    async fn end(compilations: &mut Compilations, of: &StoredRevision) -> RevisionRefusal {
        loop {
            let looked = compilations.run(of, "1", || unreachable!("it is not begun again"));
            match looked.await {
                Err(RevisionRefusal::Slow) => tokio::task::yield_now().await,
                ended => return ended.err().unwrap(),
            }
        }
    }

    #[tokio::test]
    async fn what_takes_long_is_waited_for_and_judged_by_what_comes_of_it() {
        let mut compilations = impatient();
        let (release, work) = held();
        let slow = compilations.run(&stored(2), "1", work).await;
        assert_eq!(slow.err(), Some(RevisionRefusal::Slow));
        assert!(compilations.has(2));
        assert!(compilations.stored(2, "1").is_some());
        assert!(compilations.stored(2, "2").is_none());
        drop(release);
        let ended = end(&mut compilations, &stored(2)).await;
        assert_eq!(ended, RevisionRefusal::Test);
        assert!(!compilations.has(2));
    }

    #[tokio::test]
    async fn no_more_than_two_run_at_a_time_and_the_third_begins_when_one_has_ended() {
        let mut compilations = impatient();
        let (first, second) = (held(), held());
        for (revision, work) in [(1, first.1), (2, second.1)] {
            let slow = compilations.run(&stored(revision), "1", work).await;
            assert_eq!(slow.err(), Some(RevisionRefusal::Slow));
        }
        // What is not wanted any more still runs.
        compilations.keep_only(&|it| it == 2);
        let of = stored(3);
        let third = compilations.run(&of, "1", || unreachable!("there is no room"));
        assert_eq!(third.await.err(), Some(RevisionRefusal::Slow));
        drop(second.0);
        end(&mut compilations, &stored(2)).await;
        let third = compilations.run(&of, "1", || Err(RevisionRefusal::Invalid));
        let third = third.await.err();
        let third = match third.filter(|it| it.is_final()) {
            Some(third) => third,
            None => end(&mut compilations, &of).await,
        };
        assert_eq!(third, RevisionRefusal::Invalid);
        drop(first.0);
    }

    #[tokio::test]
    async fn a_run_that_panics_is_a_refusal() {
        let mut compilations = impatient();
        let of = stored(1);
        let ended = compilations.run(&of, "1", || panic!("of a defect"));
        let ended = ended.await.err();
        // Writing the backtrace may take longer than is waited for.
        let ended = match ended.filter(|it| it.is_final()) {
            Some(ended) => ended,
            None => end(&mut compilations, &of).await,
        };
        assert_eq!(ended, RevisionRefusal::Invalid);
    }
}
