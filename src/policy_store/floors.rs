//! Polls of a gateway, and the floors of revisions that were in force while it did not look.

use tidegate_rollout::{Following, RolloutPosition, TrustedKeys};
use tokio_postgres::Client;

use super::StoreError;
use super::bodies::Bodies;
use super::statement::{self, PollOf, Polled};

/// Up to where the floors are known.
#[derive(Default)]
pub(super) struct Floors {
    /// The newest finished rollout of which the revisions' floors are known.
    known: Option<RolloutPosition>,
    /// The floor that the state file is to have.
    saved: u32,
}

impl Floors {
    /// Asks for all of them again: other keys are trusted.
    pub(super) fn ask_again(&mut self) {
        self.known = None;
    }

    /// Returns whether the floor is a greater one than that of the state file, which has it or is to have it.
    pub(super) fn save(&mut self, floor: u32) -> bool {
        std::mem::replace(&mut self.saved, floor) < floor
    }

    /// Reads the store on a node, and once more if that has raised the floor.
    pub(super) async fn poll(
        &mut self,
        (client, timeline): (&Client, u32),
        following: &Following,
        bodies: &mut Bodies,
        trust: &TrustedKeys,
    ) -> Result<Polled, StoreError> {
        let of = |known: Option<RolloutPosition>, floor: u32| {
            let known = known.filter(|it| it.timeline == timeline);
            PollOf {
                in_force: following.in_force().unwrap_or_default(),
                rollout: following.open_rollout().map_or(0, |it| it.rollout),
                floor,
                // Without keys whoever writes one row could void all others.
                floors_of: (!trust.keys.is_empty()).then_some(known.map_or(0, |it| it.rollout)),
            }
        };
        let polled = statement::poll(client, &of(self.known, bodies.floor())).await?;
        let floors = polled.floors().filter_map(|it| it.signed_floor(trust));
        let is_raised = bodies.raise_floor(floors.max().unwrap_or_default());
        let rollout = polled.finished.map_or(0, |it| it.rollout);
        self.known = Some(RolloutPosition { timeline, rollout });
        match is_raised {
            true => statement::poll(client, &of(self.known, bodies.floor())).await,
            false => Ok(polled),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_that_the_state_file_has_is_not_saved_again() {
        let mut floors = Floors::default();
        floors.save(5);
        assert!(!floors.save(5), "as when the store is read first");
        assert!(floors.save(6));
    }
}
