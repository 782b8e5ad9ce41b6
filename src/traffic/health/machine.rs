//! One region by one judgement: well, left, or coming back.

use std::time::Duration;

use crate::hash::RAMP_END;
use crate::health::Quantities;
use crate::plan::{Judgement, Leave};

/// The state of a region by one judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It serves.
    Well,
    /// It gets no requests.
    Left,
    /// It gets the keys that its ramp lets in.
    Ramping {
        /// When the ramp began.
        began: Duration,
    },
}

/// The input of a step, besides the time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence {
    pub(super) quantities: Quantities,
    /// Whether the others have capacity for what the region serves.
    pub(super) room: bool,
    /// Whether what is known about the region is recent enough for it to come back.
    pub(super) may_return: bool,
}

/// A region's state, and since when the condition that would change it has held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Machine {
    state: State,
    exceeded_since: Option<Duration>,
    undercut_since: Option<Duration>,
}

impl Machine {
    pub(super) const WELL: Self = Self {
        state: State::Well,
        exceeded_since: None,
        undercut_since: None,
    };

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn step(&mut self, judgement: &Judgement, evidence: &Evidence, now: Duration) {
        self.look(judgement, evidence, now);
        if self.state == State::Left {
            if self.returns(judgement, now) {
                self.come_back(judgement, now);
            }
            return;
        }
        let leaves = |leave: &Leave| has_held(self.exceeded_since, leave.hold, now);
        if judgement.leave.as_ref().is_some_and(leaves) {
            self.leave();
        } else if self.position(judgement, now) == RAMP_END {
            self.state = State::Well;
        }
    }

    /// Leaves, regardless of the quantities; progress towards a return is lost.
    pub(super) fn leave(&mut self) {
        self.state = State::Left;
        self.undercut_since = None;
    }

    /// Begins the ramp, if there is one.
    pub(super) fn come_back(&mut self, judgement: &Judgement, now: Duration) {
        self.state = State::Ramping { began: now };
        self.exceeded_since = None;
        if self.position(judgement, now) == RAMP_END {
            self.state = State::Well;
        }
    }

    /// Excludes a span of time.
    pub(super) fn stand_still(&mut self, time: Duration) {
        let later = |since: Duration| since + time;
        self.exceeded_since = self.exceeded_since.map(later);
        self.undercut_since = self.undercut_since.map(later);
        if let State::Ramping { began } = &mut self.state {
            *began += time;
        }
    }

    /// Returns the position of the ramp, of 10,000; its end if there is none.
    pub(super) fn position(&self, judgement: &Judgement, now: Duration) -> u16 {
        let State::Ramping { began } = self.state else {
            return RAMP_END;
        };
        let ramp = judgement
            .comeback
            .as_ref()
            .map_or(0, |it| it.ramp.as_millis());
        let passed = now.saturating_sub(began).as_millis();
        if passed >= ramp {
            return RAMP_END;
        }
        (passed * u128::from(RAMP_END) / ramp) as u16
    }

    fn look(&mut self, judgement: &Judgement, evidence: &Evidence, now: Duration) {
        let quantities = &evidence.quantities;
        let leave = judgement.leave.as_ref();
        let exceeded = leave.is_some_and(|it| quantities.exceed(&it.when, evidence.room));
        let undercut = match &judgement.comeback {
            Some(comeback) => quantities.undercut(&comeback.when),
            None => !leave.is_some_and(|it| quantities.exceed(&it.when, true)),
        };
        hold(&mut self.exceeded_since, exceeded, now);
        hold(
            &mut self.undercut_since,
            undercut && evidence.may_return,
            now,
        );
    }

    fn returns(&self, judgement: &Judgement, now: Duration) -> bool {
        let comeback = judgement.comeback.as_ref().map(|it| it.hold);
        let leave = judgement.leave.as_ref().map(|it| it.hold);
        has_held(
            self.undercut_since,
            comeback.or(leave).unwrap_or_default(),
            now,
        )
    }
}

fn hold(since: &mut Option<Duration>, holds: bool, now: Duration) {
    *since = holds.then(|| since.unwrap_or(now));
}

fn has_held(since: Option<Duration>, long: Duration, now: Duration) -> bool {
    since.is_some_and(|since| now.saturating_sub(since) >= long)
}
