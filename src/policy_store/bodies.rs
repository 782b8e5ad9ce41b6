//! The texts of revisions: read once, checked, compiled and tested before they count.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tidegate_rollout::{
    Admission, FinishedRollout, RevisionHead, RevisionRefusal, SavedPolicy, StoredRevision,
    TrustedKeys,
};
use tidegate_telemetry::names;
use tidegate_traffic::syntax::BYTES_MAX;
use tokio_postgres::Client;

use super::compilations::{Compilations, Compiled};
use super::{StoreError, statement};
use crate::regions::PolicyFile;

/// The revisions that this gateway knows.
#[derive(Default)]
pub(super) struct Bodies {
    known: HashMap<u32, KnownBody>,
    /// What a rollout has put in force: another text under its number is a candidate, until a rollout puts that in force.
    in_force: Option<Accepted>,
    /// The rollout that has put in force what is, be it the built-in policy.
    in_force_by: FinishedRollout,
    /// Another text than the one accepted was seen under these numbers, and a promotion may have lost that one.
    doubted: HashSet<u32>,
    compilations: Compilations,
    /// The greatest floor of a revision that was in force: what is below it is void.
    floor: u32,
}

type Accepted = (StoredRevision, Arc<PolicyFile>);

/// Whose rows a node shows.
#[derive(Clone, Copy)]
pub(super) struct RowsOf {
    pub(super) timeline: u32,
    /// Whether that is known; else it is the one of what is in force.
    pub(super) is_placed: bool,
}

struct KnownBody {
    /// The version of the row that was judged last, and the digest in it.
    version: String,
    sha256: String,
    /// The newest timeline on which it was accepted, or else refused.
    timeline: u32,
    /// The timeline on which the row was judged last.
    judged_on: u32,
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
        if revision < self.floor {
            return Admission::Refused(RevisionRefusal::Floor);
        }
        if self.doubted.contains(&revision) {
            return Admission::Unknown;
        }
        if self.compilations.has(revision) {
            return Admission::Refused(RevisionRefusal::Slow);
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

    /// Returns the policy of a revision that was accepted last: it may be another one than is in force under its number.
    pub(super) fn policy(&self, revision: u32) -> Option<&Arc<PolicyFile>> {
        let (_, policy) = self.known.get(&revision)?.accepted.as_ref()?;
        Some(policy)
    }

    /// Returns the policy in force, if it is a revision.
    pub(super) fn in_force(&self) -> Option<&Arc<PolicyFile>> {
        self.in_force.as_ref().map(|(_, policy)| policy)
    }

    /// Returns the revision in force, if it is not the built-in policy.
    pub(super) fn stored_in_force(&self) -> Option<&StoredRevision> {
        self.in_force.as_ref().map(|(stored, _)| stored)
    }

    /// Returns the rollout that has put in force what is.
    pub(super) fn in_force_by(&self) -> FinishedRollout {
        self.in_force_by
    }

    /// Records that a rollout has put in force what was accepted last under the number of its revision.
    pub(super) fn put_in_force(&mut self, by: FinishedRollout) {
        let known = self.known.get(&by.revision);
        self.in_force = known.and_then(|it| it.accepted.clone());
        self.in_force_by = by;
    }

    /// Returns the greatest floor of a revision that was in force.
    pub(super) fn floor(&self) -> u32 {
        self.floor
    }

    /// Voids the revisions below a floor; returns whether it is a greater one.
    pub(super) fn raise_floor(&mut self, floor: u32) -> bool {
        let is_raised = floor > self.floor;
        self.floor = self.floor.max(floor);
        is_raised
    }

    /// Forgets all revisions but some, and refuses those of them that are void by now.
    pub(super) fn keep_only(&mut self, kept: impl Fn(u32) -> bool) {
        self.known.retain(|revision, _| kept(*revision));
        self.doubted.retain(|revision| kept(*revision));
        self.compilations.keep_only(&kept);
        let floor = self.floor;
        let known = self.known.iter_mut();
        for (revision, known) in known.filter(|(it, known)| **it < floor && known.refusal.is_none())
        {
            show_refused(*revision, RevisionRefusal::Floor);
            known.refusal = Some(RevisionRefusal::Floor);
        }
    }

    /// Accepts what the state file has, if it still counts; its floor counts in any case.
    pub(super) async fn accept_saved(
        &mut self,
        saved: &SavedPolicy,
        trust: &TrustedKeys,
    ) -> Result<(), RevisionRefusal> {
        self.raise_floor(saved.floor_accepted);
        if saved.revision == 0 {
            self.put_in_force(saved.by());
            return Ok(());
        }
        let stored = saved.stored();
        let policy = self.compiled(&stored, "", trust).await?;
        self.raise_floor(stored.floor);
        let known = KnownBody {
            version: String::new(),
            sha256: String::new(),
            timeline: saved.timeline,
            judged_on: saved.timeline,
            refusal: None,
            accepted: Some((stored, policy)),
        };
        self.known.insert(saved.revision, known);
        self.put_in_force(saved.by());
        Ok(())
    }

    /// Reads and judges a revision that is new or whose row was written since, on a node that shows some finished rollouts.
    pub(super) async fn look(
        &mut self,
        client: &Client,
        (head, rows, shown): (&RevisionHead, RowsOf, &[FinishedRollout]),
        trust: &TrustedKeys,
    ) -> Result<(), StoreError> {
        let timeline = rows.timeline;
        if self.is_doubted(head.revision, rows) {
            return Ok(());
        }
        if self.is_late(head.revision, timeline) {
            return Ok(());
        }
        if self.is_judged(head, timeline) {
            let known = self.known.get_mut(&head.revision);
            if let Some(known) = known.filter(|it| it.refusal.is_none()) {
                known.timeline = known.timeline.max(timeline);
            }
            return Ok(());
        }
        let judged = match head.bytes > BYTES_MAX {
            true => Err(RevisionRefusal::Size),
            false => match self.row(client, head).await {
                Ok(None) => return Ok(()),
                Ok(Some(stored)) => {
                    let accepted = self.accepted_until(head.revision, timeline, shown);
                    let judged = self.judge((stored, &head.version), accepted.as_ref(), trust);
                    judged.await
                }
                // No other row is hindered by it.
                Err(StoreError::Row(_)) => Err(RevisionRefusal::Invalid),
                Err(error) => return Err(error),
            },
        };
        self.settle((head, rows), judged);
        Ok(())
    }

    /// Whether a revision waits for a node whose timeline is known, and this is none.
    fn is_doubted(&mut self, revision: u32, rows: RowsOf) -> bool {
        if rows.is_placed {
            self.doubted.remove(&revision);
        }
        self.doubted.contains(&revision)
    }

    /// Records what was found of a revision, if that says something of it.
    fn settle(
        &mut self,
        (head, rows): (&RevisionHead, RowsOf),
        judged: Result<Accepted, RevisionRefusal>,
    ) {
        match judged.as_ref().err().copied() {
            Some(RevisionRefusal::Changed) if !rows.is_placed => {
                self.doubted.insert(head.revision);
            }
            Some(refusal) if !refusal.is_final() => {}
            Some(_) | None => self.record((head, rows.timeline), judged),
        }
    }

    /// Returns the row of a revision: read once, however long it takes to compile.
    async fn row(
        &self,
        client: &Client,
        head: &RevisionHead,
    ) -> Result<Option<StoredRevision>, StoreError> {
        match self.compilations.stored(head.revision, &head.version) {
            Some(stored) => Ok(Some(stored.clone())),
            None => statement::body(client, head.revision).await,
        }
    }

    /// Refuses a revision of a rollout that has no row.
    pub(super) fn miss(&mut self, revision: u32, timeline: u32) {
        let head = RevisionHead {
            revision,
            version: "missing".to_owned(),
            bytes: 0,
            sha256: String::new(),
        };
        if !self.is_judged(&head, timeline) {
            self.record((&head, timeline), Err(RevisionRefusal::Invalid));
        }
    }

    /// Whether a row was judged, and is still that row. After a promotion another text may count.
    fn is_judged(&self, head: &RevisionHead, timeline: u32) -> bool {
        let is_it = |known: &KnownBody| {
            let is_row = known.version == head.version && known.sha256 == head.sha256;
            let is_changed = known.refusal == Some(RevisionRefusal::Changed);
            is_row && !(is_changed && known.judged_on < timeline)
        };
        self.known.get(&head.revision).is_some_and(is_it)
    }

    /// Whether what is known of a revision is from a newer primary than that which a node follows.
    fn is_late(&self, revision: u32, timeline: u32) -> bool {
        let known = self.known.get(&revision);
        known.is_some_and(|it| it.timeline > timeline)
    }

    /// Returns what was accepted under a number, unless a promotion may have replaced it since: that has not happened to
    /// what is in force where its rollout is still there.
    fn accepted_until(
        &self,
        revision: u32,
        timeline: u32,
        shown: &[FinishedRollout],
    ) -> Option<Accepted> {
        let by = &self.in_force_by;
        let is_kept = by.revision == revision && shown.iter().any(|shown| shown.is_same(by));
        if let Some(kept) = self.in_force.as_ref().filter(|_| is_kept) {
            return Some(kept.clone());
        }
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
            show_refused(head.revision, reason);
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
            judged_on: timeline,
            refusal,
            accepted: judged.ok().or(before.and_then(|it| it.accepted)),
        };
        self.known.insert(head.revision, known);
    }

    async fn judge(
        &mut self,
        (stored, version): (StoredRevision, &str),
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
        let policy = self.compiled(&stored, version, trust).await?;
        Ok((stored, policy))
    }

    /// Checks, compiles and tests a revision.
    async fn compiled(
        &mut self,
        stored: &StoredRevision,
        version: &str,
        trust: &TrustedKeys,
    ) -> Compiled {
        stored.admit(trust, self.floor)?;
        self.compilations.policy(stored, version).await
    }
}

fn show_refused(revision: u32, reason: RevisionRefusal) {
    tracing::error!(revision, %reason, "a revision of the traffic policy is refused");
    metrics::counter!(names::TRAFFIC_REVISION_REFUSED, "reason" => reason.as_str()).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(body: &str) -> SavedPolicy {
        SavedPolicy::of(&StoredRevision {
            floor: 2,
            ..StoredRevision::unsigned(3, body)
        })
    }

    #[tokio::test]
    async fn the_floor_of_the_state_file_counts_though_its_revision_is_refused() {
        let mut bodies = Bodies::default();
        let (saved, trust) = (saved("nonsense"), TrustedKeys::default());
        let refused = bodies.accept_saved(&saved, &trust).await;
        assert_eq!(refused, Err(RevisionRefusal::Invalid));
        assert_eq!(bodies.floor(), 2);
        let floor = Admission::Refused(RevisionRefusal::Floor);
        assert_eq!(bodies.admission(1), floor);
        assert_eq!(bodies.admission(3), Admission::Unknown);
        assert_eq!(bodies.admission(0), Admission::Usable);
    }

    #[tokio::test]
    async fn what_was_accepted_is_void_and_counted_once_the_floor_is_above_it() {
        let mut bodies = Bodies::default();
        let body = "region a\npolicy p { prefer a }\n";
        let (saved, trust) = (saved(body), TrustedKeys::default());
        assert_eq!(bodies.accept_saved(&saved, &trust).await, Ok(()));
        assert_eq!(bodies.admission(3), Admission::Usable);
        assert!(bodies.raise_floor(4) && !bodies.raise_floor(3));
        bodies.keep_only(|it| it == 3);
        let floor = Admission::Refused(RevisionRefusal::Floor);
        assert_eq!(bodies.admission(3), floor);
        assert!(
            bodies.in_force().is_some(),
            "it goes on until another follows"
        );
    }

    fn head(version: &str) -> RevisionHead {
        RevisionHead {
            revision: 3,
            version: version.to_owned(),
            bytes: 0,
            sha256: String::new(),
        }
    }

    /// Revision 3 with another text.
    fn another() -> Accepted {
        let body = "# another\nregion a\npolicy p { prefer a }\n";
        let file = PolicyFile::of("revision 3", body.as_bytes()).unwrap();
        let file = PolicyFile {
            revision: 3,
            ..file
        };
        (saved(body).stored(), Arc::new(file))
    }

    fn by(rollout: u64, started: u64) -> FinishedRollout {
        FinishedRollout {
            rollout,
            started,
            revision: 3,
        }
    }

    /// Revision 3 is in force by rollout 5, as the state file says.
    async fn in_force() -> Bodies {
        let saved = SavedPolicy {
            timeline: 1,
            rollout: 5,
            started: 50,
            ..saved("region a\npolicy p { prefer a }\n")
        };
        let mut bodies = Bodies::default();
        let accepted = bodies.accept_saved(&saved, &TrustedKeys::default()).await;
        assert_eq!(accepted, Ok(()));
        bodies
    }

    #[tokio::test]
    async fn another_text_under_the_number_in_force_is_a_candidate_until_a_rollout_puts_it_in_force()
     {
        let mut bodies = in_force().await;
        let before = Arc::clone(bodies.in_force().unwrap());
        // A promotion has lost the rollout, and the number was given again.
        let lost = bodies.accepted_until(3, 2, &[by(4, 40)]);
        assert!(lost.is_none());
        bodies.record((&head("2"), 2), Ok(another()));
        assert_eq!(bodies.admission(3), Admission::Usable);
        assert!(Arc::ptr_eq(bodies.in_force().unwrap(), &before));
        assert_eq!(bodies.policy(3).unwrap().text, another().1.text);
        let stored = bodies.stored_in_force().unwrap();
        let rollout = bodies.in_force_by();
        assert_eq!((stored.body.as_str(), rollout), (&*before.text, by(5, 50)));
        bodies.put_in_force(by(5, 60));
        assert_eq!(bodies.in_force().unwrap().text, another().1.text);
    }

    #[tokio::test]
    async fn across_a_promotion_that_its_rollout_survives_the_text_in_force_is_the_one_that_was_accepted()
     {
        let bodies = in_force().await;
        let body = &bodies.stored_in_force().unwrap().body;
        // The same one, and one of which the time is not known.
        for shown in [by(5, 50), by(5, 0)] {
            let (kept, _) = bodies.accepted_until(3, 2, &[shown]).unwrap();
            assert_eq!(kept.body, *body);
        }
        assert!(bodies.accepted_until(3, 2, &[by(5, 51)]).is_none());
        assert!(bodies.accepted_until(3, 1, &[]).is_some());
    }

    #[tokio::test]
    async fn what_was_refused_as_changed_is_judged_again_after_a_promotion() {
        let mut bodies = in_force().await;
        bodies.record((&head("2"), 1), Err(RevisionRefusal::Changed));
        assert!(bodies.is_judged(&head("2"), 1));
        assert!(!bodies.is_judged(&head("2"), 2));
        bodies.record((&head("2"), 2), Err(RevisionRefusal::Changed));
        assert!(bodies.is_judged(&head("2"), 2), "it is counted once");
    }

    #[tokio::test]
    async fn another_text_on_an_unknown_timeline_is_neither_used_nor_refused_until_that_is_known() {
        let mut bodies = in_force().await;
        let unknown = RowsOf {
            timeline: 1,
            is_placed: false,
        };
        let changed = Err(RevisionRefusal::Changed);
        bodies.settle((&head("2"), unknown), changed.clone());
        assert_eq!(bodies.admission(3), Admission::Unknown);
        assert!(bodies.is_doubted(3, unknown), "it is not read again");
        let known = RowsOf {
            timeline: 2,
            is_placed: true,
        };
        assert!(!bodies.is_doubted(3, known) && !bodies.is_judged(&head("2"), 2));
        bodies.settle((&head("2"), known), Ok(another()));
        assert_eq!(bodies.admission(3), Admission::Usable);
        bodies.settle((&head("3"), known), changed);
        let refused = Admission::Refused(RevisionRefusal::Changed);
        assert_eq!(bodies.admission(3), refused);
    }

    #[tokio::test]
    async fn a_node_that_follows_the_old_primary_says_nothing_of_a_number_that_was_given_again() {
        let mut bodies = in_force().await;
        bodies.record((&head("2"), 2), Ok(another()));
        assert!(bodies.is_late(3, 1));
        assert!(!bodies.is_late(3, 2) && !bodies.is_late(4, 1));
    }
}
