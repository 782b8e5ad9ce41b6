//! The text of a TOML file: the positions of its values, and its errors with file, line and key.

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::DeTable;

use tidegate_model::Environment;
use tidegate_model::{ConfigError, Place};

/// A file's name and text, to turn byte offsets into lines.
pub(super) struct Source {
    pub(super) name: Arc<str>,
    pub(super) text: String,
}

impl Source {
    fn line(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    fn at(&self, offset: usize, keys: Arc<[(&'static str, usize)]>) -> Place {
        Place::Line {
            file: Arc::clone(&self.name),
            line: self.line(offset),
            keys,
        }
    }

    /// The text at a position.
    fn written(&self, span: Range<usize>) -> &str {
        self.text.get(span).unwrap_or_default()
    }

    /// The position of the value of a section's key.
    fn find(&self, section: &str, key: &str) -> Option<Range<usize>> {
        let file = DeTable::parse(&self.text).ok()?;
        let section = file.get_ref().get(section)?.get_ref();
        Some(section.get(key)?.span())
    }

    /// The lines of these keys' values in the table at an index of an array, as far as they are
    /// set.
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

    /// The place of a value in the file.
    pub(super) fn place<T>(&self, value: &Spanned<T>) -> Place {
        self.at(value.span().start, Arc::default())
    }

    /// The place of a table that begins with a value, and of some of its keys.
    pub(super) fn table<T>(
        &self,
        first: &Spanned<T>,
        keys: &[(&'static str, Option<usize>)],
    ) -> Place {
        let keys = keys.iter();
        let keys = keys.filter_map(|(key, at)| Some((*key, self.line((*at)?))));
        self.table_with_lines(first, &keys.collect::<Vec<_>>())
    }

    /// The same, given the lines of the keys.
    pub(super) fn table_with_lines<T>(
        &self,
        first: &Spanned<T>,
        lines: &[(&'static str, usize)],
    ) -> Place {
        self.at(first.span().start, lines.into())
    }

    /// The place of the value of a section's key, if the file sets it.
    pub(super) fn place_in(&self, section: &str, key: &str) -> Option<Place> {
        let span = self.find(section, key)?;
        Some(self.at(span.start, Arc::default()))
    }

    /// Refuses a value.
    pub(super) fn refused<T>(
        &self,
        value: &Spanned<T>,
        key: &str,
        why: impl std::fmt::Display,
    ) -> ConfigError {
        let written = self.written(value.span());
        ConfigError::refused(&self.place(value), key, written, why)
    }

    /// Refuses a value that has been merged with defaults: names the first of these keys of a
    /// section that the file sets.
    pub(super) fn refused_in<'a>(
        &self,
        section: &str,
        mut keys: impl Iterator<Item = (&'a str, String)>,
    ) -> Option<ConfigError> {
        keys.find_map(|(key, why)| {
            let span = self.find(section, key)?;
            let place = self.at(span.start, Arc::default());
            let written = self.written(span);
            Some(ConfigError::refused(
                &place,
                &format!("{section}.{key}"),
                written,
                why,
            ))
        })
    }

    /// Parses a value; the error names file, line and key.
    pub(super) fn parsed<T, V, E: std::fmt::Display>(
        &self,
        value: &Spanned<T>,
        key: &str,
        parse: impl FnOnce(&T) -> Result<V, E>,
    ) -> Result<V, ConfigError> {
        parse(value.get_ref()).map_err(|why| self.refused(value, key, why))
    }

    /// Replaces every `${NAME}` in a value with the variable; a missing one is an error.
    pub(super) fn expanded(
        &self,
        value: &Spanned<String>,
        key: &str,
        environment: &Environment,
    ) -> Result<String, ConfigError> {
        expand(value.get_ref(), environment).map_err(|why| self.refused(value, key, why))
    }

    /// Turns the parser's error into one line with file, line, key and value, as far as they are
    /// known.
    pub(super) fn explain(&self, error: &toml::de::Error) -> ConfigError {
        let message = error.message();
        let Some(span) = error.span() else {
            return ConfigError::new(&Place::File(Arc::clone(&self.name)), message);
        };
        let place = self.at(span.start, Arc::default());
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

    /// The key whose value, or an element of it, begins at this offset.
    fn key_of(&self, offset: usize) -> Option<&str> {
        let (before, _) = self.text[..offset].rsplit_once('=')?;
        let before = before.trim_end();
        let start = before.rfind(|c: char| !c.is_ascii() || !is_key(c.encode_utf8(&mut [0; 4])));
        let (lead, key) = before.split_at(start.map_or(0, |at| at + 1));
        let follows = lead.is_empty() || lead.ends_with(['\n', ' ', '\t', '{', ',']);
        (follows && is_key(key)).then_some(key)
    }
}

/// Whether a text is an ordinary TOML key; anything else may be a password.
fn is_key(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// The value that serde expected, in TOML's terms; `None` if the error is not about a value.
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

/// The start of the value of a key that may be absent.
pub(super) fn key<T>(
    key: &'static str,
    value: &Option<Spanned<T>>,
) -> (&'static str, Option<usize>) {
    (key, value.as_ref().map(|value| value.span().start))
}

fn expand(text: &str, environment: &Environment) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, from) = rest.split_at(start);
        let end = from.find('}').ok_or("`${` without `}`")?;
        let name = &from[2..end];
        let value = environment
            .get(name)
            .ok_or(format!("the variable {name} is not set"))?;
        expanded.push_str(before);
        expanded.push_str(value);
        rest = &from[end + 1..];
    }
    expanded.push_str(rest);
    Ok(expanded)
}
