//! Names of metrics, the set-up of logs, and what keeps them readable.

mod endpoint_metrics;
mod logs;
pub mod names;
mod throttle;

pub use endpoint_metrics::EndpointMetrics;
pub use logs::init_logs;
pub use throttle::Throttle;
