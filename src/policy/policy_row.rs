//! One `[[policy]]` of the file, as written.

use crate::RateLimit;
use tidegate_model::Consistency;
use tidegate_model::Place;

/// Path pattern → consistency floor and Cache-Control.
#[derive(Debug, Clone)]
pub struct PolicyRow {
    /// Where it is written.
    pub place: Place,
    /// `/x/*`, `/x*` or `/x`.
    pub path: String,
    /// The floor: a header can raise it, never lower it.
    pub consistency: Consistency,
    /// What a success carries; absent means `no-store, private`.
    pub cache_control: Option<String>,
    /// Whether browsers carry the token in a cookie; its answers are then never stored.
    pub session_cookie: bool,
    /// How often one client may ask on these paths; absent means as often as it likes.
    pub rate_limit: Option<RateLimit>,
}
