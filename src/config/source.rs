//! The text of a TOML file: where things stand in it, and its errors with file, line and key.

use std::ops::Range;
use std::sync::Arc;

use toml::de::DeTable;

use tidegate_model::{ConfigError, Place};

/// A file's name and text, to turn byte offsets into lines.
pub(super) struct Source {
    pub(super) name: Arc<str>,
    pub(super) text: String,
}

impl Source {
    pub(super) fn line(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    pub(super) fn place(&self, offset: usize, keys: Arc<[(&'static str, usize)]>) -> Place {
        Place::Line {
            file: Arc::clone(&self.name),
            line: self.line(offset),
            keys,
        }
    }

    /// What stands there.
    pub(super) fn written(&self, span: Range<usize>) -> &str {
        self.text.get(span).unwrap_or_default()
    }

    /// Where the value of a section's key stands.
    pub(super) fn find(&self, section: &str, key: &str) -> Option<Range<usize>> {
        let file = DeTable::parse(&self.text).ok()?;
        let section = file.get_ref().get(section)?.get_ref();
        Some(section.get(key)?.span())
    }

    /// Where the values of these keys stand in the table at a place of an array, as far as they do.
    pub(super) fn lines_in(
        &self,
        array: &str,
        index: usize,
        keys: &'static [&'static str],
    ) -> Vec<(&'static str, usize)> {
        let Ok(file) = DeTable::parse(&self.text) else {
            return Vec::new();
        };
        let table = file.get_ref().get(array).map(|it| it.get_ref());
        let table = table.and_then(|it| it.get(index));
        let line = |key: &&'static str| {
            let value = table?.get_ref().get(*key)?;
            Some((*key, self.line(value.span().start)))
        };
        keys.iter().filter_map(line).collect()
    }

    /// Turns the parser's error into one line with file, line, key and value, as far as there are.
    pub(super) fn explain(&self, error: &toml::de::Error) -> ConfigError {
        let message = error.message();
        let Some(span) = error.span() else {
            return ConfigError::new(&Place::File(Arc::clone(&self.name)), message);
        };
        let place = self.place(span.start, Arc::default());
        if let Some(expected) = expected(message)
            && let Some(key) = self.key_of(span.start)
        {
            return ConfigError::refused(&place, key, self.written(span), expected);
        }
        let start = self.text[..span.start]
            .rfind('\n')
            .map_or(0, |newline| newline + 1);
        let line = self.text[start..].lines().next().unwrap_or_default();
        let about_keys = ["missing field", "unknown field", "duplicate"];
        let about_keys = about_keys.iter().any(|start| message.starts_with(start));
        match line.split_once('=') {
            Some((key, _)) if is_key(key.trim()) && about_keys => {
                ConfigError::new(&place, format!("{}: {message}", key.trim()))
            }
            Some((key, value)) if is_key(key.trim()) => {
                ConfigError::refused(&place, key.trim(), value.trim(), message)
            }
            _ => ConfigError::new(&place, message),
        }
    }

    /// The key whose value, or an element of it, begins there.
    fn key_of(&self, offset: usize) -> Option<&str> {
        let (before, _) = self.text[..offset].rsplit_once('=')?;
        let before = before.trim_end();
        let start = before.rfind(|c: char| !c.is_ascii() || !is_key(c.encode_utf8(&mut [0; 4])));
        let (lead, key) = before.split_at(start.map_or(0, |at| at + 1));
        let follows = lead.is_empty() || lead.ends_with(['\n', ' ', '\t', '{', ',']);
        (follows && is_key(key)).then_some(key)
    }
}

/// Whether a text is a TOML key as people write it; what is none may be a password.
fn is_key(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// What serde says was expected, in TOML's words; none when the error is not about a value.
fn expected(message: &str) -> Option<String> {
    let about_value = ["invalid type: ", "invalid value: ", "invalid length "];
    about_value
        .iter()
        .find(|start| message.starts_with(**start))?;
    let (_, expected) = message.rsplit_once(", expected ")?;
    let expected = match expected {
        "i64" | "u64" | "u32" | "u16" | "usize" => "a whole number",
        "a boolean" => "true or false",
        "a sequence" => "an array",
        "a map" => "a table",
        other if other.starts_with("struct ") => "a table",
        other => other,
    };
    Some(format!("expected {expected}"))
}
