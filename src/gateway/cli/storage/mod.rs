//! `tidegate storage`: buckets, repositories and keys, as rows of the primary.

mod arguments;
mod console;
mod credentials;
mod moving;

pub(super) use arguments::StorageCommand;

use serde_json::{Value, json};

use self::arguments::{AddBucket, AddRepository, BucketCommand, KeyCommand, RepositoryCommand};
use self::console::Console;
use self::credentials::credentials_from;
use super::Exit;
use crate::storage::{
    BucketRow, ByteCount, NewBucket, Provider, RepositoryPolicy, rewrap, sweep_once,
};
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
            let rewrapped = rewrap(&session.registry()).await?;
            let text = format!("sealed {rewrapped} anew");
            session.print(&json!({"rewrapped": rewrapped}), &text)
        }
    }
}

async fn bucket(command: BucketCommand, environment: &Environment) -> Result<(), Exit> {
    match command {
        BucketCommand::Add(add) => add_bucket(*add, environment).await,
        BucketCommand::List(output) => {
            let session = Console::open(&output, environment).await?;
            let buckets = session.registry().buckets().await?;
            let lines: Vec<_> = buckets.iter().map(line_of_bucket).collect();
            let all: Vec<_> = buckets.iter().map(json_of_bucket).collect();
            session.print(&json!(all), &lines.join("\n"))
        }
        BucketCommand::Check(named) => {
            let session = Console::open(&named.output, environment).await?;
            let bucket = session.registry().bucket(&named.name).await?;
            session.check(&bucket).await
        }
        BucketCommand::Import(import) => moving::import(import, environment).await,
        BucketCommand::Enable(named) => {
            let session = Console::open(&named.output, environment).await?;
            session.registry().enable_bucket(&named.name).await?;
            session.done(&named, "takes writes")
        }
        BucketCommand::Remove(named) => {
            let session = Console::open(&named.output, environment).await?;
            session.registry().remove_bucket(&named.name).await?;
            session.done(&named, "removed")
        }
        BucketCommand::Credentials { named, source } => {
            let session = Console::open(&named.output, environment).await?;
            let credentials = credentials_from(&source, environment)?;
            let mut bucket = session.registry().bucket(&named.name).await?;
            bucket.credentials = Some(credentials.clone());
            session.rights(&bucket).await?;
            session
                .registry()
                .set_credentials(&named.name, &credentials)
                .await?;
            session.done(&named, "has new credentials")
        }
    }
}

async fn add_bucket(add: AddBucket, environment: &Environment) -> Result<(), Exit> {
    let session = Console::open(&add.output, environment).await?;
    let bytes = |count: Option<ByteCount>| count.map(|ByteCount(bytes)| bytes);
    let bucket = NewBucket {
        name: add.name,
        provider: add.provider,
        region: add.region,
        url: add.url,
        soft_cap: add.soft_cap,
        credit: bytes(add.credit),
        quota: bytes(add.quota),
        price_out: add.price_out,
    };
    let credentials = match bucket.provider {
        Provider::File => None,
        _ => Some(credentials_from(&add.source, environment)?),
    };
    session.can_be_opened(&bucket, credentials.as_ref())?;
    let id = session
        .registry()
        .add_bucket(&bucket, credentials.as_ref())
        .await?;
    session.print(&json!({"id": id, "name": bucket.name}), &id)
}

async fn repository(command: RepositoryCommand, environment: &Environment) -> Result<(), Exit> {
    match command {
        RepositoryCommand::Add(add) => add_repository(*add, environment).await,
        RepositoryCommand::Change(change) => moving::change(change, environment).await,
        RepositoryCommand::List(output) => {
            let session = Console::open(&output, environment).await?;
            let all = session.registry().repositories().await?;
            let line = |row: &crate::storage::RepositoryRow| {
                let members = row.members.join(",");
                format!(
                    "{}  write {}  members {members}",
                    row.name, row.policy.write
                )
            };
            let lines: Vec<_> = all.iter().map(line).collect();
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
        read_slo_ms: add
            .read_slo
            .map(|slo| u64::try_from(slo.as_millis()).unwrap_or(u64::MAX)),
        mirror: add.mirror,
        rules: add.rules.map(|rules| rules.0).unwrap_or_default(),
    };
    let registry = session.registry();
    let id = registry
        .add_repository(&add.name, &add.members, &policy)
        .await?;
    session.print(&json!({"id": id, "name": add.name}), &id)
}

async fn key(command: KeyCommand, environment: &Environment) -> Result<(), Exit> {
    match command {
        KeyCommand::Add {
            repository,
            mode,
            output,
        } => {
            let session = Console::open(&output, environment).await?;
            let key = session.registry().add_key(&repository, mode).await?;
            let text = format!(
                "id {}\nkey id {}\nsecret {}",
                key.id, key.key_id, key.secret
            );
            session.print(&json!(key), &text)
        }
        KeyCommand::List(named) => {
            let session = Console::open(&named.output, environment).await?;
            let keys = session.registry().keys(&named.name).await?;
            let all: Vec<_> = keys
                .iter()
                .map(|key| json!({"id": key.id, "keyId": key.key_id, "mode": key.mode}))
                .collect();
            let lines = keys
                .iter()
                .map(|key| format!("{}  {}  {}", key.id, key.key_id, key.mode));
            session.print(&json!(all), &lines.collect::<Vec<_>>().join("\n"))
        }
        KeyCommand::Remove(named) => {
            let session = Console::open(&named.output, environment).await?;
            session.registry().remove_key(&named.name).await?;
            session.done(&named, "removed")
        }
    }
}

fn line_of_bucket(row: &BucketRow) -> String {
    let limit =
        |bytes: Option<u64>| bytes.map_or("unlimited".to_owned(), |it| ByteCount(it).to_string());
    let declared = &row.declared;
    let writes = match (row.draining, row.writes) {
        (true, _) => "  is drained",
        (false, true) => "",
        (false, false) => "  takes no writes",
    };
    format!(
        "{}  {} {}  written {} of {} this month  held {} of {}{writes}",
        declared.name,
        declared.provider,
        declared.region,
        ByteCount(row.written),
        limit(declared.credit),
        ByteCount(row.held),
        limit(declared.quota),
    )
}

fn json_of_bucket(row: &BucketRow) -> Value {
    let declared = &row.declared;
    json!({
        "id": row.id,
        "name": declared.name,
        "provider": declared.provider,
        "region": declared.region,
        "url": declared.url,
        "softCap": declared.soft_cap,
        "credit": declared.credit,
        "quota": declared.quota,
        "priceOut": declared.price_out,
        "writes": row.writes,
        "draining": row.draining,
        "heldBytes": row.held,
        "writtenBytes": row.written,
    })
}
