//! Reads the store, and takes in what a node shows.

use super::StoreFollower;
use crate::policy_store::StoreError;
use crate::policy_store::bodies::{Bodies, RowsOf};
use crate::policy_store::floors::Floors;
use crate::policy_store::nodes::StoreNode;
use crate::policy_store::state_keeper::{DatabaseId, SavedState};
use crate::policy_store::status::{show_ended, show_moved};
use tidegate_rollout::{FinishedRollout, Observed, RolloutOutcome, StoreView};

impl StoreFollower {
    /// Reads the store on the first node that answers: one whose timeline is not known only if no other does.
    pub(super) async fn poll(&mut self) {
        let trust = self.status.trusted();
        if trust != self.trust {
            let in_force = self.following.in_force();
            self.bodies.keep_only(|it| in_force == Some(it));
            self.floors.ask_again();
            self.trust = trust;
        }
        for node in self.nodes.by_preference() {
            match self.poll_node(&node).await {
                Ok(true) => return self.presence.answered(node.timeline.is_some()),
                Ok(false) => {}
                Err(error) => self.presence.failed(&error),
            }
        }
    }

    async fn poll_node(&mut self, node: &StoreNode) -> Result<bool, StoreError> {
        let Some(client) = self.nodes.client(&node.status) else {
            return Ok(false);
        };
        // Rows whose timeline is not known never count as those of a newer one.
        let known = self.following.position().map_or(0, |it| it.timeline);
        let timeline = node.timeline.map_or(known, |it| it.0);
        let is_placed = node.timeline.is_some();
        let rows = RowsOf {
            timeline,
            is_placed,
        };
        let system = node.status.position.as_ref().map(|it| it.system.0);
        self.follow_database((system, None));
        let asked = (&*client, timeline);
        let polled = self
            .floors
            .poll(asked, &self.following, &mut self.bodies, &self.trust);
        let polled = polled.await?;
        if self.follow_database((system, polled.database)) {
            // What another database has said was asked about; the next poll asks anew.
            return Ok(false);
        }
        let shown = polled.finished.into_iter().chain(polled.above_floor);
        let shown: Vec<_> = shown.collect();
        for head in &polled.revisions {
            let of = (head, rows, &*shown);
            self.bodies.look(&client, of, &self.trust).await?;
        }
        let open = polled.open.as_ref().map_or(0, |it| it.revision);
        let number = |it: Option<FinishedRollout>| it.map_or(0, |it| it.revision);
        let rolled_out = [open, number(polled.finished), number(polled.above_floor)];
        for &revision in rolled_out.iter().filter(|it| **it > 0) {
            if polled.revisions.iter().all(|it| it.revision != revision) {
                self.bodies.miss(revision, timeline);
            }
        }
        let view = StoreView {
            system,
            timeline,
            is_current: node.is_current,
            newest: polled.newest,
            open: polled.open,
            ended: polled.ended.as_deref().and_then(RolloutOutcome::of),
            finished: polled.finished,
            above_floor: polled.above_floor,
            revisions: polled.revisions,
        };
        self.take_in(&view);
        let in_force = self.following.in_force();
        self.bodies
            .keep_only(|it| rolled_out.contains(&it) || in_force == Some(it));
        Ok(true)
    }

    /// Forgets what another database has said; returns whether one has.
    fn follow_database(&mut self, shown: DatabaseId) -> bool {
        let is_other = is_other(self.database, shown);
        if is_other {
            tracing::warn!("the database is another one: what was in force before does not count");
            self.state.forget();
            self.following.forget();
            self.bodies = Bodies::default();
            (self.saved, self.floors) = (None, Floors::default());
            self.is_unsaved = false;
            self.database = (None, None);
        }
        let (system, database) = self.database;
        self.database = (shown.0.or(system), shown.1.or(database));
        is_other
    }

    /// Takes in what a node shows.
    fn take_in(&mut self, view: &StoreView) {
        let before = self.following.position();
        let bodies = &self.bodies;
        let admission = |revision| bodies.admission(revision);
        let now = self.started.elapsed();
        let Observed { is_moved, ended } = self.following.observe(view, &admission, now);
        if let Some((rollout, outcome)) = ended {
            show_ended(rollout, outcome);
        }
        if is_moved {
            let (position, revision) = (self.following.position(), self.following.in_force());
            show_moved(before, (position, revision));
            let rollout = position.map_or(0, |it| it.rollout);
            let mut shown = [view.finished, view.above_floor].into_iter().flatten();
            let by = shown.find(|it| (it.rollout, Some(it.revision)) == (rollout, revision));
            // Before the first there is none.
            self.bodies.put_in_force(by.unwrap_or_default());
        }
        let in_force = self.bodies.stored_in_force();
        let floor = in_force.map_or(0, |it| it.floor);
        self.bodies.raise_floor(floor);
        self.save(view.system, is_moved);
    }

    /// Has the state file replaced if it would say something else, and the rows are known to be of the same database.
    fn save(&mut self, system: Option<u64>, is_moved: bool) {
        let floor = self.bodies.floor();
        self.is_unsaved |= self.floors.save(floor) || is_moved;
        let (known, database) = self.database;
        let is_due = self.is_unsaved && (system.is_some() || known.is_none());
        let (Some(position), true) = (self.following.position(), is_due) else {
            return;
        };
        let revision = self.following.in_force().unwrap_or_default();
        let stored = self.bodies.stored_in_force();
        if stored.is_some() || revision == 0 {
            let at = (
                (system, database),
                position,
                self.bodies.in_force_by().started,
            );
            let state = SavedState::of(at, (stored, floor), &self.trust.fleet);
            self.state.save(state);
            self.is_unsaved = false;
        }
    }
}

/// Whether two databases are known to differ: clusters count their databases alike, so that equal OIDs say nothing.
fn is_other(one: DatabaseId, other: DatabaseId) -> bool {
    let systems = one.0.zip(other.0);
    let databases = one.1.zip(other.1);
    systems.is_some_and(|(one, other)| one != other)
        || databases.is_some_and(|(one, other)| one != other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_database_of_the_same_cluster_is_another_one_unless_that_is_not_known() {
        let own = (Some(7), Some(16_384));
        for same in [own, (None, None), (Some(7), None), (None, Some(16_384))] {
            assert!(!is_other(own, same) && !is_other(same, own), "{same:?}");
        }
        for other in [(Some(7), Some(5)), (None, Some(5)), (Some(8), Some(16_384))] {
            assert!(is_other(own, other) && is_other(other, own), "{other:?}");
        }
    }
}
