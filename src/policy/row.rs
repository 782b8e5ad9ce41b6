//! One compiled policy row.

use std::fmt;

use crate::{CacheControl, PathPattern, PolicyError};
use crate::{PolicyRow, RateLimit};
use tidegate_model::Consistency;
use tidegate_model::Place;

/// Holds one compiled policy row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pattern: PathPattern,
    floor: Consistency,
    cache_control: CacheControl,
    session_cookie: bool,
    rate_limit: Option<RateLimit>,
    place: Place,
}

impl Row {
    /// Checks a row as it is written.
    ///
    /// # Errors
    ///
    /// Names the row and says what is wrong with its path or its `cache_control`.
    pub(super) fn compile(row: &PolicyRow) -> Result<Self, PolicyError> {
        let pattern = row.path.parse().map_err(|reason| PolicyError::Pattern {
            row: RowName::of(row),
            reason,
        })?;
        let cache_control = row
            .cache_control
            .as_deref()
            .map_or_else(|| Ok(CacheControl::no_store()), CacheControl::parse)
            .map_err(|reason| PolicyError::CacheControl {
                row: RowName::of(row),
                reason,
            })?;
        if cache_control.is_public() && row.consistency != Consistency::EVENTUAL {
            return Err(PolicyError::PublicFloor {
                row: RowName::of(row),
                floor: row.consistency,
            });
        }
        if row.session_cookie && !cache_control.is_no_store() {
            return Err(PolicyError::StoredSession {
                row: RowName::of(row),
            });
        }
        Ok(Self {
            pattern,
            floor: row.consistency,
            cache_control,
            session_cookie: row.session_cookie,
            rate_limit: row.rate_limit,
            place: row.place.clone(),
        })
    }

    /// Returns which paths the row covers.
    pub fn pattern(&self) -> &PathPattern {
        &self.pattern
    }

    /// Returns the least strict consistency a request can get.
    pub fn floor(&self) -> Consistency {
        self.floor
    }

    /// Returns the `Cache-Control` of successful answers.
    pub fn cache_control(&self) -> &CacheControl {
        &self.cache_control
    }

    /// Returns whether shared caches may keep answers to requests that state nothing.
    pub fn is_shared_cacheable(&self) -> bool {
        self.cache_control.is_public()
    }

    /// Returns whether browsers carry the token in a cookie on these paths.
    pub fn session_cookie(&self) -> bool {
        self.session_cookie
    }

    /// Returns how often one client may ask on these paths, if that is limited.
    pub fn rate_limit(&self) -> Option<RateLimit> {
        self.rate_limit
    }

    /// Returns what the row is called in messages.
    pub fn name(&self) -> RowName {
        RowName {
            path: self.pattern.to_string(),
            place: self.place.clone(),
        }
    }

    pub(super) fn literal(&self) -> &str {
        self.pattern.literal()
    }
}

/// Names a row by its path and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowName {
    /// The pattern as written.
    pub path: String,
    /// Where it is written.
    pub place: Place,
}

impl RowName {
    fn of(row: &PolicyRow) -> Self {
        Self {
            path: row.path.clone(),
            place: row.place.clone(),
        }
    }
}

impl fmt::Display for RowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({})", self.path, self.place)
    }
}
