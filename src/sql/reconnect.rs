//! Whether the same statement is sent again to a node that gave no answer. Pure.
//!
//! A lost connection is not a lost node: a server process was terminated, or a device on the path
//! dropped the connection, and everything that was sent on it is unanswered although the node is
//! healthy. So a statement that may be sent again is sent to the same node on another connection, and
//! if that one is lost too, on one that is known to work. This takes nothing from the retry budget
//! and does not count as a failure of the node. If there is no such connection, the node is lost; if
//! it is lost as well, the node or the statement is at fault.

use super::Pace;

/// How the connection that a statement is sent on is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeaseKind {
    /// Other quick reads may use it at the same time.
    Shared,
    /// Like `Exclusive` if one is free, else like `Shared`.
    Free,
    /// It is used for nothing else at the same time.
    Exclusive,
    /// Like `Exclusive`, after one was lost.
    Another,
    /// Like `Another`, and it has just been opened or has just answered.
    Checked,
}

/// Why a statement got no answer although the node itself may be healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interruption {
    /// Another read on the same connection is in the way.
    HeldUp,
    /// The connection was lost, perhaps after the statement was sent.
    Lost { sent: bool },
}

impl LeaseKind {
    /// Returns the kind of connection for the first try of a statement of some pace.
    pub(super) fn first(safe: bool, pace: Pace) -> Self {
        match pace {
            _ if !safe => Self::Exclusive,
            Pace::Quick => Self::Shared,
            Pace::Moderate => Self::Free,
            Pace::Slow => Self::Exclusive,
        }
    }

    /// Returns what to send the statement on after it got no answer on this one; none when it must
    /// not be sent to this node again. Each connection is of a later kind, so there is an end to it.
    pub(super) fn after(self, interruption: Interruption, safe: bool) -> Option<Self> {
        match interruption {
            Interruption::HeldUp => {
                matches!(self, Self::Shared | Self::Free).then_some(Self::Exclusive)
            }
            Interruption::Lost { sent: true } if !safe => None,
            Interruption::Lost { .. } => match self {
                Self::Shared | Self::Free | Self::Exclusive => Some(Self::Another),
                Self::Another => Some(Self::Checked),
                Self::Checked => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST: Interruption = Interruption::Lost { sent: true };

    fn all_after(first: LeaseKind, interruption: Interruption, safe: bool) -> Vec<LeaseKind> {
        let after = |last: &LeaseKind| last.after(interruption, safe);
        std::iter::successors(Some(first), after).skip(1).collect()
    }

    #[test]
    fn a_read_that_is_held_up_leaves_the_others_once() {
        let after = |first| all_after(first, Interruption::HeldUp, true);
        assert_eq!(after(LeaseKind::Shared), [LeaseKind::Exclusive]);
        assert_eq!(after(LeaseKind::Another), []);
    }

    #[test]
    fn a_read_goes_again_until_a_connection_is_lost_that_was_known_to_work() {
        let again = [LeaseKind::Another, LeaseKind::Checked];
        for first in [LeaseKind::Shared, LeaseKind::Free, LeaseKind::Exclusive] {
            assert_eq!(all_after(first, LOST, true), again);
        }
    }

    #[test]
    fn a_write_goes_again_only_if_nothing_of_it_was_sent() {
        let after = |sent| all_after(LeaseKind::Exclusive, Interruption::Lost { sent }, false);
        assert_eq!(after(true), []);
        assert_eq!(after(false), [LeaseKind::Another, LeaseKind::Checked]);
    }
}
