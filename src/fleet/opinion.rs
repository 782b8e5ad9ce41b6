//! What a judge makes of the regions, as far as the fleet needs to know.

use std::time::Duration;

use crate::suspicion::Set;

/// Regions by their places in the fleet's list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opinion {
    /// Those that have left by some judgement: they are probed.
    pub(crate) left: Set,
    /// Those that would leave by what this gateway sees alone.
    pub(crate) against: Set,
    /// The least p99 that the policies ask of a region for its return, if one of them does.
    pub(crate) p99: Option<Duration>,
}
