//! The destination and the format of log lines.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::LogFormat;
use tidegate_model::settings::Setting;

const FILTER_DEFAULT: &str = "info";

/// Which log lines are written.
pub const LOG_FILTER: Setting = Setting {
    variable: Some("RUST_LOG"),
    default: || FILTER_DEFAULT.to_owned(),
    range: || "a filter of the `tracing` crates, such as `info,tidegate=debug`".to_owned(),
    meaning: "The log level.",
    ..Setting::UNNAMED
};

/// Starts logging to standard error, at the level `info` unless a filter is given.
///
/// # Errors
/// If the filter does not have `RUST_LOG`'s syntax.
pub fn init_logs(format: LogFormat, filter: Option<&str>) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(filter.unwrap_or(FILTER_DEFAULT))?;
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
    Ok(())
}
