//! The drills: steady traffic, a real fault in the middle, and the effects that clients must not
//! notice.
//!
//! Every drill runs on real servers and the real binary. `make drill` runs them at full length and
//! prints a table; the test suite runs a short form, whose only difference is the settings that
//! shorten the time until a node is trusted again.

mod drill;
mod decision;
mod down_and_up;
mod far_standby;
mod fleet;
mod late_replica;
mod lost_replica;
mod own_writes;
mod rollout_arrival;
mod rollout_faults;
mod scene;
mod spill;
mod storage;
mod storage_drain;
mod storage_moves;
mod storage_objects;
mod storage_year;
mod table;
mod traffic;
mod unsteady_replica;
