//! `tidegate storage drain`, `restores`, `bucket import` and `repository change`: bytes that move, or stay
//! where they were.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::arguments::{ChangeRepository, DrainBucket, ImportBucket, OutputArguments};
use super::console::Console;
use crate::gateway::cli::Exit;
use crate::storage::{
    Import, Remaining, RepositoryRow, begin_drain, failed_restores, forget_copies,
    import as import_objects, remaining,
};
use tidegate_model::Environment;

/// How often a drain is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Has the gateways move all copies off a bucket, and waits for them.
pub(super) async fn drain(drain: &DrainBucket, environment: &Environment) -> Result<(), Exit> {
    let session = Console::open(&drain.named.output, environment).await?;
    let registry = session.registry();
    let name = &drain.named.name;
    begin_drain(&registry, name).await?;
    let mut before = remaining(&registry, name).await?;
    let mut moved_at = Instant::now();
    while !before.is_empty() {
        if moved_at.elapsed() > drain.patience {
            return Err(blocked(&session, name, &before));
        }
        sleep(LOOK_INTERVAL).await;
        if drain.forget {
            forget_copies(&registry, name).await?;
        }
        let now = remaining(&registry, name).await?;
        // What was moved stays for a while, in which there is nothing to do.
        let is_waiting = now.left == 0 && now.deleting_in_seconds > 0 && now.refused == 0;
        if now.is_less_than(&before) || is_waiting {
            moved_at = Instant::now();
        }
        before = now;
    }
    session.print(
        &json!({"success": true}),
        &format!("{name} has no copies any more"),
    )
}

/// Says what keeps a bucket from being empty.
fn blocked(session: &Console, name: &str, left: &Remaining) -> Exit {
    let mut why: Vec<_> = left
        .blocked
        .iter()
        .map(|it| format!("{} of {}: {}", it.count, it.key, it.error))
        .collect();
    if left.left > 0 && why.is_empty() {
        why.push("no gateway moves them: does one with STORAGE_ADDR run?".to_owned());
    }
    if left.refused > 0 {
        why.push(format!("the bucket does not delete {}", left.refused));
    }
    if left.reserved > 0 {
        why.push(format!("{} writes have not ended", left.reserved));
    }
    Exit {
        report: match session.json {
            true => format!("{}\n", json!({"success": false, "left": left})),
            false => String::new(),
        },
        ..Exit::failed(format_args!(
            "{name}: {} copies left, {} to be deleted; {}",
            left.left,
            left.deleting,
            why.join("; ")
        ))
    }
}

/// Prints what could not be restored.
pub(super) async fn restores(
    output: &OutputArguments,
    environment: &Environment,
) -> Result<(), Exit> {
    let session = Console::open(output, environment).await?;
    let failed = failed_restores(&session.registry()).await?;
    let lines: Vec<_> = failed
        .iter()
        .map(|it| {
            // Clients choose keys.
            let key = it.key.escape_debug();
            format!("{}  {}/{key}  {}", it.at, it.repository, it.error)
        })
        .collect();
    session.print(&json!(failed), &lines.join("\n"))
}

/// Gives a repository other members, or another mirror.
pub(super) async fn change(
    change: ChangeRepository,
    environment: &Environment,
) -> Result<(), Exit> {
    let session = Console::open(&change.named.output, environment).await?;
    let registry = session.registry();
    let given = |row: &mut RepositoryRow| {
        if !change.members.is_empty() {
            row.members.clone_from(&change.members);
        }
        if change.no_mirror || change.mirror.is_some() {
            row.policy.mirror.clone_from(&change.mirror);
        }
    };
    registry
        .change_repository(&change.named.name, given)
        .await?;
    session.done(&change.named, "is changed")
}

/// Makes the objects of a bucket those of a repository.
pub(super) async fn import(given: ImportBucket, environment: &Environment) -> Result<(), Exit> {
    let session = Console::open(&given.named.output, environment).await?;
    let registry = session.registry();
    let import = Import {
        bucket: registry.bucket(&given.named.name).await?,
        repository: registry.repository(&given.repository).await?,
        prefix: given.prefix,
        adopt: given.adopt,
        accept_gone: given.accept_gone,
        sweep_after: session.settings.sweep_after,
    };
    let done = import_objects(&registry, &import, &session.settings.file_root).await?;
    let mut text = format!(
        "added {}, reattached {}, changed {}, unchanged {}, kept {}, gone {}, skipped {}, unusable {}",
        done.added,
        done.reattached,
        done.changed,
        done.unchanged,
        done.kept,
        done.gone,
        done.skipped,
        done.unusable
    );
    for key in &done.unusable_keys {
        // What a provider lists is not for the terminal to obey.
        text += &format!("\nnot imported: \"{}\"", key.escape_debug());
    }
    session.print(&json!(done), &text)
}
