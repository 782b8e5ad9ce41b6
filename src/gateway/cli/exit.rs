//! How a command ends when it does not succeed.

use std::fmt::Display;

use tidegate_model::ConfigError;

/// An exit code and the line for standard error that explains it.
#[derive(Debug)]
pub struct Exit {
    /// 1 when the work failed, 2 when the input cannot be used; rollouts have more.
    pub code: u8,
    /// Some lines before that one; mostly empty.
    pub report: String,
    /// One line.
    pub message: String,
    /// Whether the command's JSON says so already.
    pub in_json: bool,
}

impl Exit {
    /// The work ended as another code says.
    pub fn with_code(code: u8, message: impl Display) -> Self {
        Self {
            code,
            ..Self::failed(message)
        }
    }

    /// The work failed.
    pub fn failed(message: impl Display) -> Self {
        Self {
            code: 1,
            report: String::new(),
            message: message.to_string(),
            in_json: false,
        }
    }

    /// The input cannot be used.
    pub fn unusable(message: impl Display) -> Self {
        Self {
            code: 2,
            report: String::new(),
            message: message.to_string(),
            in_json: false,
        }
    }

    /// The same of a command whose JSON says so already.
    #[must_use]
    pub fn shown_in_json(self) -> Self {
        Self {
            in_json: true,
            ..self
        }
    }
}

impl From<ConfigError> for Exit {
    fn from(error: ConfigError) -> Self {
        Self {
            report: error.report().to_owned(),
            ..Self::unusable(error)
        }
    }
}
