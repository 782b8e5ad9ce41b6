//! What is wrong with the configuration, and where.

use std::fmt;
use std::sync::Arc;

/// Where a configuration value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A flag or an environment variable, by name.
    Name(&'static str),
    /// A line of a configuration file.
    Line {
        /// The file as the operator named it, or `built-in`.
        file: Arc<str>,
        /// One-based.
        line: usize,
    },
    /// A file as a whole.
    File(Arc<str>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Line { file, line } => write!(f, "{file}:{line}"),
            Self::File(file) => f.write_str(file),
        }
    }
}

/// A configuration value that cannot be used. Displays as one line: `place: message`.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {message}")]
pub struct ConfigError {
    place: Place,
    message: String,
}

impl ConfigError {
    /// Names the place and says what is wrong there; control characters become spaces.
    pub fn new(place: Place, message: impl fmt::Display) -> Self {
        let message = message.to_string().replace(char::is_control, " ");
        Self { place, message }
    }
}
