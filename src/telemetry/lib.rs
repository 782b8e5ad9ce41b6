//! Names of metrics, their recorder, a reader for their text format, traces, the set-up of logs, throttling of
//! repeated messages, and panics of background tasks.

pub mod names;
mod stripes;
mod throttle;
mod panics;
pub mod trace;
mod labels;
mod exemplars;
mod recorder;
mod openmetrics;
mod exposition;
mod interval;
mod log_format;
mod json_lines;
mod line_queue;
mod log_values;
mod logs;
mod endpoint_metrics;

pub use endpoint_metrics::EndpointMetrics;
pub use exemplars::{DURATION_EDGES, note_exemplar};
pub use exposition::Exposition;
pub use interval::Interval;
pub use line_queue::LineWriter;
pub use log_format::LogFormat;
pub use logs::{ACCESS, LOG_FILTER, LogError, init_logs};
pub use openmetrics::{OPENMETRICS, accepts_openmetrics, openmetrics};
pub use panics::{PANIC_PAUSE, again_and_again, survive};
pub use recorder::{StripedRecorder, StripedSeries};
pub use stripes::{STRIPES, stripe_of_this_thread};
pub use throttle::Throttle;
