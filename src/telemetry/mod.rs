//! Names of metrics, the set-up of logs, and what keeps them readable.

mod logs;
pub mod names;
mod throttle;

pub use logs::init_logs;
pub use throttle::Throttle;
