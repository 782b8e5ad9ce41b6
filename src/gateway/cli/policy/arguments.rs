//! The grammar of `tidegate policy`.

#![allow(
    clippy::doc_markdown,
    reason = "these comments are the help that people read"
)]

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::gateway::cli::values::{percent, revision, stage_time};
use crate::gateway::config::fleet_word;

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
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
pub(crate) struct PushCommand {
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
pub(crate) struct RolloutCommand {
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
    /// How many requests of the new revision each stage of a region needs; it is stopped after ten bakes without them.
    #[arg(long, default_value_t = 0)]
    pub(super) min_samples: u64,
    /// Print a line of JSON for each change.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainPolicyCommand {
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
