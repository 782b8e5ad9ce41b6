//! The primary of commands that need nothing else.

use super::Exit;
use crate::postgres::Server;
use tidegate_model::ConfigError;
use tidegate_model::Environment;

/// The primary given by the flag, else by the variable.
pub(super) struct Primary<'a> {
    /// How to reach it.
    pub(super) server: Server,
    /// Its URL, as given.
    pub(super) url: &'a str,
    /// The flag or the variable.
    name: &'static str,
}

impl<'a> Primary<'a> {
    /// Reads the URL as `serve` does, so that both refuse the same ones.
    pub(super) fn given(flag: Option<&'a str>, environment: &'a Environment) -> Result<Self, Exit> {
        let setting = Server::PRIMARY;
        let variable = || {
            setting
                .variable
                .and_then(|name| Some((name, environment.get(name)?)))
        };
        let given = setting.flag.zip(flag).or_else(variable);
        let (name, url) = given
            .ok_or_else(|| Exit::unusable("DATABASE_URL: is required: the URL of the primary"))?;
        let server = url.parse();
        let server = server.map_err(|why| ConfigError::variable(name, url, why))?;
        Ok(Self { server, url, name })
    }

    /// The error that refuses the URL.
    pub(super) fn refused(&self, why: impl std::fmt::Display) -> Exit {
        ConfigError::variable(self.name, self.url, why).into()
    }
}
