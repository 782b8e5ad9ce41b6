//! Whether there is a store and whether it can be read, as its nodes have said.

use std::time::Duration;

use tokio::time::Instant;

use super::nodes::StoreNodes;
use super::{StoreError, statement};

/// How often the tables are looked for.
const LOOK: Duration = Duration::from_secs(30);

/// How often it is logged that the store was never read.
const TELL: Duration = Duration::from_mins(1);

/// For how long rows may count as those of the timeline of what is in force before that is logged: at the start of a
/// gateway, until the primary was seen.
const UNPLACED: Duration = Duration::from_secs(10);

/// What is known of the store as a whole.
#[derive(Default)]
pub(super) struct StorePresence {
    /// When the tables were looked for, and whether they were there.
    looked: Option<(Instant, bool)>,
    /// Whether the database has answered that there are none.
    absent: bool,
    complained: bool,
    told_unread: Option<Instant>,
    /// Since when the timeline of the rows that are read is not known.
    unplaced: Option<Instant>,
    told_unplaced: bool,
}

impl StorePresence {
    /// Whether the tables are there; looked for regularly until they are.
    pub(super) async fn is_there(&mut self, nodes: &StoreNodes) -> bool {
        if let Some((at, there)) = self.looked
            && (there || at.elapsed() < LOOK)
        {
            return there;
        }
        for node in nodes.by_preference() {
            let Some(client) = nodes.client(&node.status) else {
                continue;
            };
            match statement::exists(&client).await {
                Ok(there) => {
                    self.looked = Some((Instant::now(), there));
                    self.absent = !there;
                    return there;
                }
                Err(error) => self.failed(&error),
            }
        }
        false
    }

    /// Whether the tables are known to be there.
    pub(super) fn is_found(&self) -> bool {
        self.looked.is_some_and(|(_, there)| there)
    }

    /// Whether the database has answered that there is no store.
    pub(super) fn is_absent(&self) -> bool {
        self.absent
    }

    /// Records that the store was read, and whether on a node whose timeline is known; logs once if it is not for long.
    pub(super) fn answered(&mut self, is_placed: bool) {
        self.complained = false;
        if is_placed {
            (self.unplaced, self.told_unplaced) = (None, false);
            return;
        }
        self.unplaced.get_or_insert_with(Instant::now);
        if self.is_unplaced() && !std::mem::replace(&mut self.told_unplaced, true) {
            tracing::warn!(
                "the policy store is read on a replica whose timeline is unknown, and the primary does not answer: a \
                 rollout that a promotion has lost stays in force until it does"
            );
        }
    }

    /// Whether the store was read for long on nodes only of which the timeline is not known.
    pub(super) fn is_unplaced(&self) -> bool {
        self.unplaced.is_some_and(|at| at.elapsed() >= UNPLACED)
    }

    /// Records that the store could not be read, and logs it once until it can. What the role may not do,
    /// or what is not there, is asked for again only after a while.
    pub(super) fn failed(&mut self, error: &StoreError) {
        if matches!(error, StoreError::Rights(_) | StoreError::Missing) {
            self.looked = Some((Instant::now(), false));
        }
        if !std::mem::replace(&mut self.complained, true) {
            tracing::warn!(%error, "the policy store cannot be read: what is in force stays");
        }
    }

    /// Logs every minute that the store was never read.
    pub(super) fn tell_unread(&mut self) {
        if self.told_unread.is_none_or(|at| at.elapsed() >= TELL) {
            self.told_unread = Some(Instant::now());
            tracing::warn!(
                "the policy store was not read yet: requests are served here and not handed on"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn rows_whose_timeline_is_unknown_for_long_are_told_of_until_it_is_known() {
        let mut presence = StorePresence::default();
        presence.answered(false);
        assert!(!presence.is_unplaced() && !presence.told_unplaced);
        advance(UNPLACED).await;
        presence.answered(false);
        assert!(presence.is_unplaced() && presence.told_unplaced);
        presence.answered(true);
        assert!(!presence.is_unplaced() && !presence.told_unplaced);
    }
}
