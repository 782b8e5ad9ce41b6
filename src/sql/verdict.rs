//! The meaning of a node's failure for the request and for the node. Pure.

use super::FailureKind;
use tidegate_model::Level;

/// The properties of a request that determine the meaning of a failure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Whether it may be sent twice.
    pub(super) safe: bool,
    /// The effective level.
    pub(super) level: Level,
}

/// The consequence for a request whose statement failed on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The client gets the failure.
    Final,
    /// It was sent and may have taken effect: it must not be sent again.
    OutcomeUnknown,
    /// Another node may answer; if none does, the client gets the failure.
    Next,
    /// Like `Next`; if no node answers, the client gets the error that there is none.
    NextOrNoNode,
}

/// Why a node gave no answer, apart from failures that it reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// The deadline passed.
    Deadline,
    /// The monitor lost the node meanwhile.
    Lost,
    /// An answer came from a server in another role than expected.
    OtherRole,
    /// A read of another request on the same connection is in the way.
    HeldUp,
}

/// Judges a failure that a node or its connection reported; `sent` is whether the statement may have
/// taken effect.
pub(super) fn of_failure(
    terms: Terms,
    as_primary: bool,
    kind: &FailureKind,
    sent: bool,
) -> Verdict {
    match kind {
        FailureKind::Unavailable if !terms.safe && sent => Verdict::OutcomeUnknown,
        FailureKind::Unavailable if terms.level == Level::Strong => Verdict::NextOrNoNode,
        FailureKind::Unavailable if terms.safe => Verdict::Next,
        // Only recovery writes on a replica: the next node has no such conflict. On the primary
        // another transaction won, and the client has to try again.
        FailureKind::Collision if terms.safe && !as_primary => Verdict::Next,
        FailureKind::Unavailable
        | FailureKind::Collision
        | FailureKind::InvalidValue { .. }
        | FailureKind::Conflict { .. }
        | FailureKind::Constraint { .. }
        | FailureKind::Raised { .. }
        | FailureKind::Timeout
        | FailureKind::NotPrimary
        | FailureKind::InvalidSetting
        | FailureKind::Denied
        | FailureKind::Unexpected => Verdict::Final,
    }
}

/// Judges a node that gave no answer. A write that the primary began was executed; whether it
/// survives is unknown.
pub(super) fn of_silence(terms: Terms, silence: Silence) -> Verdict {
    match silence {
        Silence::Deadline | Silence::OtherRole if !terms.safe => Verdict::OutcomeUnknown,
        Silence::Deadline => Verdict::Final,
        Silence::OtherRole | Silence::Lost | Silence::HeldUp => Verdict::NextOrNoNode,
    }
}

/// Whether a silence counts as a failure of the node; `None` if the monitor has reported it or will,
/// or if the node is not at fault.
pub(super) fn node_failed(silence: Silence) -> Option<bool> {
    match silence {
        Silence::Deadline => Some(true),
        Silence::Lost | Silence::OtherRole | Silence::HeldUp => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Terms = Terms {
        safe: true,
        level: Level::Eventual,
    };
    const STRONG_READ: Terms = Terms {
        safe: true,
        level: Level::Strong,
    };
    const WRITE: Terms = Terms {
        safe: false,
        level: Level::Strong,
    };

    #[test]
    fn a_write_that_was_sent_is_never_sent_again() {
        let sent = |sent| of_failure(WRITE, true, &FailureKind::Unavailable, sent);
        assert_eq!(sent(true), Verdict::OutcomeUnknown);
        assert_eq!(sent(false), Verdict::NextOrNoNode);
        for silence in [Silence::Deadline, Silence::OtherRole] {
            assert_eq!(of_silence(WRITE, silence), Verdict::OutcomeUnknown);
        }
    }

    #[test]
    fn a_read_goes_on_when_its_node_is_gone() {
        let gone = |terms| of_failure(terms, false, &FailureKind::Unavailable, true);
        assert_eq!(gone(READ), Verdict::Next);
        assert_eq!(gone(STRONG_READ), Verdict::NextOrNoNode);
        for silence in [Silence::OtherRole, Silence::Lost, Silence::HeldUp] {
            assert_eq!(of_silence(READ, silence), Verdict::NextOrNoNode);
        }
        assert_eq!(of_silence(READ, Silence::Deadline), Verdict::Final);
    }

    #[test]
    fn a_collision_is_the_clients_on_the_primary_only() {
        let collision =
            |terms, as_primary| of_failure(terms, as_primary, &FailureKind::Collision, true);
        assert_eq!(collision(READ, false), Verdict::Next);
        assert_eq!(collision(READ, true), Verdict::Final);
        assert_eq!(collision(WRITE, true), Verdict::Final);
    }

    #[test]
    fn what_the_statement_is_to_blame_for_is_the_same_on_every_node() {
        for kind in [
            FailureKind::Timeout,
            FailureKind::NotPrimary,
            FailureKind::Unexpected,
        ] {
            for terms in [READ, STRONG_READ, WRITE] {
                assert_eq!(of_failure(terms, false, &kind, true), Verdict::Final);
            }
        }
    }

    #[test]
    fn only_the_deadline_counts_against_a_silent_node() {
        assert_eq!(node_failed(Silence::Deadline), Some(true));
        for silence in [Silence::Lost, Silence::OtherRole, Silence::HeldUp] {
            assert_eq!(node_failed(silence), None);
        }
    }
}
