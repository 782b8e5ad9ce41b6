//! One `[[policy]]` row as it is written.

use serde::Deserialize;

use crate::consistency::Consistency;

/// Says how fresh answers below a path must be and who may keep them.
///
/// Whether the pattern and the header value make sense is decided where the table is built.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRow {
    /// Which paths: `/x` itself, `/x/*` with all below it, `/x*` whatever starts with `/x`.
    pub path: String,
    /// The floor: a header can raise it, never lower it.
    pub consistency: Consistency,
    /// The `Cache-Control` of successful answers; absent means `no-store, private`.
    pub cache_control: Option<String>,
    /// The line of the file the row starts at, counted from 1; built-in rows have none.
    #[serde(skip)]
    pub line: Option<usize>,
}
