//! One `[[endpoint]]` of the file, as written.

use http::{Method, StatusCode};

use super::Place;

/// Who may call an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointAuth {
    /// Anybody.
    None,
    /// The bearer of a valid JWT.
    Jwt,
}

/// Method + path template → statement.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    /// Where it is written.
    pub place: Place,
    /// `HEAD` is answered wherever `GET` is.
    pub method: Method,
    /// A template such as `/api/v1/rates/{base}/{quote}`.
    pub path: String,
    /// Who may call it.
    pub auth: EndpointAuth,
    /// Status of a success.
    pub status: StatusCode,
    /// One statement with `:source.name` parameters.
    pub sql: String,
    /// One object (no row → 404) instead of an array.
    pub single: bool,
    /// Body members that must be JSON strings when present.
    pub body_strings: Vec<String>,
}
