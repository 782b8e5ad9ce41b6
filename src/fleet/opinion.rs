//! What a judge makes of the other regions, as far as the fleet needs to know.

use crate::suspicion::Set;

/// Regions by their places in the fleet's list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opinion {
    /// Those that have left by some judgement: they are probed.
    pub(crate) left: Set,
    /// Those that would leave by what this gateway sees alone.
    pub(crate) against: Set,
}
