//! What there was no room for.

/// Why a request was refused for want of room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShedReason {
    /// As many are in flight as may be.
    RequestsMax,
    /// It would not have got a connection in time, and was not let wait for one.
    Deadline,
    /// It waited for a connection in vain.
    AcquireTimeout,
    /// Its upstream has as many requests under way as it may.
    ConnectionsMax,
    /// The primary serves as many reads in place of a replica as it may.
    SpillBudget,
}

impl ShedReason {
    /// Every reason.
    pub const ALL: [Self; 5] = [
        Self::RequestsMax,
        Self::Deadline,
        Self::AcquireTimeout,
        Self::ConnectionsMax,
        Self::SpillBudget,
    ];

    /// As it is written in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RequestsMax => "requests-max",
            Self::Deadline => "deadline",
            Self::AcquireTimeout => "acquire-timeout",
            Self::ConnectionsMax => "connections-max",
            Self::SpillBudget => "spill-budget",
        }
    }
}
