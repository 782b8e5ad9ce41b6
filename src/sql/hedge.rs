//! What becomes of a hedged read: which of two ends the client gets. Pure.

use super::planned::{StepError, StepResult};
use tidegate_steering::{Turn, Won};

/// Judges the end of one of two attempts while the other goes on: one that the client can have ends
/// the race, another has to wait for the other's.
///
/// # Errors
/// The end, to be kept until the other's is there.
pub(super) fn first_end(turn: Turn, end: StepResult) -> Result<(Won, StepResult), StepResult> {
    match is_good(&end) {
        true => Ok((Won::by(turn), end)),
        false => Err(end),
    }
}

/// Of two ends that were both awaited: the later if it is good, else a failure rather than a refusal.
pub(super) fn of_two(earlier: StepResult, turn: Turn, later: StepResult) -> (Won, StepResult) {
    match (&earlier, is_good(&later)) {
        (_, true) => (Won::by(turn), later),
        (Err(StepError::Next(_)), false) => (Won::Neither, earlier),
        (_, false) => (Won::Neither, later),
    }
}

/// Whether the client can have it.
fn is_good(end: &StepResult) -> bool {
    matches!(end, Ok(_) | Err(StepError::Final(_)))
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
    fn the_first_end_counts_only_if_the_client_can_have_it() {
        let (won, _) = first_end(Turn::Hedge, answered()).ok().unwrap();
        assert_eq!(won, Won::Second);
        let (won, _) = first_end(Turn::First, answered()).ok().unwrap();
        assert_eq!(won, Won::First);
        assert!(first_end(Turn::First, failed()).is_err());
        assert!(first_end(Turn::Hedge, Err(StepError::Unproven)).is_err());
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
