//! Names of metrics, and the set-up of logs and of the recorder.

mod logs;
pub mod names;

pub use logs::init_logs;
