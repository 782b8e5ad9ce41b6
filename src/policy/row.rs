//! One compiled policy row.

use std::fmt;
use std::sync::Arc;

use crate::{CacheControl, Cors};
use crate::{PolicyRow, RateLimit};
use tidegate_model::Consistency;
use tidegate_model::{ConfigError, Place};
use tidegate_model::{PathPattern, PatternError};

/// Holds one compiled policy row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pattern: PathPattern,
    floor: Consistency,
    cache_control: CacheControl,
    session_cookie: bool,
    rate_limit: Option<RateLimit>,
    cors: Option<Arc<Cors>>,
    place: Place,
}

impl Row {
    /// Compiles a row of the file.
    ///
    /// # Errors
    ///
    /// Names the row and states what is wrong with its path or its `cache_control`.
    pub(super) fn compile(row: &PolicyRow) -> Result<Self, ConfigError> {
        let refuse = |key, value: &str, why: &dyn fmt::Display| {
            ConfigError::of_key(&row.place, key, value, why)
        };
        let pattern = row.path.parse();
        let pattern = pattern.map_err(|why: PatternError| refuse("path", &row.path, &why))?;
        let written = row.cache_control.as_deref().unwrap_or_default();
        let refuse = |why: &dyn fmt::Display| refuse("cache_control", written, why);
        let cache_control = match row.cache_control {
            Some(_) => CacheControl::parse(written).map_err(|why| refuse(&why))?,
            None => CacheControl::no_store(),
        };
        if cache_control.is_public() && row.consistency != Consistency::EVENTUAL {
            let floor = row.consistency;
            return Err(refuse(&format_args!(
                "it must not say `public`: a shared cache cannot honour the floor `{floor}`"
            )));
        }
        if cache_control.is_application() && row.consistency != Consistency::EVENTUAL {
            let floor = row.consistency;
            return Err(refuse(&format_args!(
                "the row needs `consistency = \"eventual\"`: the application's caches cannot honour the \
                 floor `{floor}`"
            )));
        }
        if row.session_cookie && !cache_control.is_no_store() {
            return Err(refuse(
                &"with session_cookie answers are never stored: it must be absent or contain \
                  no-store",
            ));
        }
        let cors = row
            .cors
            .as_ref()
            .map(|cors| Cors::compile(cors, &row.place).map(Arc::new));
        Ok(Self {
            pattern,
            floor: row.consistency,
            cache_control,
            session_cookie: row.session_cookie,
            rate_limit: row.rate_limit,
            cors: cors.transpose()?,
            place: row.place.clone(),
        })
    }

    /// Returns which paths the row covers.
    pub fn pattern(&self) -> &PathPattern {
        &self.pattern
    }

    /// Returns the least strict consistency that a request can get.
    pub fn floor(&self) -> Consistency {
        self.floor
    }

    /// Returns the `Cache-Control` of successful answers.
    pub fn cache_control(&self) -> &CacheControl {
        &self.cache_control
    }

    /// Returns whether shared caches may store answers to requests that state nothing.
    pub fn is_shared_cacheable(&self) -> bool {
        self.cache_control.is_public()
    }

    /// Returns whether browsers carry the token in a cookie on these paths.
    pub fn session_cookie(&self) -> bool {
        self.session_cookie
    }

    /// Returns how many requests one client may send on these paths, if that is limited.
    pub fn rate_limit(&self) -> Option<RateLimit> {
        self.rate_limit
    }

    /// Returns which pages of other origins may read the answers, if any may.
    pub fn cors(&self) -> Option<&Arc<Cors>> {
        self.cors.as_ref()
    }

    /// Returns the place of the row in the file.
    pub fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn literal(&self) -> &str {
        self.pattern.literal()
    }
}
