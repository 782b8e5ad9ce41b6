//! OpenTelemetry's environment variables. They are set for whole fleets, so what cannot be used is a warning
//! that names the variable, and its default applies.

use std::fmt::Display;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use tidegate_model::Environment;

/// Most entries of a list, such as headers.
const ENTRIES_MAX: usize = 64;

/// Reads variables, and collects what is wrong with them.
pub(super) struct Variables<'a> {
    pub(super) environment: &'a Environment,
    pub(super) warnings: Vec<String>,
}

impl Variables<'_> {
    /// The value of the first of these variables that is set, with its name.
    pub(super) fn first(&self, names: &[&'static str]) -> Option<(&'static str, &str)> {
        let set = |name: &&'static str| Some((*name, self.environment.get(name)?));
        names.iter().find_map(set)
    }

    /// What the first of these variables that is set says, or the default.
    pub(super) fn read<T: Display>(
        &mut self,
        names: &[&'static str],
        default: T,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> T {
        let Some((name, text)) = self.first(names) else {
            return default;
        };
        match parse(text) {
            Some(value) => value,
            None => {
                self.warn(name, format_args!("{default} applies"));
                default
            }
        }
    }

    /// A whole number within a range.
    pub(super) fn number(&mut self, name: &'static str, default: u32, max: u32) -> u32 {
        let parse = |text: &str| text.parse().ok().filter(|it| (1..=max).contains(it));
        self.read(&[name], default, parse)
    }

    /// A time in milliseconds.
    pub(super) fn millis(&mut self, names: &[&'static str], default: u32, max: u32) -> Duration {
        let parse = |text: &str| text.parse().ok().filter(|it| (1..=max).contains(it));
        Duration::from_millis(self.read(names, default, parse).into())
    }

    /// Says that a variable cannot be used; its value may be a secret.
    pub(super) fn warn(&mut self, name: &str, what_applies: impl Display) {
        self.warnings.push(format!(
            "{name} has a value that is not supported: {what_applies}"
        ));
    }

    /// `key=value,…`, with percent-encoded values; what is malformed is left out.
    pub(super) fn list(&mut self, names: &[&'static str]) -> Vec<(String, String)> {
        let Some((name, text)) = self.first(names) else {
            return Vec::new();
        };
        let entry = |entry: &str| {
            let (key, value) = entry.split_once('=')?;
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            Some((key.trim().to_owned(), value.into_owned()))
        };
        let entries: Vec<_> = text.split(',').filter(|it| !it.trim().is_empty()).collect();
        let read: Vec<_> = entries
            .iter()
            .take(ENTRIES_MAX)
            .filter_map(|it| entry(it))
            .collect();
        if read.len() < entries.len() {
            self.warn(
                name,
                "what is not `key=value`, and all after the first 64, is left out",
            );
        }
        read
    }

    /// The fields to send to the collector, which may be secrets.
    pub(super) fn headers(&mut self, names: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut is_whole = true;
        for (name, value) in self.list(names) {
            let name = HeaderName::try_from(name);
            match (name, HeaderValue::try_from(value)) {
                (Ok(name), Ok(mut value)) => {
                    value.set_sensitive(true);
                    headers.insert(name, value);
                }
                _ => is_whole = false,
            }
        }
        if !is_whole && let Some((name, _)) = self.first(names) {
            self.warn(name, "what is not a header is left out");
        }
        headers
    }
}
