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
    /// How its answer is divided into pages.
    pub page: Option<PageConfig>,
}

/// How an answer is divided into pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageConfig {
    /// The query parameter with the last row's value of the page before.
    pub cursor: String,
    /// The column that has this value.
    pub column: String,
    /// The query parameter with the rows of a page.
    pub limit: String,
    /// The rows of a page of a request without it.
    pub default: u32,
    /// Most rows of a page.
    pub max: u32,
}

impl PageConfig {
    /// The names of the parameters, unless others are set.
    pub const CURSOR: &str = "after";
    /// See [`PageConfig::CURSOR`].
    pub const LIMIT: &str = "limit";
    /// The rows of a page, unless others are set.
    pub const DEFAULT: u32 = 20;
    /// Most rows of a page, unless others are set.
    pub const MAX: u32 = 100;
}
