//! The grammar of the command line.

#![allow(
    clippy::doc_markdown,
    reason = "these comments are the help that people read"
)]

use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, FromArgMatches, Parser, Subcommand};

use super::Exit;
use super::storage::StorageCommand;
use crate::gateway::config::{Overrides, PROCESS, fleet_word};
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

/// Reads a duration.
fn duration(text: &str) -> Result<Duration, String> {
    let expected = "expected a duration such as 90s or 1h";
    humantime::parse_duration(text).map_err(|why| format!("{why}; {expected}"))
}

/// Longest bake and longest wait for gateways: the leading process stays that long in each stage.
const STAGE_MAX: Duration = Duration::from_hours(7 * 24);

/// Reads how long something in a stage takes.
fn stage_time(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    let is_meant = !time.is_zero() && time <= STAGE_MAX;
    is_meant
        .then_some(time)
        .ok_or_else(|| "expected more than 0 and at most 7 days, such as 60s".to_owned())
}

/// Reads a share, of 10,000.
fn percent(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('%').and_then(|it| it.parse().ok());
    let share = number.filter(|it: &f64| (0.0..=100.0).contains(it));
    let share = share.ok_or("expected a share such as 10%")?;
    Ok((share * 100.0).round() as u32)
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

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Check a policy file and run its tests; exit 2 with every error if it cannot be used.
    Check {
        /// The policy file.
        file: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Run the tests of a policy file; exit 1 if one fails.
    Test {
        /// The policy file.
        file: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Rewrite a policy file in the normal form; comments stay.
    Fmt {
        /// Rewrite nothing; exit 1 if the file is not in the normal form.
        #[arg(long)]
        check: bool,
        /// The policy file.
        file: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print what a policy says, with groups resolved and defaults filled in.
    Show {
        /// Print JSON.
        #[arg(long, conflicts_with = "text")]
        json: bool,
        /// Print the text as it was pushed.
        #[arg(long)]
        text: bool,
        /// The policy file, or the number of a revision in the policy store.
        policy: String,
    },
    /// Store a policy file as a revision; the last line is its number. Nothing is in force by that.
    Push(PushCommand),
    /// List the revisions in the policy store, newest first.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print how two policies differ in meaning; exit 1 if they do.
    Diff {
        /// A revision, a policy file, or `active`.
        old: String,
        /// A revision, a policy file, or `active`.
        new: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Put a revision in force: in shadow, then region by region, by shares; taken back if it is worse.
    Rollout(RolloutCommand),
    /// Show what is in force, the open rollout and the gateways.
    Status {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let the open rollout stand still.
    Pause {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let its stage bake again.
    Resume {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// End the open rollout: what was in force stays.
    Abort {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// End the open rollout; else go back to what was in force before, at once and everywhere.
    Rollback {
        /// The revision to go back to.
        #[arg(long, value_parser = revision)]
        to: Option<u32>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a key that signs revisions, and print the public one.
    Key {
        /// A file that does not exist yet.
        file: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print where one request goes, and why.
    Explain(ExplainPolicyCommand),
    /// Decide recorded requests again; exit 1 if a decision differs.
    Replay {
        /// The receipts: JSON, one a line.
        receipts: String,
        /// The policy file (TIDEGATE_TRAFFIC_POLICY).
        #[arg(long)]
        policy: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Reads the number of a revision.
pub(super) fn revision(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|it| i32::try_from(*it).is_ok());
    let expected = "expected a number up to 2147483647, such as `tidegate policy list` shows";
    number.ok_or_else(|| expected.to_owned())
}

impl PolicyCommand {
    /// Whether standard output has JSON and nothing else.
    pub(super) fn json(&self) -> bool {
        match self {
            Self::Check { json, .. }
            | Self::Test { json, .. }
            | Self::Fmt { json, .. }
            | Self::Replay { json, .. }
            | Self::Show { json, .. }
            | Self::List { json }
            | Self::Diff { json, .. }
            | Self::Status { json }
            | Self::Pause { json }
            | Self::Resume { json }
            | Self::Abort { json }
            | Self::Rollback { json, .. }
            | Self::Key { json, .. } => *json,
            Self::Push(command) => command.json,
            Self::Rollout(command) => command.json,
            Self::Explain(command) => command.json,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct PushCommand {
    /// The policy file.
    pub(super) file: String,
    /// What the revision is for.
    #[arg(long, default_value = "")]
    pub(super) note: String,
    /// Its author; by default the user.
    #[arg(long)]
    pub(super) author: Option<String>,
    /// The key that signs it.
    #[arg(long)]
    pub(super) sign: Option<String>,
    /// Revisions below this number are void from then on.
    #[arg(long, requires = "sign", default_value_t = 0, value_parser = revision)]
    pub(super) floor: u32,
    /// The fleet's name, which is in the signature; by default that of the configuration.
    #[arg(long, requires = "sign", value_parser = fleet_word)]
    pub(super) fleet: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct RolloutCommand {
    /// The revision.
    #[arg(value_parser = revision)]
    pub(super) revision: u32,
    /// The region that comes first; by default the one with the least load.
    #[arg(long)]
    pub(super) canary: Option<String>,
    /// The regions that come first, in this order.
    #[arg(long, value_delimiter = ',', conflicts_with = "canary")]
    pub(super) order: Vec<String>,
    /// How long each stage lasts.
    #[arg(long, default_value = "60s", value_parser = stage_time)]
    pub(super) bake: Duration,
    /// How long a gateway may take to follow.
    #[arg(long, default_value = "2m", value_parser = stage_time)]
    pub(super) wait: Duration,
    /// The greatest share of decisions whose region may change.
    #[arg(long, default_value = "10%", value_parser = percent)]
    pub(super) blast_radius: u32,
    /// What is judged: errors,latency or errors.
    #[arg(long, default_value = "errors,latency", value_parser = ["errors,latency", "errors"])]
    pub(super) judge: String,
    /// How many requests of the new revision each stage waits for.
    #[arg(long, default_value_t = 0)]
    pub(super) min_samples: u64,
    /// Print a line of JSON for each change.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ExplainPolicyCommand {
    /// The request's method.
    pub(super) method: String,
    /// The request's path, with or without a query string.
    pub(super) path: String,
    /// The policy file (TIDEGATE_TRAFFIC_POLICY).
    #[arg(long)]
    pub(super) policy: Option<String>,
    /// A revision in the policy store in place of a file: its number, `active` or `candidate`.
    #[arg(long, conflicts_with = "policy")]
    pub(super) revision: Option<String>,
    /// The region where the request enters.
    #[arg(long)]
    pub(super) region: Option<String>,
    /// The client's address.
    #[arg(long)]
    pub(super) client: Option<String>,
    /// The client's country: two letters.
    #[arg(long)]
    pub(super) country: Option<String>,
    /// The client's location in degrees: LATITUDE,LONGITUDE.
    #[arg(long, allow_hyphen_values = true)]
    pub(super) at: Option<String>,
    /// A request header, `Name: value`; may be repeated.
    #[arg(short = 'H', long = "header")]
    pub(super) headers: Vec<String>,
    /// A region's state, REGION=left, drained, unreachable or ramp:30%; may be repeated.
    #[arg(long = "region-state")]
    pub(super) region_states: Vec<String>,
    /// The time, which determines the open windows; by default now.
    #[arg(long)]
    pub(super) time: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
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
    #[arg(long)]
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
