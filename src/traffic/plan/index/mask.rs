//! Sets of policies.

use crate::plan::{Condition, POLICIES_MAX, Policy};

/// A set of policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct PolicyMask([u64; POLICIES_MAX / 64]);

impl PolicyMask {
    pub(super) fn insert(&mut self, policy: usize) {
        self.0[policy / 64] |= 1 << (policy % 64);
    }

    pub(super) fn and(mut self, other: &Self) -> Self {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine &= theirs;
        }
        self
    }

    pub(super) fn or(mut self, other: &Self) -> Self {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine |= theirs;
        }
        self
    }

    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(at, mut word)| {
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
                word &= word - 1;
                Some(at * 64 + bit)
            })
        })
    }
}

/// Returns the policies whose condition can hold, given what `known` returns for its leaves.
pub(super) fn possible(
    policies: &[Policy],
    known: impl Fn(&Condition) -> Option<bool>,
) -> PolicyMask {
    let mut set = PolicyMask::default();
    for (at, policy) in policies.iter().enumerate() {
        if policy.matches.possible(&known) {
            set.insert(at);
        }
    }
    set
}
