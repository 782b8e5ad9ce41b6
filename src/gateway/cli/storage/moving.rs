//! `tidegate storage drain`, `restores`, `bucket import` and `repository change`: bytes that move, or stay
//! where they were.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::arguments::{ChangeRepository, DrainBucket, ImportBucket, OutputArguments};
use super::console::Console;
use crate::gateway::cli::Exit;
use crate::storage::{
    BucketRow, Import, NotMoved, Remaining, RepositoryRow, begin_drain, failed_restores,
    forget_copies, import as import_objects, not_moved, remaining,
};
use tidegate_model::Environment;

/// How often a drain is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Has the gateways move all copies off a bucket, and waits for them.
pub(super) async fn drain(drain: &DrainBucket, environment: &Environment) -> Result<(), Exit> {
    let session = Console::open(&drain.named.output, environment).await?;
    let registry = session.registry();
    let bucket = registry.bucket(&drain.named.name).await?;
    begin_drain(&registry, &bucket).await?;
    let mut before = remaining(&registry, &bucket).await?;
    let mut moved_at = Instant::now();
    while !before.is_empty() {
        if moved_at.elapsed() > drain.patience {
            let objects = not_moved(&registry, &bucket).await?;
            return Err(blocked(&session, &bucket, &before, &objects));
        }
        sleep(LOOK_INTERVAL).await;
        if drain.forget {
            forget_copies(&registry, &bucket).await?;
        }
        let now = remaining(&registry, &bucket).await?;
        // What was moved stays for a while, in which there is nothing to do.
        let is_waiting = now.left == 0 && now.deleting_in_seconds > 0 && now.refused == 0;
        if now.is_less_than(&before) || is_waiting {
            moved_at = Instant::now();
        }
        before = now;
    }
    session.print(
        &json!({"success": true}),
        &format!("{} has no copies any more", bucket.declared.name),
    )
}

/// Says what keeps a bucket from being empty.
fn blocked(session: &Console, bucket: &BucketRow, left: &Remaining, objects: &[NotMoved]) -> Exit {
    // Clients choose keys.
    let of_each = left.blocked.iter();
    let of_each = of_each.map(|it| {
        let key = it.key.escape_debug();
        format!("{} of {key}: {}", it.count, it.error)
    });
    let mut why: Vec<_> = of_each.collect();
    let lines = objects.iter().map(|it| {
        let key = it.key.escape_debug();
        format!("not moved: {}/{key}\n", it.repository)
    });
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
            true => {
                let said = json!({"success": false, "left": left, "objects": objects});
                format!("{said}\n")
            }
            false => lines.collect(),
        },
        ..Exit::failed(format_args!(
            "{}: {} copies left, {} to be deleted; {}",
            bucket.declared.name,
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
