//! The result of a hedged read: which of two results the client gets. Pure.

use super::planned::{StepError, StepResult};
use tidegate_steering::{Turn, Won};

/// Whether the client can get this result, so that no other is awaited.
pub(super) fn is_good(end: &StepResult) -> bool {
    matches!(end, Ok(_) | Err(StepError::Final(_)))
}

/// Chooses between two results that were both awaited: the later if it is good, else a failure rather
/// than a refusal.
pub(super) fn of_two(earlier: StepResult, turn: Turn, later: StepResult) -> (Won, StepResult) {
    match (&earlier, is_good(&later)) {
        (_, true) => (Won::by(turn), later),
        (Err(StepError::Next(_)), false) => (Won::Neither, earlier),
        (_, false) => (Won::Neither, later),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::SqlError;

    fn failed() -> StepResult {
        Err(StepError::Next(SqlError::NoNode))
    }

    fn refused() -> StepResult {
        Err(StepError::Refused(SqlError::SpillBudget))
    }

    fn answered() -> StepResult {
        Err(StepError::Final(SqlError::NoRow))
    }

    #[test]
    fn a_failure_that_is_the_clients_ends_the_race_and_one_of_a_node_does_not() {
        assert!(is_good(&answered()));
        assert!(!is_good(&failed()) && !is_good(&refused()));
        assert!(!is_good(&Err(StepError::Unproven)));
    }

    #[test]
    fn of_two_that_failed_a_failure_says_more_than_a_refusal() {
        let (won, end) = of_two(failed(), Turn::Hedge, refused());
        assert_eq!(won, Won::Neither);
        assert!(matches!(end, Err(StepError::Next(_))));
        let (_, end) = of_two(refused(), Turn::First, failed());
        assert!(matches!(end, Err(StepError::Next(_))));
        let (won, end) = of_two(failed(), Turn::First, answered());
        assert_eq!(won, Won::First);
        assert!(matches!(end, Err(StepError::Final(_))));
    }
}
