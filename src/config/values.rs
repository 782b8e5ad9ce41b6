//! Values of a TOML file: what they mean, and where they stand when they cannot be used.

use std::sync::Arc;

use toml::Spanned;

use super::Environment;
use super::source::FileText;
use tidegate_model::{ConfigError, Place};

impl FileText {
    /// Where a value stands in the file.
    pub(super) fn place_of<T>(&self, value: &Spanned<T>) -> Place {
        self.place(value.span().start, Arc::default())
    }

    /// Where a table stands that begins with a value, and where some of its keys do.
    pub(super) fn table<T>(
        &self,
        first: &Spanned<T>,
        keys: &[(&'static str, Option<usize>)],
    ) -> Place {
        let keys = keys.iter();
        let keys = keys.filter_map(|(key, at)| Some((*key, self.line((*at)?))));
        self.table_with_lines(first, &keys.collect::<Vec<_>>())
    }

    /// The same with the lines of the keys.
    pub(super) fn table_with_lines<T>(
        &self,
        first: &Spanned<T>,
        lines: &[(&'static str, usize)],
    ) -> Place {
        self.place(first.span().start, lines.into())
    }

    /// Refuses a value.
    pub(super) fn refused<T>(
        &self,
        value: &Spanned<T>,
        key: &str,
        why: impl std::fmt::Display,
    ) -> ConfigError {
        let written = self.written(value.span());
        ConfigError::refused(&self.place_of(value), key, written, why)
    }

    /// Parses a value, naming file, line and key when it does not parse.
    pub(super) fn parsed<T, V, E: std::fmt::Display>(
        &self,
        value: &Spanned<T>,
        key: &str,
        parse: impl FnOnce(&T) -> Result<V, E>,
    ) -> Result<V, ConfigError> {
        parse(value.get_ref()).map_err(|why| self.refused(value, key, why))
    }

    /// Replaces every `${NAME}` in a value by the variable; a missing one is an error.
    pub(super) fn expanded(
        &self,
        value: &Spanned<String>,
        key: &str,
        environment: &Environment,
    ) -> Result<String, ConfigError> {
        expand(value.get_ref(), environment).map_err(|why| self.refused(value, key, why))
    }
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
