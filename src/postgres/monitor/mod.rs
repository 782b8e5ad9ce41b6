//! What is known about every node: fences, samples, condition.
//!
//! Fences and everything derived from them are pure; the monitor's tasks feed them. Choosing a node
//! is not done here, and nothing here compares two machines' clocks.

mod settings;
mod facts;
mod fence;
mod sample;
mod lineage;
mod reachability;
mod promotion;
mod roles;
mod knowledge;
mod observations;
mod backoff;
mod announce;
mod published;
mod fresh_look;
mod task;
mod handle;
mod steered;

pub use fence::FenceLog;
pub use handle::Monitor;
pub use knowledge::Knowledge;
pub use settings::{HealthSettings, MonitorSettings, ReplicationSettings};
pub use steered::steer;
