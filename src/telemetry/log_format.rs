//! How log lines are written.

use std::io::IsTerminal;
use std::str::FromStr;

use tidegate_model::settings::Setting;

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// The form of this process's log lines.
    pub const SETTING: Setting = Setting {
        variable: Some("LOG_FORMAT"),
        default: || "`text` on a terminal, else `json`".to_owned(),
        range: || "`text` or `json`".to_owned(),
        meaning: "The format of [logs](observability.md#logs), on standard error.",
        ..Setting::UNNAMED
    };

    /// Text when standard error is a terminal, else JSON.
    #[must_use]
    pub fn of_terminal() -> Self {
        if std::io::stderr().is_terminal() {
            Self::Text
        } else {
            Self::Json
        }
    }
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("expected `text` or `json`"),
        }
    }
}
