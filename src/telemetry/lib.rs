//! Names of metrics, their text as it is read back, the set-up of logs, and what keeps them
//! readable.

mod exposition;
mod log_format;
mod logs;
pub mod names;
mod endpoint_metrics;
mod throttle;

pub use endpoint_metrics::EndpointMetrics;
pub use exposition::Exposition;
pub use log_format::LogFormat;
pub use logs::{LOG_FILTER, init_logs};
pub use throttle::Throttle;
