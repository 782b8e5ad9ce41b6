//! `tidegate storage key`: what clients sign requests with.

use serde_json::json;

use super::arguments::KeyCommand;
use super::console::Console;
use crate::gateway::cli::Exit;
use crate::storage::{ListedKey, NewKey};
use tidegate_model::Environment;

/// Runs one of the subcommands.
pub(super) async fn key(command: KeyCommand, environment: &Environment) -> Result<(), Exit> {
    match command {
        KeyCommand::Add {
            repository,
            mode,
            output,
        } => {
            let session = Console::open(&output, environment).await?;
            let key = session.keys().add(&repository, mode).await?;
            session.print(&json!(key), &text_of(&key))
        }
        KeyCommand::List(named) => {
            let session = Console::open(&named.output, environment).await?;
            let keys = session.keys().of(&named.name).await?;
            let line = |key: &ListedKey| {
                let rotating = if key.rotating { "  two secrets" } else { "" };
                let broken = key.error.as_ref();
                let broken = broken.map_or(String::new(), |why| format!("  cannot be used: {why}"));
                format!("{}  {}  {}{rotating}{broken}", key.id, key.key_id, key.mode)
            };
            let lines: Vec<_> = keys.iter().map(line).collect();
            session.print(&json!(keys), &lines.join("\n"))
        }
        KeyCommand::Rotate {
            named,
            finish: false,
            cancel: false,
        } => {
            let session = Console::open(&named.output, environment).await?;
            let key = session.keys().rotate(&named.name).await?;
            session.print(&json!(key), &text_of(&key))
        }
        KeyCommand::Rotate { named, cancel, .. } => {
            let session = Console::open(&named.output, environment).await?;
            match cancel {
                true => session.keys().cancel(&named.name).await?,
                false => session.keys().finish(&named.name).await?,
            }
            session.done(&named, "has one secret")
        }
        KeyCommand::Remove(named) => {
            let session = Console::open(&named.output, environment).await?;
            session.keys().remove(&named.name).await?;
            session.done(&named, "removed")
        }
    }
}

fn text_of(key: &NewKey) -> String {
    format!(
        "id {}\nkey id {}\nsecret {}",
        key.id, key.key_id, key.secret
    )
}
