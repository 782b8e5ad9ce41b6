//! The policy store: revisions of the traffic policy and their rollouts, in PostgreSQL.
//!
//! [`StoreFollower`] is a gateway's side: it polls, checks, swaps and reports. [`StoreSession`] and
//! [`lead`] are the commands' side. What either decides is in `tidegate_rollout`, which is pure.
//! Deliberately absent: peers hand out no policies.

mod settings;
mod error;
mod statement;
mod compilations;
mod bodies;
mod state_dir;
mod state_keeper;
mod status;
mod reporter;
mod plan_switch;
mod nodes;
mod store_presence;
mod floors;
mod arm_judge;
mod follower;
mod rows;
mod session;
mod past;
mod rollouts;
mod lead;

pub use error::StoreError;
pub use follower::StoreFollower;
pub use lead::{LeadEvent, Leadership, lead};
pub use rows::{InForceRow, ListedRevision, NewRevision, NewRollout, OpenRow, PolicyRollback};
pub use session::StoreSession;
pub use settings::{FLEET_NAME, FLEET_STORE, STATE_DIR, StoreSettings};
pub use state_dir::state_dir_fault;
pub use status::{StoreShown, StoreStatus};
