//! `tidegate storage bucket`: where bytes can be stored.

use std::io::Write;

use serde_json::json;

use super::arguments::{AddBucket, BucketCommand};
use super::console::Console;
use super::credentials::credentials_from;
use super::moving::import;
use crate::gateway::cli::Exit;
use crate::storage::{
    BucketBackend, BucketCredentials, BucketRow, ByteCount, Measured, NewBucket, Percentiles,
    Provider, bucket_as_json, measure,
};
use tidegate_model::Environment;

/// Runs one of the subcommands.
pub(super) async fn bucket(command: BucketCommand, environment: &Environment) -> Result<(), Exit> {
    match command {
        BucketCommand::Add(add) => add_bucket(*add, environment).await,
        BucketCommand::List(output) => {
            let session = Console::open(&output, environment).await?;
            let buckets = session.registry().buckets().await?;
            let lines: Vec<_> = buckets.iter().map(line_of_bucket).collect();
            let all: Vec<_> = buckets.iter().map(bucket_as_json).collect();
            session.print(&json!(all), &lines.join("\n"))
        }
        BucketCommand::Check { named, measure } => {
            let session = Console::open(&named.output, environment).await?;
            let bucket = session.registry().bucket(&named.name).await?;
            check(&session, &bucket, measure).await
        }
        BucketCommand::Import(given) => import(given, environment).await,
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
            let bucket = session.registry().bucket(&named.name).await?;
            session.rights(&bucket.with(credentials.clone())).await?;
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
        public_only: false,
    };
    let credentials = match bucket.provider {
        Provider::File => None,
        _ => Some(credentials_from(&add.source, environment)?),
    };
    let file_root = &session.settings.file_root;
    let is_opened = match credentials {
        Some(BucketCredentials::Key { .. } | BucketCredentials::ServiceAccount { .. }) => true,
        // A role is the gateways'.
        Some(BucketCredentials::Role { .. }) => false,
        // So is a directory, where this machine has no root of its own.
        None => !file_root.is_empty(),
    };
    if is_opened {
        BucketBackend::of(&bucket, credentials.as_ref(), file_root)?;
    }
    let id = session
        .registry()
        .add_bucket(&bucket, credentials.as_ref())
        .await?;
    if bucket.provider == Provider::File && !is_opened {
        let _unwritable = writeln!(
            std::io::stderr(),
            "tidegate: warning: {}: the directory was not checked, since [storage] file_root is not set here; \
             gateways use it only below their own file_root",
            bucket.name
        );
    }
    session.print(&json!({"id": id, "name": bucket.name}), &id)
}

async fn check(session: &Console, bucket: &BucketRow, is_measured: bool) -> Result<(), Exit> {
    let (mut shown, mut text) = session.rights(bucket).await?;
    if is_measured {
        let backend = BucketBackend::new(bucket, &session.settings.file_root)?;
        let name = &bucket.declared.name;
        let failed = |fault| Exit::failed(format_args!("{name}: {fault}"));
        let measured = measure(&backend).await.map_err(failed)?;
        shown["measured"] = json!(measured);
        text = format!("{text}\n{}", table_of(&measured));
    }
    session.print(&shown, &text)
}

fn table_of(measured: &Measured) -> String {
    let line = |method: &str, times: Percentiles| {
        let ms = |time: std::time::Duration| time.as_secs_f64() * 1_000.0;
        format!("{method:<8}{:>10.3}{:>10.3}", ms(times.p50), ms(times.p99))
    };
    let head = format!("{:<8}{:>10}{:>10}", "4 KiB", "p50 ms", "p99 ms");
    let lines = [
        head,
        line("HEAD", measured.head),
        line("PUT", measured.put),
        line("GET", measured.get),
        line("DELETE", measured.delete),
    ];
    lines.join("\n")
}

fn line_of_bucket(row: &BucketRow) -> String {
    let limit =
        |bytes: Option<u64>| bytes.map_or("unlimited".to_owned(), |it| ByteCount(it).to_string());
    let declared = &row.declared;
    let mut writes = match (row.draining, row.writes) {
        (true, _) => "  is drained",
        (false, true) => "",
        (false, false) => "  takes no writes",
    }
    .to_owned();
    if let Some(why) = &row.broken {
        writes += &format!("  cannot be used: {why}");
    }
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
