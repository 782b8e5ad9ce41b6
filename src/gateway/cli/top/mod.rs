//! `tidegate top`: the nodes of a running gateway, the order in which they are tried, and why.

mod look;
mod table;
mod arrangement;
mod screen;

use std::io::{IsTerminal, Write};

use super::Exit;
use super::arguments::TopCommand;
use http::HeaderValue;
use look::Gateway;
use tidegate_model::Environment;
use tidegate_model::{ConfigError, Place};

/// The default of `ADMIN_ADDR`.
const ADMIN_DEFAULT: &str = "127.0.0.1:9090";

const NO_TERMINAL: &str = "standard output is no terminal: `--once` prints one table";

/// Prints the state once, or shows it on the terminal until the user quits.
pub(super) async fn top(command: TopCommand, environment: &Environment) -> Result<(), Exit> {
    let flag = command.admin.as_deref().map(|admin| ("--admin", admin));
    let variable = || Some(("ADMIN_ADDR", environment.get("ADMIN_ADDR")?));
    let given = flag.or_else(variable);
    let (name, admin) = given.unwrap_or(("ADMIN_ADDR", ADMIN_DEFAULT));
    let token = token(&command, environment)?;
    let gateway =
        Gateway::at(admin, token).map_err(|why| ConfigError::variable(name, admin, why))?;
    if !command.once {
        if !std::io::stdout().is_terminal() {
            return Err(Exit::unusable(NO_TERMINAL));
        }
        return screen::show(&gateway, command.interval)
            .await
            .map_err(Exit::failed);
    }
    let before = gateway.look().await.map_err(Exit::failed)?;
    tokio::time::sleep(command.interval).await;
    let look = gateway.look().await.map_err(Exit::failed)?;
    let text = table::text(&look, Some(&before));
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(Exit::failed)
}

/// The `Authorization` of every request, if there is a token.
fn token(command: &TopCommand, environment: &Environment) -> Result<Option<HeaderValue>, Exit> {
    let flag = command.token.as_deref().map(|token| ("--token", token));
    let variable = || Some(("ADMIN_TOKEN", environment.get("ADMIN_TOKEN")?));
    let Some((name, token)) = flag.or_else(variable) else {
        return Ok(None);
    };
    let why = "must be visible ASCII characters without spaces";
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ConfigError::new(&Place::Name(name), why).into());
    }
    let value = HeaderValue::try_from(format!("Bearer {token}"));
    let mut value = value.map_err(|_other| ConfigError::new(&Place::Name(name), why))?;
    value.set_sensitive(true);
    Ok(Some(value))
}
