//! How fresh a read of the index is to be.

use tidegate_model::{Consistency, RequestToken};
use tidegate_policy::{Decision, NO_STORE_PRIVATE};

/// What a read is owed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owed {
    pub(super) consistency: Consistency,
    pub(super) token: RequestToken,
}

impl Owed {
    /// The primary's state.
    pub(super) const STRONG: Self = Self {
        consistency: Consistency::STRONG,
        token: RequestToken::None,
    };

    /// Any committed state.
    pub(super) const EVENTUAL: Self = Self {
        consistency: Consistency::EVENTUAL,
        token: RequestToken::None,
    };

    pub(super) fn decision(self, token: RequestToken) -> Decision {
        Decision {
            consistency: self.consistency,
            token,
            stated: true,
            cache_control: NO_STORE_PRIVATE.clone(),
            shared_cacheable: false,
            vary: false,
            own_rules: false,
            no_transform: false,
            session_cookie: false,
        }
    }
}
