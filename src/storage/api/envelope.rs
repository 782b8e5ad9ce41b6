//! What every answer is in.

use serde::Serialize;
use serde_json::{Value, json};

/// One thing.
pub(super) fn one(data: impl Serialize) -> Value {
    json!({"success": true, "data": data})
}

/// All of a kind.
pub(super) fn all(data: &[impl Serialize]) -> Value {
    json!({"success": true, "data": data, "total": data.len()})
}
