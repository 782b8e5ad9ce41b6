//! `tidegate storage`: buckets, repositories and keys, as rows of the primary.

mod moving;

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::Exit;
use super::bucket_credentials::credentials_from;
use super::primary::Primary;
use super::storage_arguments::{
    AddBucket, AddRepository, BucketCommand, KeyCommand, NamedArguments, OutputArguments,
    RepositoryCommand, StorageCommand,
};
use super::url_warning::warn_of_url;
use crate::gateway::config::{CONFIG, Overrides, storage_keys, storage_settings};
use crate::postgres::{Connection, Session, connect};
use crate::storage::{
    BucketBackend, BucketCredentials, BucketRow, ByteCount, MasterKeys, NewBucket, Provider,
    Registry, RepositoryPolicy, StorageError, StorageSettings, rewrap, sweep_once,
};
use tidegate_model::Environment;

/// Time to connect to the primary.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// One command, with what it needs.
struct Console {
    connection: Connection,
    keys: MasterKeys,
    settings: StorageSettings,
    json: bool,
}

/// Runs one of the subcommands.
pub(super) async fn storage(
    command: StorageCommand,
    environment: &Environment,
) -> Result<(), Exit> {
    match command {
        StorageCommand::Bucket { command } => bucket(command, environment).await,
        StorageCommand::Repository { command } => repository(command, environment).await,
        StorageCommand::Key { command } => key(command, environment).await,
        StorageCommand::Drain(drain) => moving::drain(drain, environment).await,
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

impl Console {
    async fn open(output: &OutputArguments, environment: &Environment) -> Result<Self, Exit> {
        let keys = storage_keys(environment)?;
        let overrides = Overrides::default().with(&CONFIG, output.config.clone());
        let settings = storage_settings(&overrides, environment)?;
        let primary = Primary::given(output.database_url.as_deref(), environment)?;
        let server = &primary.server;
        warn_of_url(server);
        let session = Session {
            application_name: "tidegate/storage".to_owned(),
            statement_timeout: STATEMENT_TIMEOUT,
        };
        let connection = connect(server, &session, CONNECT_DEADLINE).await;
        let connection =
            connection.map_err(|error| Exit::failed(format_args!("{server}: {error}")))?;
        Ok(Self {
            connection,
            keys,
            settings,
            json: output.json,
        })
    }

    fn registry(&self) -> Registry<'_> {
        Registry {
            client: &self.connection.client,
            keys: &self.keys,
        }
    }

    /// Refuses credentials that cannot open a bucket of the provider, whatever they are. A role is the
    /// gateways', and a directory theirs.
    fn can_be_opened(
        &self,
        bucket: &NewBucket,
        credentials: Option<&BucketCredentials>,
    ) -> Result<(), StorageError> {
        let Some(BucketCredentials::Key { .. } | BucketCredentials::ServiceAccount { .. }) =
            credentials
        else {
            return Ok(());
        };
        let row = BucketRow {
            id: String::new(),
            declared: bucket.clone(),
            credentials: credentials.cloned(),
            writes: true,
            draining: false,
            held: 0,
            written: 0,
        };
        BucketBackend::new(&row, &self.settings.file_root).map(drop)
    }

    /// Checks a bucket; fails with the rights that are missing.
    async fn rights(&self, bucket: &BucketRow) -> Result<(Value, String), Exit> {
        let backend = BucketBackend::new(bucket, &self.settings.file_root)?;
        let outcomes = backend.check().await;
        let rights: serde_json::Map<_, _> = outcomes
            .iter()
            .map(|(right, outcome)| ((*right).to_owned(), json!(outcome.is_ok())))
            .collect();
        let missing: Vec<_> = outcomes
            .iter()
            .filter_map(|(right, outcome)| Some(format!("{right}: {}", outcome.as_ref().err()?)))
            .collect();
        let shown = json!({"success": missing.is_empty(), "rights": rights});
        match missing.is_empty() {
            true => Ok((shown, "write, read, list and delete work".to_owned())),
            false => Err(Exit {
                report: match self.json {
                    true => format!("{shown}\n"),
                    false => String::new(),
                },
                ..Exit::failed(format_args!(
                    "{}: {}",
                    bucket.declared.name,
                    missing.join("; ")
                ))
            }),
        }
    }

    async fn check(&self, bucket: &BucketRow) -> Result<(), Exit> {
        let (shown, text) = self.rights(bucket).await?;
        self.print(&shown, &text)
    }

    fn done(&self, named: &NamedArguments, what: &str) -> Result<(), Exit> {
        let text = format!("{} {what}", named.name);
        self.print(&json!({"success": true}), &text)
    }

    fn print(&self, value: &Value, text: &str) -> Result<(), Exit> {
        let line = match self.json {
            true => value.to_string(),
            false => text.to_owned(),
        };
        if line.is_empty() {
            return Ok(());
        }
        writeln!(std::io::stdout(), "{line}").map_err(Exit::failed)
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

impl From<StorageError> for Exit {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Invalid(_)
            | StorageError::NotFound(..)
            | StorageError::NameTaken(_)
            | StorageError::Sealed(_) => Self::unusable(error),
            _ => Self::failed(error),
        }
    }
}
