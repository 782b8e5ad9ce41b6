//! The combined meaning of a request's `X-Consistency-Token` fields.

use crate::{TokenError, TokenKeys, WalPosition};

/// What a request has seen of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestToken {
    /// It carries no token.
    None,
    /// It has seen this position, and must not be shown anything older.
    Verified(WalPosition),
    /// It has seen something, but this gateway cannot determine what: only the primary is safe.
    Unverifiable,
}

impl RequestToken {
    /// Reads every token field of a request.
    ///
    /// # Errors
    ///
    /// Only [`TokenError::Malformed`]: a field is not a token, or repeated fields differ.
    pub fn from_fields<F: AsRef<[u8]>>(
        fields: impl IntoIterator<Item = F>,
        keys: &TokenKeys,
    ) -> Result<Self, TokenError> {
        let mut fields = fields.into_iter();
        let Some(token) = fields.next() else {
            return Ok(Self::None);
        };
        if fields.any(|other| other.as_ref() != token.as_ref()) {
            return Err(TokenError::Malformed);
        }
        match keys.verify_bytes(token.as_ref()) {
            Ok(position) => Ok(Self::Verified(position)),
            Err(TokenError::Unverifiable) => Ok(Self::Unverifiable),
            Err(TokenError::Malformed) => Err(TokenError::Malformed),
        }
    }

    /// Returns what honours both: the newer position. Which of two histories is newer cannot be
    /// determined, which leaves the primary.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, known) | (known, Self::None) => known,
            (Self::Verified(one), Self::Verified(two))
                if (one.system, one.timeline) == (two.system, two.timeline) =>
            {
                let lsn = one.lsn.max(two.lsn);
                Self::Verified(WalPosition { lsn, ..one })
            }
            _ => Self::Unverifiable,
        }
    }

    /// Returns whether the request carries a token at all.
    pub fn is_present(&self) -> bool {
        *self != Self::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Lsn, SystemId, Timeline};

    const AT: WalPosition = WalPosition {
        system: SystemId(1),
        timeline: Timeline(1),
        lsn: Lsn(0x16),
    };

    #[test]
    fn no_field_is_no_token() {
        let keys = TokenKeys::random().unwrap();
        assert_eq!(
            RequestToken::from_fields([""; 0], &keys),
            Ok(RequestToken::None)
        );
    }

    #[test]
    fn a_known_key_verifies_and_a_foreign_one_does_not_refuse() {
        let (keys, foreign) = (TokenKeys::random().unwrap(), TokenKeys::random().unwrap());
        let read = |token: String| RequestToken::from_fields([token], &keys);
        assert_eq!(read(keys.sign(&AT)), Ok(RequestToken::Verified(AT)));
        assert_eq!(read(foreign.sign(&AT)), Ok(RequestToken::Unverifiable));
        assert_eq!(read(String::new()), Err(TokenError::Malformed));
    }

    #[test]
    fn repeated_fields_must_be_equal() {
        let keys = TokenKeys::random().unwrap();
        let token = keys.sign(&AT);
        let later = keys.sign(&WalPosition {
            lsn: Lsn(0x17),
            ..AT
        });
        let read = |fields: [&str; 2]| RequestToken::from_fields(fields, &keys);
        assert_eq!(read([&token, &token]), Ok(RequestToken::Verified(AT)));
        assert_eq!(read([&token, &later]), Err(TokenError::Malformed));
    }
}
