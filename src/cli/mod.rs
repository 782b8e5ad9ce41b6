//! The command line: one file per subcommand.

mod arguments;
mod check;
mod demo;
mod edge_policy;
mod exit;
mod explain;
mod migrate;
mod policy;
mod serve;
mod token;
mod top;

pub use arguments::Cli;
pub use exit::Exit;

use std::io::Write;

use crate::config::Environment;
use crate::postgres::Server;
use arguments::Command;

/// Runs one command line.
///
/// # Errors
/// [`Exit`] says with which code and which line on standard error the process ends.
pub async fn run(cli: Cli, environment: Environment) -> Result<(), Exit> {
    match cli.command {
        Command::Serve(flags) => serve::serve(flags.into(), environment).await,
        Command::Token(command) => token::token(command, &environment),
        Command::Demo(command) => demo::demo(command).await,
        Command::Top(command) => top::top(command, &environment).await,

        Command::Check(command) => check::check(command, &environment),
        Command::Explain(command) => explain::explain(command, &environment),
        Command::Policy { command } => policy::policy(command),
        Command::Migrate(command) => migrate::migrate(command, &environment).await,
    }
}

/// Says on standard error what in the URL of a server has no effect; `serve` logs it.
fn warn_of_url(server: &Server) {
    for warning in server.warnings() {
        let _unwritable = writeln!(std::io::stderr(), "tidegate: warning: {server}: {warning}");
    }
}
