//! What is wrong with the configuration, and where.

use std::fmt;
use std::sync::Arc;

use url::Url;

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
        /// The lines of the keys of a table that begins here.
        keys: Arc<[(&'static str, usize)]>,
    },
    /// A file as a whole.
    File(Arc<str>),
}

impl Place {
    /// The place of a key of the table that begins here; the table itself if the key has no line.
    #[must_use]
    pub fn of(&self, key: &str) -> Self {
        self.key(key).unwrap_or_else(|| self.clone())
    }

    /// Where a key of the table that begins here stands; none where the key has no line.
    #[must_use]
    pub fn key(&self, key: &str) -> Option<Self> {
        let mut place = self.clone();
        let Self::Line { line, keys, .. } = &mut place else {
            return None;
        };
        (_, *line) = *keys.iter().find(|(known, _)| *known == key)?;
        Some(place)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Line { file, line, .. } => write!(f, "{file}:{line}"),
            Self::File(file) => f.write_str(file),
        }
    }
}

/// A configuration value that cannot be used. Displays as one line: `place: message`, or with the
/// refused value `file:3: consistency = "eventully": why`.
#[derive(Debug, thiserror::Error)]
#[error("{line}")]
pub struct ConfigError {
    line: String,
    report: String,
}

impl ConfigError {
    /// Names the place and states what is wrong there.
    pub fn new(place: &Place, message: impl fmt::Display) -> Self {
        Self::on_one_line(&format!("{place}: {message}"))
    }

    /// Names the place and the key, quotes the value as written in the file, and states what is
    /// wrong with it.
    pub fn refused(place: &Place, key: &str, written: &str, why: impl fmt::Display) -> Self {
        Self::on_one_line(&format!("{place}: {key} = {}: {why}", shown(key, written)))
    }

    /// The same for the value of a table's key, located by [`Place::of`].
    pub fn of_key(table: &Place, key: &str, value: &str, why: impl fmt::Display) -> Self {
        Self::refused(&table.of(key), key, &quoted(value), why)
    }

    /// The same for the value of a flag, an argument or an environment variable.
    pub fn variable(name: &'static str, value: &str, why: impl fmt::Display) -> Self {
        let quoted = quoted(value);
        Self::on_one_line(&format!("{name} = {}: {why}", shown(name, &quoted)))
    }

    /// Adds a report of several lines, for a terminal.
    #[must_use]
    pub fn with_report(mut self, report: String) -> Self {
        self.report = report;
        self
    }

    /// Returns the report of several lines; empty if there is none.
    pub fn report(&self) -> &str {
        &self.report
    }

    fn on_one_line(message: &str) -> Self {
        Self {
            line: message.replace(char::is_control, " "),
            report: String::new(),
        }
    }
}

/// A value written as a TOML string.
pub fn quoted(value: &str) -> String {
    format!("\"{}\"", value.escape_debug())
}

/// Longest value that is quoted in full.
const SHOWN_MAX: usize = 80;

/// A refused value as shown in an error: truncated if it is long, and without anything that may
/// hold a password. Of a URL only the scheme is shown, unless it is a plain HTTP URL.
fn shown(name: &str, written: &str) -> String {
    let bare = written.trim_matches(['"', '\'']);
    let (scheme, is_url) = match bare.split_once("://") {
        Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            (format!("{scheme}://"), true)
        }
        Some(_) => (String::new(), true),
        None => (String::new(), false),
    };
    let names_url = name.to_ascii_lowercase().ends_with("url");
    // What browsers send has no secret, whatever else is wrong with it.
    let names_origin = name.ends_with("origins");
    let is_variable =
        bare.starts_with("${") && bare.find('}').is_none_or(|at| at + 1 == bare.len());
    let hidden = match () {
        () if is_variable => false,
        () if names_origin => bare.contains('@'),
        () if is_url => !is_plain_http(bare),
        () => bare.contains('@') || (names_url && bare.len() < written.len()),
    };
    if hidden {
        return format!("\"{scheme}…\"");
    }
    match written.char_indices().nth(SHOWN_MAX) {
        Some((at, _)) => format!("{}…", &written[..at]),
        None => written.to_owned(),
    }
}

fn is_plain_http(text: &str) -> bool {
    let url = text.parse::<Url>();
    url.is_ok_and(|url| matches!(url.scheme(), "http" | "https")) && !text.contains(['@', '?', '#'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_quoted_and_what_may_be_a_password_is_not() {
        let long = format!("\"{}\"", "x".repeat(200));
        let cut = format!("\"{}…", "x".repeat(79));
        for (name, written, expected) in [
            ("consistency", "\"eventully\"", "\"eventully\""),
            ("fail_after", "0", "0"),
            ("sql", &long, &cut),
            ("listen", "'app@db'", "\"…\""),
            ("url", "'app:hunter2'", "\"…\""),
            ("url", "'${APP_URL}'", "'${APP_URL}'"),
            ("url", "'${APP_URL'", "'${APP_URL'"),
            ("url", "'${APP}:hunter2'", "\"…\""),
            ("url", "5", "5"),
            ("url", "'http://app:3000/base'", "'http://app:3000/base'"),
            ("url", "'http://app:hunter2'", "\"http://…\""),
            ("url", "'http://app/?key=hunter2'", "\"http://…\""),
            ("url", "'ftp://hunter2'", "\"ftp://…\""),
            ("cors.origins", "\"https://a b\"", "\"https://a b\""),
            ("cors.origins", "\"https://a?x\"", "\"https://a?x\""),
            ("cors.origins", "\"https://\"", "\"https://\""),
            ("cors.origins", "\"https://app:hunter2@a\"", "\"https://…\""),
            (
                "pool",
                "'postgres://app:hunter2@db/app'",
                "\"postgres://…\"",
            ),
            ("policy", "['postgres://app:hunter2@db/app\"x']", "\"…\""),
            ("DATABASE_URL", "\"host=db password=hunter2\"", "\"…\""),
        ] {
            assert_eq!(shown(name, written), expected, "{name} = {written}");
        }
    }
}
