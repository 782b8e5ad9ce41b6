//! Why the store cannot do what a command asks.

use tidegate_model::error_chain;
use tidegate_rollout::KeyError;
use tokio_postgres::error::SqlState;

use crate::postgres::ConnectError;

/// Why the store cannot do what a command asks.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The primary cannot be reached.
    #[error("{0}")]
    Connect(#[from] ConnectError),
    /// A statement has failed.
    #[error("{}", error_chain::chain(.0))]
    Statement(tokio_postgres::Error),
    /// It does not answer in time.
    #[error("the database does not answer within {0} s")]
    Timeout(u64),
    /// The tables of the store do not exist.
    #[error(
        "there is no policy store in this database: `tidegate migrate --only traffic` makes it"
    )]
    Missing,
    /// The role may not.
    #[error(
        "{0}: the role needs USAGE on the schema tidegate and SELECT on its tables, and INSERT on \
         traffic_revision to push, INSERT and UPDATE on traffic_rollout to roll out, or INSERT, UPDATE and \
         DELETE on traffic_gateway as a gateway"
    )]
    Rights(String),
    /// The server takes no writes.
    #[error("this server takes no writes: name the primary")]
    ReadOnly,
    /// A row cannot be read.
    #[error("a row of the policy store cannot be read: {0}")]
    Row(String),
    /// A revision is not there.
    #[error("there is no revision {revision}: {known}")]
    NoRevision {
        /// The one that was asked for.
        revision: u32,
        /// Those that there are, in words.
        known: String,
    },
    /// A revision is below the one in force.
    #[error(
        "revision {revision} is below {in_force}, which is in force: `tidegate policy rollback` goes back"
    )]
    Below {
        /// The one that was asked for.
        revision: u32,
        /// The one in force.
        in_force: u32,
    },
    /// A revision that is no step back.
    #[error(
        "revision {revision} is not older than {}, which is in force: \
         `tidegate policy rollout {revision}` puts it in force",
        named(*.in_force)
    )]
    NotOlder {
        /// The one that was asked for.
        revision: u32,
        /// The one in force.
        in_force: u32,
    },
    /// A revision that was never in force.
    #[error(
        "revision {revision} was never in force, and a rollback has no stages: {known}; or store its text anew by \
         `tidegate policy push` and roll that out"
    )]
    NeverInForce {
        /// The one that was asked for.
        revision: u32,
        /// Those that were, in words.
        known: String,
    },
    /// A revision without a signature that gateways would refuse.
    #[error(
        "revision {revision} is not signed, and gateways with trusted keys, such as {gateway}, would refuse it: go back to a \
         signed one (`tidegate policy list` shows which are) by `--to`, or to the built-in policy by `--to 0`; or store its \
         text anew by `tidegate policy push --sign` and roll that out"
    )]
    Unsigned {
        /// The one that was asked for, or was in force before.
        revision: u32,
        /// A gateway that would refuse it.
        gateway: String,
    },
    /// A revision below a floor that holds.
    #[error(
        "revision {revision} is void, below the floor {floor} of a revision that was in force: {known}; or store its text \
         anew by `tidegate policy push` and roll that out"
    )]
    Void {
        /// The one that was asked for, or was in force before.
        revision: u32,
        /// The floor.
        floor: u32,
        /// Those that are not, in words.
        known: String,
    },
    /// A revision that gateways would refuse.
    #[error(
        "revision {revision} cannot be used: {why}; store its text anew by `tidegate policy push` and roll that out, or go \
         back to another one by `--to`"
    )]
    Unusable {
        /// The one that was asked for, or was in force before.
        revision: u32,
        /// Why.
        why: String,
    },
    /// A floor that would void its own revision.
    #[error("the floor {floor} is above the revision itself, which would be {revision}")]
    Floor {
        /// The floor that was asked for.
        floor: u32,
        /// The number of the revision.
        revision: u32,
    },
    /// There is nothing to go back to.
    #[error(
        "nothing was in force before: there is nothing to go back to; `tidegate policy rollout REV` puts a \
         revision in force"
    )]
    NothingBefore,
    /// No rollout is open.
    #[error(
        "no rollout is under way: `tidegate policy rollout REV` begins one, `tidegate policy rollback` goes \
         back from the last"
    )]
    NoneOpen,
    /// Another rollout is open.
    #[error(
        "rollout {rollout} of revision {revision} is under way, led by {by} since {since}: wait for its end, or \
         end it by `tidegate policy abort`"
    )]
    Open {
        /// Its number.
        rollout: u64,
        /// Its revision.
        revision: u32,
        /// Who leads it.
        by: String,
        /// Since when.
        since: String,
    },
    /// A rollout whose number is not the greatest.
    #[error(
        "the next rollout would have the number {rollout}, and gateways follow the greatest, which is {greatest}: that row was \
         written by hand, or the numbers were set back; {}",
        mend(*.greatest)
    )]
    Behind {
        /// The number that it would have.
        rollout: u64,
        /// The greatest number that there is.
        greatest: u64,
    },
    /// A key cannot sign.
    #[error("{0}")]
    Key(#[from] KeyError),
}

/// What makes the next rollout the newest.
fn mend(greatest: u64) -> String {
    let next = greatest.saturating_add(1);
    match i64::try_from(next) {
        Ok(next) => format!(
            "as the owner of the table, `alter table tidegate.traffic_rollout alter rollout restart with {next}`"
        ),
        Err(_none_is_greater) => {
            "no number is greater: docs/rollouts.md says how to remove the row".to_owned()
        }
    }
}

/// A revision in words.
fn named(revision: u32) -> String {
    match revision {
        0 => "the built-in policy".to_owned(),
        revision => revision.to_string(),
    }
}

impl StoreError {
    /// Whether what was asked cannot be done, rather than that it has failed.
    #[must_use]
    pub fn is_unusable(&self) -> bool {
        match self {
            Self::Missing
            | Self::Rights(_)
            | Self::ReadOnly
            | Self::NoRevision { .. }
            | Self::Below { .. }
            | Self::NotOlder { .. }
            | Self::NeverInForce { .. }
            | Self::Unsigned { .. }
            | Self::Void { .. }
            | Self::Unusable { .. }
            | Self::Floor { .. }
            | Self::NothingBefore
            | Self::NoneOpen
            | Self::Behind { .. }
            | Self::Key(_) => true,
            Self::Connect(_)
            | Self::Statement(_)
            | Self::Timeout(_)
            | Self::Row(_)
            | Self::Open { .. } => false,
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let message = || error.as_db_error().map(|it| it.message().to_owned());
        match error.code() {
            Some(&SqlState::UNDEFINED_TABLE | &SqlState::INVALID_SCHEMA_NAME) => Self::Missing,
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Self::Rights(message().unwrap_or_default()),
            Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => Self::ReadOnly,
            _ => Self::Statement(error),
        }
    }
}
