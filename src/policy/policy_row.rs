//! One `[[policy]]` of the file, as written.

use crate::{CorsRow, RateLimit};
use tidegate_model::Consistency;
use tidegate_model::Place;

/// Path pattern → consistency floor and Cache-Control.
#[derive(Debug, Clone)]
pub struct PolicyRow {
    /// The place in the file.
    pub place: Place,
    /// `/x/*`, `/x*` or `/x`.
    pub path: String,
    /// The floor: a header can raise it, never lower it.
    pub consistency: Consistency,
    /// The `Cache-Control` of a successful answer; absent means `no-store, private`.
    pub cache_control: Option<String>,
    /// Whether browsers carry the token in a cookie; its answers are then never stored.
    pub session_cookie: bool,
    /// How many requests one client may send on these paths; absent means no limit.
    pub rate_limit: Option<RateLimit>,
    /// Which pages of other origins may read the answers; absent means none.
    pub cors: Option<CorsRow>,
}
