//! The reasons for load shedding.

/// Why a request was refused for lack of room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShedReason {
    /// The maximum number of requests is in flight.
    RequestsMax,
    /// It would not have got a connection in time, and was not allowed to wait for one.
    Deadline,
    /// It waited for a connection without getting one in time.
    AcquireTimeout,
    /// Its upstream has its maximum number of requests in progress.
    ConnectionsMax,
    /// The primary serves its maximum number of reads in place of a replica.
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

    /// Returns the label of metrics and logs.
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
