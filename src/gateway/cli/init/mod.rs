//! `tidegate init`: a commented configuration for a database, made from its catalogue. It changes nothing.

mod catalogue;
mod configuration;
#[cfg(test)]
mod tests;

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::time::Duration;

use super::Exit;
use super::arguments::InitCommand;
use super::primary::Primary;
use crate::endpoint::RouteTables;
use crate::endpoint::{Routes, check_statements};
use crate::postgres::{Session, connect};
use catalogue::Catalogue;
use configuration::configuration;
use tidegate_model::ConfigError;
use tidegate_model::Environment;

/// Time to reach the primary, and time for each query to it.
const DEADLINE: Duration = Duration::from_secs(10);

/// Reads the catalogue and writes a configuration that `serve` can start with.
pub(super) async fn init(command: InitCommand, environment: &Environment) -> Result<(), Exit> {
    let primary = Primary::given(command.database_url.as_deref(), environment)?;
    let out = command.out.as_deref();
    if let Some(path) = out.filter(|path| std::path::Path::new(path).exists()) {
        return Err(exists_already(path));
    }
    let text = text_for(&primary).await?;
    let Some(path) = out else {
        return std::io::stdout()
            .write_all(text.as_bytes())
            .map_err(Exit::failed);
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => exists_already(path),
            _ => ConfigError::variable("--out", path, error).into(),
        })?;
    file.write_all(text.as_bytes()).map_err(Exit::failed)
}

fn exists_already(path: &str) -> Exit {
    ConfigError::variable("--out", path, "it exists already and is left as it is").into()
}

/// The configuration, as `check` and `serve` accept it.
async fn text_for(primary: &Primary<'_>) -> Result<String, Exit> {
    let server = &primary.server;
    let failed = |error: &dyn std::fmt::Display| Exit::failed(format_args!("{server}: {error}"));
    let session = Session {
        application_name: "tidegate/init".to_owned(),
        statement_timeout: DEADLINE,
    };
    let connection = connect(server, &session, DEADLINE).await;
    let connection = connection.map_err(|error| failed(&error))?;
    let found = Catalogue::read(&connection.client).await;
    let found = found.map_err(|error| failed(&error))?;
    if found.is_replica {
        return Err(primary.refused("this server is a replica; name the primary"));
    }
    let text = configuration(&server.to_string(), &found);
    let routes = Routes::compile(&RouteTables::of_text("init", &text)?)?;
    check_statements(&routes, &connection.client).await?;
    Ok(text)
}
