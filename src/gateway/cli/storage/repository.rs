//! `tidegate storage repository`: what clients see as a bucket.

use serde_json::json;

use super::arguments::{AddRepository, RepositoryCommand};
use super::console::Console;
use super::moving::change;
use crate::gateway::cli::Exit;
use crate::storage::{RepositoryPolicy, RepositoryRow, repository_as_json};
use tidegate_model::Environment;

/// Runs one of the subcommands.
pub(super) async fn repository(
    command: RepositoryCommand,
    environment: &Environment,
) -> Result<(), Exit> {
    match command {
        RepositoryCommand::Add(add) => add_repository(*add, environment).await,
        RepositoryCommand::Change(given) => change(given, environment).await,
        RepositoryCommand::List(output) => {
            let session = Console::open(&output, environment).await?;
            let all = session.registry().repositories().await?;
            let line = |row: &RepositoryRow| {
                let members = row.members.join(",");
                match &row.broken {
                    Some(why) => format!("{}  cannot be used: {why}", row.name),
                    None => format!(
                        "{}  write {}  members {members}",
                        row.name, row.policy.write
                    ),
                }
            };
            let lines: Vec<_> = all.iter().map(line).collect();
            let all: Vec<_> = all.iter().map(repository_as_json).collect();
            session.print(&json!(all), &lines.join("\n"))
        }
        RepositoryCommand::Remove(named) => {
            let session = Console::open(&named.output, environment).await?;
            session.registry().remove_repository(&named.name).await?;
            session.done(&named, "removed")
        }
    }
}

async fn add_repository(add: AddRepository, environment: &Environment) -> Result<(), Exit> {
    let session = Console::open(&add.output, environment).await?;
    let policy = RepositoryPolicy {
        write: add.write,
        read: add.read,
        consistency: add.consistency,
        redirect: add.redirect,
        read_slo_ms: add.read_slo,
        mirror: add.mirror,
        rules: add.rules.map(|rules| rules.0).unwrap_or_default(),
    };
    let registry = session.registry();
    let id = registry
        .add_repository(&add.name, &add.members, &policy)
        .await?;
    session.print(&json!({"id": id, "name": add.name}), &id)
}
