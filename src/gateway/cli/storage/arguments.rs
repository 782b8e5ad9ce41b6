//! The grammar of `tidegate storage`.

#![allow(
    clippy::doc_markdown,
    reason = "these comments are the help that people read"
)]

use clap::{Args, Subcommand, ValueEnum};

use crate::storage::{
    ByName, ByteCount, DefaultLevel, KeyMode, Mirror, Provider, ReadPolicy, Role, Rule,
    WritePolicy, read_slo_ms,
};

#[derive(Debug, Subcommand)]
pub(crate) enum StorageCommand {
    /// Buckets: where bytes can be stored.
    Bucket {
        #[command(subcommand)]
        command: BucketCommand,
    },
    /// Repositories: what clients see as a bucket.
    Repository {
        #[command(subcommand)]
        command: RepositoryCommand,
    },
    /// Keys: what clients sign requests with.
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Move all copies off a bucket, and wait until nothing is left on it. Writes stop going there; `bucket
    /// enable` ends that.
    Drain(DrainBucket),
    /// Print copies that could not be restored when they were read back, the newest first.
    Restores(OutputArguments),
    /// Delete now what is no longer needed.
    Sweep(OutputArguments),
    /// Seal credentials and secrets anew with the first key of STORAGE_MASTER_KEY.
    Rewrap(OutputArguments),
}

#[derive(Debug, Subcommand)]
pub(crate) enum BucketCommand {
    /// Add a bucket.
    Add(Box<AddBucket>),
    /// Print all buckets and their use.
    List(OutputArguments),
    /// Write, read, list and delete a small object, and say which right is missing.
    Check {
        #[command(flatten)]
        named: NamedArguments,
        /// Also print the p50 and p99 of 50 HEAD, PUT, GET and DELETE of 4 KiB.
        #[arg(long)]
        measure: bool,
    },
    /// Let a bucket take writes again that has named a quota.
    Enable(NamedArguments),
    /// Remove a bucket that no repository uses and that has no bytes.
    Remove(NamedArguments),
    /// Make the objects of a bucket those of a repository, without copying them; doing it again finds what has
    /// changed.
    Import(ImportBucket),
    /// Replace the credentials, after checking them.
    Credentials {
        #[command(flatten)]
        named: NamedArguments,
        #[command(flatten)]
        source: CredentialsArguments,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DrainBucket {
    /// End with 1 when nothing has moved for so long.
    #[arg(long, default_value = "5m", value_parser = humantime::parse_duration)]
    pub(super) patience: std::time::Duration,
    /// The bucket is gone: forget the copies that were moved and cannot be deleted there.
    #[arg(long)]
    pub(super) forget: bool,
    #[command(flatten)]
    pub(super) named: NamedArguments,
}

#[derive(Debug, Args)]
pub(crate) struct ImportBucket {
    /// A repository of which the bucket is a member.
    #[arg(long)]
    pub(super) repository: String,
    /// Import only what lies below this.
    #[arg(long, default_value = "")]
    pub(super) prefix: String,
    /// The objects are the repository's from now on: they are deleted at the provider when clients delete or
    /// replace them.
    #[arg(long)]
    pub(super) adopt: bool,
    /// Most of what was imported is not there any more, and is to be forgotten.
    #[arg(long)]
    pub(super) accept_gone: bool,
    #[command(flatten)]
    pub(super) named: NamedArguments,
}

/// Where the credentials of a bucket come from; never from the command line itself.
#[derive(Debug, Args)]
pub(crate) struct CredentialsArguments {
    /// env: STORAGE_BUCKET_ACCESS_KEY_ID and STORAGE_BUCKET_SECRET_ACCESS_KEY. stdin: JSON with accessKeyId and
    /// secretAccessKey, or of a service account. role: none, since the gateways have a role.
    #[arg(long, value_enum, default_value = "env")]
    pub(super) credentials: CredentialsSource,
    /// The role of AWS that the gateways assume with their web identity, instead of credentials.
    #[arg(long, value_name = "ARN", conflicts_with = "credentials", value_parser = Role::assumed)]
    pub(super) role: Option<Role>,
}

/// Where credentials come from.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum CredentialsSource {
    Env,
    Stdin,
    Role,
}

#[derive(Debug, Args)]
pub(crate) struct AddBucket {
    /// Its name here.
    pub(super) name: String,
    /// aws, gcp, azure, s3 or file.
    #[arg(long)]
    pub(super) provider: Provider,
    /// The provider's region.
    #[arg(long)]
    pub(super) region: String,
    /// https://host/bucket, s3://bucket of AWS, gs://bucket of Google Cloud, or file:///directory.
    #[arg(long)]
    pub(super) url: String,
    /// The share of the credit up to which it is preferred, such as 80%.
    #[arg(long, default_value = "100%", value_parser = share)]
    pub(super) soft_cap: f64,
    /// Bytes that may be written in a month, such as 500GiB/month.
    #[arg(long, value_parser = credit)]
    pub(super) credit: Option<ByteCount>,
    /// Bytes that it may hold, such as 1TiB.
    #[arg(long)]
    pub(super) quota: Option<ByteCount>,
    /// USD for a GB that is read.
    #[arg(long)]
    pub(super) price_out: Option<f64>,
    #[command(flatten)]
    pub(super) source: CredentialsArguments,
    #[command(flatten)]
    pub(super) output: OutputArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RepositoryCommand {
    /// Add a repository.
    Add(Box<AddRepository>),
    /// Give a repository other members, or another mirror.
    Change(ChangeRepository),
    /// Print all repositories.
    List(OutputArguments),
    /// Remove a repository without objects, and its keys.
    Remove(NamedArguments),
}

#[derive(Debug, Args)]
pub(crate) struct AddRepository {
    /// What clients call it.
    pub(super) name: String,
    /// A bucket, in order of preference; may be repeated.
    #[arg(long = "member", required = true)]
    pub(super) members: Vec<String>,
    /// credit, nearest or copies:N.
    #[arg(long, default_value_t = WritePolicy::Credit)]
    pub(super) write: WritePolicy,
    /// fastest or order.
    #[arg(long, default_value = "fastest")]
    pub(super) read: ReadPolicy,
    /// The level of reads that state none: strong, session or eventual.
    #[arg(long, default_value = "strong")]
    pub(super) consistency: DefaultLevel,
    /// Answer GET with the bucket's own URL.
    #[arg(long)]
    pub(super) redirect: bool,
    /// A bucket slower than this is read last, such as 50ms.
    #[arg(long, value_parser = read_slo_ms)]
    pub(super) read_slo: Option<u64>,
    /// Where objects are copied to, as JSON: {"to": "NAME", "after": "1h", "verify": "7d", "share": 0.01,
    /// "keepHot": true}; all but `to` may be left out.
    #[arg(long, value_parser = mirror)]
    pub(super) mirror: Option<Mirror>,
    /// Exceptions to --write, as JSON: [{"prefix": "logs/", "write": "credit", "members": ["NAME"]}].
    #[arg(long, value_parser = rules)]
    pub(super) rules: Option<Rules>,
    #[command(flatten)]
    pub(super) output: OutputArguments,
}

#[derive(Debug, Args)]
pub(crate) struct ChangeRepository {
    /// All its members from now on, in order of preference; may be repeated.
    #[arg(long = "member")]
    pub(super) members: Vec<String>,
    /// Where objects are copied to from now on, as JSON: see `add`.
    #[arg(long, value_parser = mirror)]
    pub(super) mirror: Option<Mirror>,
    /// Objects are copied nowhere any more; the copies that there are stay.
    #[arg(long, conflicts_with = "mirror")]
    pub(super) no_mirror: bool,
    #[command(flatten)]
    pub(super) named: NamedArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key of a repository; its secret is printed once.
    Add {
        /// The repository.
        repository: String,
        /// read, write or admin.
        #[arg(long)]
        mode: KeyMode,
        #[command(flatten)]
        output: OutputArguments,
    },
    /// Print the keys of a repository, without their secrets.
    List(NamedArguments),
    /// Make a second secret of a key, which is printed once. Both hold for 24 hours.
    Rotate {
        #[command(flatten)]
        named: NamedArguments,
        /// Let only the second secret hold from now on.
        #[arg(long)]
        finish: bool,
        /// Let only the first secret hold, so that a second one that was lost can be made again.
        #[arg(long, conflicts_with = "finish")]
        cancel: bool,
    },
    /// Remove a key.
    Remove(NamedArguments),
}

#[derive(Debug, Args)]
pub(crate) struct NamedArguments {
    /// Its id, or else its name.
    pub(super) name: String,
    #[command(flatten)]
    pub(super) output: OutputArguments,
}

#[derive(Debug, Args)]
pub(crate) struct OutputArguments {
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
    /// URL of the primary (DATABASE_URL).
    #[arg(long)]
    pub(super) database_url: Option<String>,
    /// TOML file (TIDEGATE_CONFIG).
    #[arg(long)]
    pub(super) config: Option<String>,
}

/// Write policies below prefixes.
#[derive(Debug, Clone)]
pub(crate) struct Rules(pub(super) Vec<Rule>);

fn mirror(text: &str) -> Result<Mirror, String> {
    match serde_json::from_str(text) {
        Ok(ByName(mirror)) => Ok(mirror),
        Err(error) => Err(error.to_string()),
    }
}

fn rules(text: &str) -> Result<Rules, String> {
    let read: Result<Vec<ByName<Rule>>, _> = serde_json::from_str(text);
    let read = read.map_err(|error| error.to_string())?;
    Ok(Rules(read.into_iter().map(|ByName(rule)| rule).collect()))
}

fn share(text: &str) -> Result<f64, String> {
    let percent = text
        .strip_suffix('%')
        .and_then(|text| text.trim().parse::<f64>().ok());
    match percent {
        Some(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("expected a share such as 80%".to_owned()),
    }
}

fn credit(text: &str) -> Result<ByteCount, String> {
    let bytes = text.strip_suffix("/month");
    let bytes = bytes.ok_or("expected bytes a month, such as 500GiB/month")?;
    Ok(bytes.parse()?)
}
