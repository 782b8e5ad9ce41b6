//! The one file that reads the environment of the process.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use crate::read_file;

/// Where systemd puts the files of `LoadCredential=`.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// No secret is longer, in bytes.
const CREDENTIAL_BYTES_MAX: u64 = 64 * 1024;

/// A snapshot of environment variables. An empty variable counts as absent.
#[derive(Clone, Default)]
pub struct Environment(HashMap<String, String>);

impl Environment {
    /// Takes the variables of this process and, for those that are not set, the credentials of its
    /// service: the files in `CREDENTIALS_DIRECTORY` that are named like a variable. Values that are not
    /// UTF-8 are left out.
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the one file that may read them"
    )]
    #[must_use]
    pub fn of_process() -> Self {
        let utf8 = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let mut variables = Self(std::env::vars_os().filter_map(utf8).collect());
        if let Some(directory) = variables.get(CREDENTIALS_DIRECTORY) {
            for (name, value) in credentials(directory.as_ref()) {
                if variables.get(&name).is_none() {
                    variables.0.insert(name, value);
                }
            }
        }
        variables
    }

    /// Builds an environment from pairs.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }

    /// Whether a variable is set to nothing.
    #[must_use]
    pub fn is_empty(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(String::is_empty)
    }

    /// The value of a variable, if it is set and not empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The variables whose names begin so, and their values, empty ones too.
    pub fn starting_with(&self, prefix: &str) -> impl Iterator<Item = (&str, &str)> {
        let all = self.0.iter();
        let all = all.filter(move |(name, _)| name.starts_with(prefix));
        all.map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Reads the files that are named like a variable, without the line feed at their end.
fn credentials(directory: &Path) -> Vec<(String, String)> {
    let files = fs::read_dir(directory).into_iter().flatten().flatten();
    let credential = |file: fs::DirEntry| {
        let name = file.file_name().into_string().ok()?;
        let is_variable = |it: char| it.is_ascii_uppercase() || it.is_ascii_digit() || it == '_';
        if !name.chars().all(is_variable) {
            return None;
        }
        let value = read_file(file.path(), CREDENTIAL_BYTES_MAX).ok()?;
        let value = String::from_utf8(value).ok()?;
        let value = value.strip_suffix('\n').unwrap_or(&value);
        Some((name, value.to_owned()))
    };
    files.filter_map(credential).collect()
}
