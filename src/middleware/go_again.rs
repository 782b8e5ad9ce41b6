//! When a node that gave no answer is sent the same statement once more. Pure.
//!
//! A connection lost is not a node lost: a server process was terminated, or something on the way
//! forgot the connection, and everything that was sent on it is unanswered though the node is well.
//! So what may be sent again goes to the same node on another connection, and if that one is lost
//! too, on one that is known to work. That takes nothing out of the retry budget and is no failure of
//! the node's. If there is no such connection, the node is lost; if it is lost as well, the node or
//! the statement is to blame.

/// How the connection that a statement is sent on is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    /// Other quick reads may use it at the same time.
    Shared,
    /// As `Alone` if one is free, else as `Shared`.
    Free,
    /// It is used for nothing else.
    Alone,
    /// As `Alone`, after one was lost.
    Another,
    /// As `Another`, and it was opened just now or has just answered.
    Checked,
}

/// Why a statement got no answer, where the node itself may be well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Another read on the same connection is in the way.
    HeldUp,
    /// The connection was lost, perhaps after the statement was sent.
    Lost { sent: bool },
}

impl Connection {
    /// Returns what to send the statement on after it got no answer on this one; none when it must
    /// not be sent to this node again. Each connection is of a later kind, so there is an end to it.
    pub(super) fn after(self, trouble: Trouble, safe: bool) -> Option<Self> {
        match trouble {
            Trouble::HeldUp => matches!(self, Self::Shared | Self::Free).then_some(Self::Alone),
            Trouble::Lost { sent: true } if !safe => None,
            Trouble::Lost { .. } => match self {
                Self::Shared | Self::Free | Self::Alone => Some(Self::Another),
                Self::Another => Some(Self::Checked),
                Self::Checked => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST: Trouble = Trouble::Lost { sent: true };

    fn all_after(first: Connection, trouble: Trouble, safe: bool) -> Vec<Connection> {
        let after = |last: &Connection| last.after(trouble, safe);
        std::iter::successors(Some(first), after).skip(1).collect()
    }

    #[test]
    fn a_read_that_is_held_up_leaves_the_others_once() {
        let after = |first| all_after(first, Trouble::HeldUp, true);
        assert_eq!(after(Connection::Shared), [Connection::Alone]);
        assert_eq!(after(Connection::Another), []);
    }

    #[test]
    fn a_read_goes_again_until_a_connection_is_lost_that_was_known_to_work() {
        let again = [Connection::Another, Connection::Checked];
        for first in [Connection::Shared, Connection::Free, Connection::Alone] {
            assert_eq!(all_after(first, LOST, true), again);
        }
    }

    #[test]
    fn a_write_goes_again_only_if_nothing_of_it_was_sent() {
        let after = |sent| all_after(Connection::Alone, Trouble::Lost { sent }, false);
        assert_eq!(after(true), []);
        assert_eq!(after(false), [Connection::Another, Connection::Checked]);
    }
}
