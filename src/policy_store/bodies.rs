//! The texts of revisions: read once, checked, compiled and tested before they count.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_rollout::{
    Admission, RevisionHead, RevisionRefusal, SavedPolicy, StoredRevision, TrustedKeys,
};
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

type Accepted = (StoredRevision, Arc<PolicyFile>);

struct KnownBody {
    /// The version of the row that was judged last, and the digest in it.
    version: String,
    sha256: String,
    /// The newest timeline on which it was accepted, or else refused.
    timeline: u32,
    /// What was accepted; it stays what it is until a promotion.
    accepted: Option<Accepted>,
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

    /// Returns what was accepted under a number.
    pub(super) fn stored(&self, revision: u32) -> Option<&StoredRevision> {
        let (stored, _) = self.known.get(&revision)?.accepted.as_ref()?;
        Some(stored)
    }

    /// Returns the greatest floor of a revision that was accepted.
    pub(super) fn floor(&self) -> u32 {
        self.floor
    }

    /// Forgets all revisions but one.
    pub(super) fn keep_only(&mut self, kept: impl Fn(u32) -> bool) {
        self.known.retain(|revision, _| kept(*revision));
    }

    /// Accepts what the state file has, if it still counts.
    pub(super) async fn accept_saved(
        &mut self,
        saved: &SavedPolicy,
        trust: &TrustedKeys,
    ) -> Result<(), RevisionRefusal> {
        let floor = self.floor.max(saved.floor_accepted);
        if saved.revision > 0 {
            let stored = saved.stored();
            let policy = judge(&stored, trust, floor).await?;
            let known = KnownBody {
                version: String::new(),
                sha256: String::new(),
                timeline: saved.timeline,
                refusal: None,
                accepted: Some((stored, policy)),
            };
            self.known.insert(saved.revision, known);
        }
        self.floor = floor;
        Ok(())
    }

    /// Reads and judges a revision that is new or whose row was written since.
    pub(super) async fn look(
        &mut self,
        client: &Client,
        (head, timeline): (&RevisionHead, u32),
        trust: &TrustedKeys,
    ) -> Result<(), StoreError> {
        if self.is_judged(head) {
            let known = self.known.get_mut(&head.revision);
            if let Some(known) = known.filter(|it| it.refusal.is_none()) {
                known.timeline = known.timeline.max(timeline);
            }
            return Ok(());
        }
        let judged = match head.bytes > BYTES_MAX {
            true => Err(RevisionRefusal::Size),
            false => match statement::body(client, head.revision).await {
                Ok(None) => return Ok(()),
                Ok(Some(stored)) => {
                    let accepted = self.accepted_until(head.revision, timeline);
                    self.judge(stored, accepted.as_ref(), trust).await
                }
                // No other row is hindered by it.
                Err(StoreError::Row(_)) => Err(RevisionRefusal::Invalid),
                Err(error) => return Err(error),
            },
        };
        self.record((head, timeline), judged);
        Ok(())
    }

    /// Refuses a revision of a rollout that has no row.
    pub(super) fn miss(&mut self, revision: u32, timeline: u32) {
        let head = RevisionHead {
            revision,
            version: "missing".to_owned(),
            bytes: 0,
            sha256: String::new(),
        };
        if !self.is_judged(&head) {
            self.record((&head, timeline), Err(RevisionRefusal::Invalid));
        }
    }

    fn is_judged(&self, head: &RevisionHead) -> bool {
        let row = |known: &KnownBody| known.version == head.version && known.sha256 == head.sha256;
        self.known.get(&head.revision).is_some_and(row)
    }

    /// Returns what was accepted under a number, unless a promotion may have replaced it since.
    fn accepted_until(&self, revision: u32, timeline: u32) -> Option<Accepted> {
        let known = self.known.get(&revision)?;
        let known = (known.timeline >= timeline).then_some(known)?;
        known.accepted.clone()
    }

    fn record(
        &mut self,
        (head, timeline): (&RevisionHead, u32),
        judged: Result<Accepted, RevisionRefusal>,
    ) {
        let refusal = judged.as_ref().err().copied();
        if let Some(reason) = refusal {
            let revision = head.revision;
            tracing::error!(revision, %reason, "a revision of the traffic policy is refused");
            metrics::counter!(names::TRAFFIC_REVISION_REFUSED, "reason" => reason.as_str())
                .increment(1);
        }
        let before = self.known.remove(&head.revision);
        let known_on = before.as_ref().map(|it| it.timeline);
        let known = KnownBody {
            version: head.version.clone(),
            sha256: head.sha256.clone(),
            timeline: match refusal {
                Some(_) => known_on.unwrap_or(timeline),
                None => timeline.max(known_on.unwrap_or(0)),
            },
            refusal,
            accepted: judged.ok().or(before.and_then(|it| it.accepted)),
        };
        self.known.insert(head.revision, known);
    }

    async fn judge(
        &mut self,
        stored: StoredRevision,
        accepted: Option<&Accepted>,
        trust: &TrustedKeys,
    ) -> Result<Accepted, RevisionRefusal> {
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
