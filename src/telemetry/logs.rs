//! Where log lines go and what they look like.

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Starts logging to standard error. `filter` is `RUST_LOG`'s syntax; one that does not parse is
/// replaced by `info`.
pub fn init_logs(format: LogFormat, filter: Option<&str>) {
    let filter = EnvFilter::try_new(filter.unwrap_or("info"));
    let filter = filter.unwrap_or_else(|_bad| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second initialisation, as in tests, keeps the first.
    let _already_set = match format {
        LogFormat::Json => subscriber
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .try_init(),
        LogFormat::Text => subscriber.try_init(),
    };
}
