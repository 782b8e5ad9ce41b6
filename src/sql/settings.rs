//! An SQL endpoint as configured.

use http::StatusCode;

/// A statement, the transaction that it runs in, and the form of its answers.
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
    /// The settings of the request's transaction, and their values.
    pub settings: Vec<(String, String)>,
    /// The claim that names the role of the request's transaction.
    pub role: Option<String>,
    /// The roles that it may name.
    pub roles: Option<Vec<String>>,
}
