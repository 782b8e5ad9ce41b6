//! The command line: one file per subcommand.

mod arguments;
mod check;
mod demo;
mod edge_policy;
mod exit;
mod explain;
mod fleet;
mod init;
mod migrate;
mod policy;
mod primary;
mod serve;
mod storage;
mod token;
mod top;
mod url_warning;
mod values;

pub use arguments::Cli;
pub use exit::Exit;

use arguments::Command;
use tidegate_model::Environment;

/// Runs one command line.
///
/// # Errors
/// [`Exit`] contains the exit code and the line for standard error.
pub async fn run(cli: Cli, environment: Environment) -> Result<(), Exit> {
    match cli.command {
        Command::Serve(flags) => serve::serve(flags, environment).await,
        Command::Token(command) => token::token(command, &environment),
        Command::Demo(command) => demo::demo(command).await,
        Command::Top(command) => top::top(command, &environment).await,

        Command::Check(command) => check::check(command, &environment).await,
        Command::Explain(command) => explain::explain(command, &environment),
        Command::Policy { command } => policy::policy(command, &environment).await,
        Command::Fleet { command } => fleet::fleet(&command),
        Command::Storage { command } => storage::storage(command, &environment).await,
        Command::Init(command) => init::init(command, &environment).await,
        Command::Migrate(command) => migrate::migrate(command, &environment).await,
    }
}
