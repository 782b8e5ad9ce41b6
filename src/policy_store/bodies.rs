//! The texts of revisions: read once, checked, compiled and tested before they count.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_rollout::{Admission, RevisionHead, RevisionRefusal, StoredRevision, TrustedKeys};
use tidegate_telemetry::names;
use tidegate_traffic::syntax::BYTES_MAX;
use tokio::time::timeout;
use tokio_postgres::Client;

use super::{StoreError, statement};
use crate::regions::{PolicyFile, PolicyFileError};

/// Longest time to compile a text and to run its tests.
const COMPILE_MAX: Duration = Duration::from_secs(2);

/// The revisions that this gateway knows.
#[derive(Default)]
pub(super) struct Bodies {
    known: HashMap<u32, KnownBody>,
    /// The greatest floor of a revision that was accepted.
    floor: u32,
}

struct KnownBody {
    /// The version of the row that was judged last.
    version: String,
    /// What was accepted; it stays what it is.
    accepted: Option<(StoredRevision, Arc<PolicyFile>)>,
    /// Why the row as it is now does not count.
    refusal: Option<RevisionRefusal>,
}

impl Bodies {
    /// Returns whether a revision can be used.
    pub(super) fn admission(&self, revision: u32) -> Admission {
        if revision == 0 {
            return Admission::Usable;
        }
        match self.known.get(&revision) {
            None => Admission::Unknown,
            Some(KnownBody {
                refusal: Some(refusal),
                ..
            }) => Admission::Refused(*refusal),
            Some(_) => Admission::Usable,
        }
    }

    /// Returns the policy of a revision that was accepted.
    pub(super) fn policy(&self, revision: u32) -> Option<&Arc<PolicyFile>> {
        let (_, policy) = self.known.get(&revision)?.accepted.as_ref()?;
        Some(policy)
    }

    /// Returns what was accepted under a number, and the greatest floor.
    pub(super) fn stored(&self, revision: u32) -> Option<(&StoredRevision, u32)> {
        let (stored, _) = self.known.get(&revision)?.accepted.as_ref()?;
        Some((stored, self.floor))
    }

    /// Forgets all revisions but one.
    pub(super) fn keep_only(&mut self, kept: impl Fn(u32) -> bool) {
        self.known.retain(|revision, _| kept(*revision));
    }

    /// Accepts what the state file has, if it still counts.
    pub(super) async fn accept_saved(
        &mut self,
        stored: StoredRevision,
        floor: u32,
        trust: &TrustedKeys,
    ) -> Result<(), RevisionRefusal> {
        self.floor = self.floor.max(floor);
        let policy = judge(&stored, trust, self.floor).await?;
        let known = KnownBody {
            version: String::new(),
            refusal: None,
            accepted: Some((stored.clone(), policy)),
        };
        self.known.insert(stored.revision, known);
        Ok(())
    }

    /// Reads and judges a revision that is new or whose row was written since.
    pub(super) async fn look(
        &mut self,
        client: &Client,
        head: &RevisionHead,
        trust: &TrustedKeys,
    ) -> Result<(), StoreError> {
        let known = self.known.get(&head.revision);
        if known.is_some_and(|known| known.version == head.version) {
            return Ok(());
        }
        let accepted = known.and_then(|known| known.accepted.clone());
        let judged = match head.bytes > BYTES_MAX {
            true => Err(RevisionRefusal::Size),
            false => match statement::body(client, head.revision).await? {
                None => return Ok(()),
                Some(stored) => self.judge(stored, accepted.as_ref(), trust).await,
            },
        };
        let refusal = judged.as_ref().err().copied();
        if let Some(reason) = refusal {
            let revision = head.revision;
            tracing::error!(revision, %reason, "a revision of the traffic policy is refused");
            metrics::counter!(names::TRAFFIC_REVISION_REFUSED, "reason" => reason.as_str())
                .increment(1);
        }
        let known = KnownBody {
            version: head.version.clone(),
            refusal,
            accepted: judged.ok().or(accepted),
        };
        self.known.insert(head.revision, known);
        Ok(())
    }

    async fn judge(
        &mut self,
        stored: StoredRevision,
        accepted: Option<&(StoredRevision, Arc<PolicyFile>)>,
        trust: &TrustedKeys,
    ) -> Result<(StoredRevision, Arc<PolicyFile>), RevisionRefusal> {
        if let Some((known, policy)) = accepted {
            return match *known == stored {
                true => Ok((stored, Arc::clone(policy))),
                false => {
                    stored.admit(trust, self.floor)?;
                    Err(RevisionRefusal::Changed)
                }
            };
        }
        let policy = judge(&stored, trust, self.floor).await?;
        self.floor = self.floor.max(stored.floor);
        Ok((stored, policy))
    }
}

/// Checks, compiles and tests a revision.
async fn judge(
    stored: &StoredRevision,
    trust: &TrustedKeys,
    floor: u32,
) -> Result<Arc<PolicyFile>, RevisionRefusal> {
    stored.admit(trust, floor)?;
    let (revision, body) = (stored.revision, stored.body.clone());
    let compile = move || PolicyFile::of(&format!("revision {revision}"), body.as_bytes());
    let compiled = timeout(COMPILE_MAX, tokio::task::spawn_blocking(compile)).await;
    match compiled {
        Ok(Ok(Ok(policy))) => Ok(Arc::new(PolicyFile { revision, ..policy })),
        Ok(Ok(Err(PolicyFileError::Refused { only_tests, .. }))) if only_tests => {
            Err(RevisionRefusal::Test)
        }
        // It does not parse, has panicked, or takes too long.
        Ok(_) | Err(_) => Err(RevisionRefusal::Invalid),
    }
}
