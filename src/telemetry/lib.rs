//! Names of metrics, a reader for their text format, the set-up of logs, and throttling of repeated
//! messages.

mod exposition;
mod interval;
mod log_format;
mod logs;
pub mod names;
mod endpoint_metrics;
mod throttle;

pub use endpoint_metrics::EndpointMetrics;
pub use exposition::Exposition;
pub use interval::Interval;
pub use log_format::LogFormat;
pub use logs::{LOG_FILTER, init_logs};
pub use throttle::Throttle;
