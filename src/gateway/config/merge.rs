//! Flags over variables over the file, for one setting at a time.

use std::fmt::Display;
use std::str::FromStr;

use toml::Spanned;

use super::Overrides;
use super::file::ConfigFile;
use tidegate_model::Environment;
use tidegate_model::settings::Setting;
use tidegate_model::{ConfigError, Place};

/// Everything that can set a setting.
pub(super) struct Merge<'a> {
    pub(super) overrides: &'a Overrides,
    pub(super) environment: &'a Environment,
    pub(super) file: &'a ConfigFile,
}

/// The source of a setting's value: the flag, else the variable, else the file.
pub(super) enum Given<'a> {
    /// A flag or a variable, by name.
    Named(&'static str, &'a str),
    /// A key of the file, and its value.
    InFile(&'static str, &'a Spanned<String>),
}

impl<'a> Merge<'a> {
    /// The source of a setting, if it is set.
    pub(super) fn given(&self, setting: &Setting) -> Option<Given<'a>> {
        let variable = || {
            let name = setting.variable?;
            Some((name, self.environment.get(name)?))
        };
        let named = self.overrides.get(setting).or_else(variable);
        let named = named.map(|(name, text)| Given::Named(name, text));
        let in_file = || self.file.content.value(setting);
        let in_file = || in_file().map(|(key, value)| Given::InFile(key, value));
        named.or_else(in_file)
    }

    /// The value of a setting, if it is set.
    pub(super) fn value<T: FromStr<Err: Display>>(
        &self,
        setting: &Setting,
    ) -> Result<Option<T>, ConfigError> {
        self.value_by(setting, str::parse)
    }

    /// The value of a setting as `parse` reads it, if it is set.
    pub(super) fn value_by<T, E: Display>(
        &self,
        setting: &Setting,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, ConfigError> {
        let parsed = self.given(setting).map(|given| match given {
            Given::Named(name, text) => {
                parse(text).map_err(|why| ConfigError::variable(name, text, why))
            }
            Given::InFile(key, value) => {
                let text = self.file.source.expanded(value, key, self.environment)?;
                self.file.source.parsed(value, key, |_| parse(&text))
            }
        });
        parsed.transpose()
    }

    /// A value of the file, with its `${NAME}`s replaced.
    pub(super) fn file_value<T: FromStr<Err: Display>>(
        &self,
        value: &Spanned<String>,
        key: &str,
    ) -> Result<T, ConfigError> {
        let text = self.file.source.expanded(value, key, self.environment)?;
        self.file.source.parsed(value, key, |_| text.parse())
    }

    /// The value of a setting as it may be shown, and where it was set, if it is.
    pub(super) fn shown(&self, setting: &Setting) -> Result<Option<(String, Place)>, ConfigError> {
        let shown = self.given(setting).map(|given| match given {
            Given::Named(name, text) => Ok(((setting.shown)(text), Place::Name(name))),
            Given::InFile(key, value) => {
                let text = self.file.source.expanded(value, key, self.environment)?;
                Ok(((setting.shown)(&text), self.file.source.place(value)))
            }
        });
        shown.transpose()
    }
}
