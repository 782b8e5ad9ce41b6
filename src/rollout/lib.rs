//! Rollouts of the traffic policy: what a gateway uses, when the leader goes on, and what is worse.
//!
//! Pure: rows of the policy store and reports of gateways are passed in, and so is the time, since some
//! start. Deliberately absent: the database, compiling, and requests.

mod refusal;
mod signature;
mod stage;
mod rows;
mod saved;
mod share;
mod arms;
mod worse;
mod windows;
mod report;
mod following;
mod stop;
mod course;
mod leading;

pub use arms::{ArmCounts, ArmPair, ArmReport};
pub use course::{Course, LeaderStep, Told};
pub use following::{Admission, Following, LEASE, Observed, OnTrial, Posture};
pub use leading::Leading;
pub use refusal::RevisionRefusal;
pub use report::{ALIVE, GatewayReport, GatewayState, UNPLACED};
pub use rows::{
    FinishedRollout, OpenRollout, RevisionHead, RolloutOutcome, RolloutPosition, StoreView,
};
pub use saved::{SavedPolicy, SavedPolicyError};
pub use share::belongs_to_new;
pub use signature::{KeyError, SigningKey, StoredRevision, TrustedKey, TrustedKeys, sha256_hex};
pub use stage::{RolloutStage, SHARE_ALL, SHARES, StageAt};
pub use stop::StopReason;
pub use windows::WindowJudge;
pub use worse::{ALPHA, WorseBy, greater, worse};

#[cfg(test)]
mod simulation;
