//! Whose turn it is: what some workers do for many, one of each after the other.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Repositories in turn, by their ids, so that none waits for all that another one has.
#[derive(Default)]
pub(super) struct Turns {
    left: Mutex<Vec<String>>,
    next: AtomicUsize,
}

impl Turns {
    /// Begins anew with these.
    pub(super) fn begin(&self, repositories: Vec<String>) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = repositories;
    }

    /// The next one; nothing if there is none left.
    pub(super) fn next(&self) -> Option<String> {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        left.get(turn.checked_rem(left.len())?).cloned()
    }

    /// Leaves one out that has nothing more.
    pub(super) fn leave(&self, repository: &str) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain(|it| it != repository);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_has_a_turn_until_there_is_nothing_left() {
        let turns = Turns::default();
        assert_eq!(turns.next(), None);
        turns.begin(["large", "small"].map(str::to_owned).to_vec());
        let took: Vec<_> = (0..4).filter_map(|_| turns.next()).collect();
        assert_eq!(took.iter().filter(|it| *it == "small").count(), 2);
        turns.leave("small");
        for _ in 0..3 {
            assert_eq!(turns.next().as_deref(), Some("large"));
        }
        turns.leave("large");
        assert_eq!(turns.next(), None);
    }
}
