//! `tidegate top`: the nodes of a running gateway, the order in which they are asked, and why.

mod look;
mod table;
mod screen;

use std::io::{IsTerminal, Write};

use super::Exit;
use super::arguments::TopCommand;
use crate::config::Environment;
use look::Gateway;
use tidegate_model::ConfigError;

/// The default of `ADMIN_ADDR`.
const ADMIN_DEFAULT: &str = "127.0.0.1:9090";

const NO_TERMINAL: &str = "standard output is no terminal: `--once` prints one table";

/// Prints one look, or shows them on the terminal until somebody has seen enough.
pub(super) async fn top(command: TopCommand, environment: &Environment) -> Result<(), Exit> {
    let flag = command.admin.as_deref().map(|admin| ("--admin", admin));
    let variable = || Some(("ADMIN_ADDR", environment.get("ADMIN_ADDR")?));
    let given = flag.or_else(variable);
    let (name, admin) = given.unwrap_or(("ADMIN_ADDR", ADMIN_DEFAULT));
    let gateway = Gateway::at(admin).map_err(|why| ConfigError::variable(name, admin, why))?;
    if !command.once {
        if !std::io::stdout().is_terminal() {
            return Err(Exit::unusable(NO_TERMINAL));
        }
        return screen::show(&gateway, command.interval)
            .await
            .map_err(Exit::failed);
    }
    let look = gateway.look().await.map_err(Exit::failed)?;
    let text = table::text(&look, None);
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(Exit::failed)
}
