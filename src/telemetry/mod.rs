//! Names of metrics and the set-up of logs.

pub mod names;
