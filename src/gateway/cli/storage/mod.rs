//! `tidegate storage`: buckets, repositories and keys, as rows of the primary.

mod arguments;
mod bucket;
mod console;
mod credentials;
mod key;
mod moving;
mod repository;

pub(super) use arguments::StorageCommand;

use serde_json::json;

use self::bucket::bucket;
use self::console::Console;
use self::key::key;
use self::repository::repository;
use super::Exit;
use crate::storage::{rewrap, sweep_once};
use tidegate_model::Environment;

/// Runs one of the subcommands.
pub(super) async fn storage(
    command: StorageCommand,
    environment: &Environment,
) -> Result<(), Exit> {
    match command {
        StorageCommand::Bucket { command } => bucket(command, environment).await,
        StorageCommand::Repository { command } => repository(command, environment).await,
        StorageCommand::Key { command } => key(command, environment).await,
        StorageCommand::Drain(drain) => moving::drain(&drain, environment).await,
        StorageCommand::Restores(output) => moving::restores(&output, environment).await,
        StorageCommand::Sweep(output) => {
            let session = Console::open(&output, environment).await?;
            let swept = sweep_once(&session.registry(), &session.settings.file_root).await?;
            let text = format!("deleted {}, failed {}", swept.deleted, swept.failed);
            session.print(&json!(swept), &text)
        }
        StorageCommand::Rewrap(output) => {
            let session = Console::open(&output, environment).await?;
            let done = rewrap(&session.registry()).await?;
            let text = format!("sealed {} anew", done.rewrapped);
            session.print(&json!(done), &text)?;
            match done.failed.is_empty() {
                true => Ok(()),
                false => Err(Exit::failed(format_args!(
                    "none of the master keys opens {}",
                    done.failed.join(", ")
                ))),
            }
        }
    }
}
