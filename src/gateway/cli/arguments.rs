//! The grammar of the command line.

#![allow(
    clippy::doc_markdown,
    reason = "these comments are the help that people read"
)]

use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, FromArgMatches, Parser, Subcommand};

use super::Exit;
use super::policy::PolicyCommand;
use super::storage::StorageCommand;
use super::values::duration;
use crate::gateway::config::{Overrides, PROCESS};
use tidegate_model::settings::Setting;

/// Regional edge gateway with read-replica consistency routing for PostgreSQL.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

impl Cli {
    /// Reads the process's arguments; prints help or version and ends the process if they are
    /// requested, or if there are no arguments at all.
    ///
    /// # Errors
    /// If the arguments are not valid.
    pub fn read() -> Result<Self, Exit> {
        Self::try_parse().map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
            _ => Exit::unusable(first_paragraph(&error.to_string())),
        })
    }
}

/// The error on one line, without the hints that follow it.
fn first_paragraph(error: &str) -> String {
    let lines = error.lines().take_while(|line| !line.is_empty());
    let text = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    without_credentials(text.trim_start_matches("error: "))
}

/// Truncates URLs with a user or a password after their scheme: an argument in the wrong place is
/// quoted too.
fn without_credentials(text: &str) -> String {
    let shown = |word: &str| match word.split_once("://") {
        Some((scheme, rest)) if rest.contains('@') => format!("{scheme}://…'"),
        _ => word.to_owned(),
    };
    text.split(' ').map(shown).collect::<Vec<_>>().join(" ")
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve: the gateway of one region.
    Serve(Overrides),
    /// Validate the configuration and print the effective policy and endpoint tables.
    Check(CheckCommand),
    /// Print what would be decided for one request, and why.
    Explain(ExplainCommand),
    /// Work with a traffic policy: which region serves a request.
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// Work with the fleet: the gateways of several regions.
    Fleet {
        #[command(subcommand)]
        command: FleetCommand,
    },
    /// Work with object storage: buckets, repositories and their keys.
    Storage {
        #[command(subcommand)]
        command: StorageCommand,
    },
    /// Write a configuration for an existing database, from its catalogue; changes nothing.
    Init(InitCommand),
    /// Apply the schema to the primary.
    Migrate(MigrateCommand),
    /// Mint a JWT for development, signed with AUTH_JWT_SECRET; or read a consistency token.
    Token(TokenCommand),
    /// Run three regions on this machine.
    Demo(DemoCommand),
    /// Show the nodes of a running gateway, the order in which they are tried, and why.
    Top(TopCommand),
}

/// The flags that settings declare.
fn setting_flags() -> impl Iterator<Item = (&'static str, &'static Setting)> {
    let long = |setting: &'static Setting| Some((setting.flag?.trim_start_matches("--"), setting));
    PROCESS.iter().filter_map(long)
}

impl Args for Overrides {
    fn augment_args(command: clap::Command) -> clap::Command {
        let flags = setting_flags().map(|(long, setting)| {
            let (meaning, _) = setting.meaning.split_once('.').unwrap_or_default();
            let help = format!("{meaning} ({})", setting.variable.unwrap_or_default());
            Arg::new(long).long(long).value_name("VALUE").help(help)
        });
        command.args(flags)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Overrides {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |(long, setting)| (setting, matches.get_one::<String>(long).cloned());
        let given = setting_flags().map(given);
        Ok(given.fold(Self::default(), |all, (setting, value)| {
            all.with(setting, value)
        }))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum FleetCommand {
    /// Write a CA, and a certificate and key for each region, for development.
    Certificates(CertificatesCommand),
}

#[derive(Debug, Args)]
pub(super) struct CertificatesCommand {
    /// The regions, such as eu-west-1,us-east-1.
    #[arg(long, value_delimiter = ',', required = true)]
    pub(super) regions: Vec<tidegate_model::RegionId>,
    /// The directory that they are written to.
    #[arg(long, default_value = "fleet-certificates")]
    pub(super) out: std::path::PathBuf,
    /// The directory of an existing ca.crt and ca.key that sign them.
    #[arg(long)]
    pub(super) ca: Option<std::path::PathBuf>,
    /// How many days they are valid.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(super) days: u32,
}

#[derive(Debug, Args)]
pub(super) struct CheckCommand {
    #[command(flatten)]
    pub(super) settings: Overrides,
    /// Print the policy table alone, as JSON for the CDN (infra/edge-policy.json). Needs no node.
    #[arg(long)]
    pub(super) edge_policy: bool,
}

#[derive(Debug, Args)]
pub(super) struct ExplainCommand {
    /// The request's method.
    pub(super) method: String,
    /// The request's path, with or without a query string.
    pub(super) path: String,
    /// A request header, `Name: value`; may be repeated.
    #[arg(short = 'H', long = "header")]
    pub(super) headers: Vec<String>,
    /// TOML file (TIDEGATE_CONFIG).
    #[arg(long)]
    pub(super) config: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct InitCommand {
    /// URL of the primary (DATABASE_URL).
    #[arg(long)]
    pub(super) database_url: Option<String>,
    /// A file that does not exist yet; without it, standard output.
    #[arg(long)]
    pub(super) out: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct MigrateCommand {
    /// URL of the primary (DATABASE_URL).
    #[arg(long)]
    pub(super) database_url: Option<String>,
    /// The schemas to apply. By default that of the built-in API, and the policy store's if the
    /// configuration has a [fleet] section.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(super) only: Vec<Schema>,
    /// Also add accounts, balances, rates, fees and documents to try the API with.
    #[arg(long)]
    pub(super) demo_data: bool,
}

/// A part of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Schema {
    /// The built-in API.
    Api,
    /// The policy store.
    Traffic,
    /// Object storage.
    Storage,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct TokenCommand {
    #[command(subcommand)]
    pub(super) action: Option<TokenAction>,
    /// The subject: an account name.
    #[arg(long, required = true)]
    pub(super) sub: Option<String>,
    /// How long it is valid, e.g. `1h`.
    #[arg(long, default_value = "1h", value_parser = duration)]
    pub(super) ttl: Duration,
    /// What it permits, such as `storage:read` or `storage:admin` for the storage API.
    #[arg(long)]
    pub(super) scope: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum TokenAction {
    /// Print what a consistency token says, and whether a key of TOKEN_SECRET signed it.
    Inspect {
        /// The value of X-Consistency-Token.
        #[arg(allow_hyphen_values = true)]
        token: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct DemoCommand {
    /// Walk through the main points and end, with code 1 if one of them did not hold.
    #[arg(long)]
    pub(super) tour: bool,
    /// Public port of the first region; the next two are the others'. Admin ports are 1000 above; PostgreSQL and
    /// the fleet get free ones.
    #[arg(long, value_parser = clap::value_parser!(u16).range(..=64533))]
    pub(super) port_base: Option<u16>,
}

#[derive(Debug, Args)]
pub(super) struct TopCommand {
    /// Admin listener of the gateway (ADMIN_ADDR), by default 127.0.0.1:9090.
    #[arg(long)]
    pub(super) admin: Option<String>,
    /// Bearer token of the admin listener (ADMIN_TOKEN). Visible in the process list: prefer the variable.
    #[arg(long)]
    pub(super) token: Option<String>,
    /// Print one table as plain text and end.
    #[arg(long)]
    pub(super) once: bool,
    /// Time between two looks.
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub(super) interval: Duration,
}
