//! Time as the fleet counts it.

use std::time::Duration;

/// The most that passes between two calls, twice the 50 ms at which a driver calls: what makes it late
/// keeps it from reading, too, and its peers perhaps from answering.
const STEP_MAX: Duration = Duration::from_millis(100);

/// Two readings of one monotonic clock.
///
/// A process that stood still (stopped, starved, its machine suspended) has not listened meanwhile: what
/// it did not hear in that time says nothing of its peers. So silence is measured in time that it lived
/// through.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    /// As the driver's clock shows it.
    pub(crate) raw: Duration,
    /// Without the time in which the process stood still.
    pub(crate) steady: Duration,
}

impl Clock {
    /// Takes in what the clock shows; one that goes back stands still.
    pub(crate) fn advance(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.raw);
        self.raw += passed;
        self.steady += passed.min(STEP_MAX);
    }
}
