//! The parts of a request that a statement can name.

use std::fmt;

/// The source of a parameter's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterSource {
    /// A `{name}` of the path template.
    Path,
    /// The query string.
    Query,
    /// A member of the JSON body.
    Body,
    /// A claim of the verified JWT.
    Claims,
    /// A request header.
    Header,
}

impl ParameterSource {
    /// The source of a name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "path" => Some(Self::Path),
            "query" => Some(Self::Query),
            "body" => Some(Self::Body),
            "claims" => Some(Self::Claims),
            "header" => Some(Self::Header),
            _ => None,
        }
    }
}

/// One `:source.name`. Displays as in errors for clients: `query parameter "limit"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// The source of the value.
    pub source: ParameterSource,
    /// Its name in the source; that of a header is in lower case.
    pub name: String,
}

impl Parameter {
    /// Parses a text that is `:source.name` and nothing else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (source, name) = text.strip_prefix(':')?.split_once('.')?;
        let source = ParameterSource::parse(source)?;
        let is_name = |c: char| {
            c.is_ascii_alphanumeric() || c == '_' || (source == ParameterSource::Header && c == '-')
        };
        if name.is_empty() || !name.chars().all(is_name) {
            return None;
        }
        let name = match source {
            ParameterSource::Header => name.to_ascii_lowercase(),
            ParameterSource::Path
            | ParameterSource::Query
            | ParameterSource::Body
            | ParameterSource::Claims => name.to_owned(),
        };
        Some(Self { source, name })
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.source {
            ParameterSource::Path => "path parameter",
            ParameterSource::Query => "query parameter",
            ParameterSource::Body => "body member",
            ParameterSource::Claims => "token claim",
            ParameterSource::Header => "header",
        };
        write!(f, "{kind} \"{}\"", self.name)
    }
}
