//! An SQL endpoint as configured.

use http::StatusCode;

/// A statement and the form of its answers.
#[derive(Debug, Clone)]
pub struct SqlConfig {
    /// Status of a success.
    pub status: StatusCode,
    /// One statement with `:source.name` parameters.
    pub statement: String,
    /// One object (no row → 404) instead of an array.
    pub single: bool,
    /// Body members that must be JSON strings when present.
    pub body_strings: Vec<String>,
}
