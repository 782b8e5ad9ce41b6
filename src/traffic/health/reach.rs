//! Whether a region can be reached, and whether a loss was only momentary.

use std::time::Duration;

/// A loss that ends within this time does not count.
const MOMENT: Duration = Duration::from_secs(2);

/// The time in which a limited number of losses is forgiven: more of them are not accidental.
const MOMENTS_MAX: usize = 2;
const MOMENTS_WITHIN: Duration = Duration::from_secs(60);

/// Whether requests can be sent to a region.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    state: ReachState,
    /// The times of the last forgiven losses, the older one first.
    forgiven: [Option<Duration>; MOMENTS_MAX],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReachState {
    /// It was never reached: once it is, it is well.
    Never,
    Open,
    /// It was lost, perhaps only for a moment.
    Lost {
        since: Duration,
    },
    Gone,
}

impl Reach {
    pub(super) const NEVER: Self = Self {
        state: ReachState::Never,
        forgiven: [None; MOMENTS_MAX],
    };

    pub(super) fn is_open(&self) -> bool {
        self.state == ReachState::Open
    }

    /// Records whether it can be reached now; returns whether it has left because of that.
    pub(super) fn step(&mut self, open: bool, now: Duration) -> bool {
        match self.state {
            ReachState::Lost { since } if now.saturating_sub(since) > MOMENT => self.give_up(open),
            ReachState::Lost { .. } if open => self.forgive(now),
            ReachState::Open if !open && self.may_forgive(now) => {
                self.state = ReachState::Lost { since: now };
                false
            }
            ReachState::Open if !open => self.give_up(open),
            ReachState::Never | ReachState::Gone if open => {
                self.state = ReachState::Open;
                false
            }
            _ => false,
        }
    }

    fn give_up(&mut self, open: bool) -> bool {
        self.state = if open {
            ReachState::Open
        } else {
            ReachState::Gone
        };
        true
    }

    fn forgive(&mut self, now: Duration) -> bool {
        self.state = ReachState::Open;
        self.forgiven.rotate_left(1);
        self.forgiven[MOMENTS_MAX - 1] = Some(now);
        false
    }

    fn may_forgive(&self, now: Duration) -> bool {
        let recently = |at: Duration| now.saturating_sub(at) < MOMENTS_WITHIN;
        !self.forgiven[0].is_some_and(recently)
    }
}
