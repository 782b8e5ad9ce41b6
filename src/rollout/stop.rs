//! Why a rollout is stopped, as operators read it.

use std::fmt;

use crate::{ArmCounts, ArmPair, GatewayState};

/// Most gateways that are named.
const GATEWAYS_SHOWN: usize = 20;

/// Why a rollout is stopped.
#[derive(Clone, Debug, PartialEq)]
pub enum StopReason {
    /// More decisions would change than allowed.
    BlastRadius {
        /// Decisions whose region differs.
        changed: u64,
        /// All decisions.
        decided: u64,
    },
    /// The new plan is worse in a region.
    Worse {
        /// The region.
        region: String,
        /// In what.
        by: &'static str,
        /// The counts.
        arms: ArmPair,
    },
    /// A gateway has vetoed, lapsed or refused.
    Gateway {
        /// Its id.
        gateway: String,
        /// Its region.
        region: String,
        /// Its state.
        state: GatewayState,
        /// What it says about it.
        cause: String,
        /// The counts.
        arms: ArmPair,
    },
    /// A gateway does not follow, or none reports.
    Stalled {
        /// Those that do not; none where none reports.
        gateways: Vec<String>,
    },
    /// A stage has not had enough requests.
    Samples {
        /// How many it has had.
        requests: u64,
    },
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = |arms: &ArmPair| {
            let arm = |arm: &ArmCounts| format!("{} of {} failed", arm.errors, arm.requests);
            format!("new: {}; old: {}", arm(&arms.new), arm(&arms.old))
        };
        match self {
            Self::BlastRadius { changed, decided } => write!(
                f,
                "blast radius: {changed} of {decided} decisions would change"
            ),
            Self::Worse { region, by, arms } => {
                write!(f, "worse in {region} by {by} ({})", counts(arms))
            }
            Self::Gateway {
                gateway,
                region,
                state,
                cause,
                arms,
            } => match state {
                GatewayState::Vetoed => {
                    let counts = counts(arms);
                    write!(
                        f,
                        "gateway {gateway} in {region} has vetoed: {cause} ({counts})"
                    )
                }
                _ if cause.is_empty() => write!(f, "gateway {gateway} in {region} has {state}"),
                _ => write!(f, "gateway {gateway} in {region} has {state}: {cause}"),
            },
            Self::Stalled { gateways } if gateways.is_empty() => f.write_str(
                "no gateway reports: a rollout needs a living one that follows the store. Gateways look for its tables \
                 every 30 s, and their role needs `grant insert, update, delete on tidegate.traffic_gateway`: without it \
                 their log says that the report is refused. `tidegate policy status` lists those that report; one that is \
                 `pinned` has a policy file, and does not count",
            ),
            Self::Stalled { gateways } => {
                let shown = gateways[..gateways.len().min(GATEWAYS_SHOWN)].join(", ");
                write!(f, "these gateways do not follow: {shown}")?;
                match gateways.len().saturating_sub(GATEWAYS_SHOWN) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
            Self::Samples { requests } => {
                write!(
                    f,
                    "only {requests} requests were decided by the new revision in ten bakes"
                )
            }
        }
    }
}
