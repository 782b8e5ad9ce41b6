//! The destination and the format of log lines.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::format::{self, Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent};
use tracing_subscriber::registry::LookupSpan;

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
            .fmt_fields(JsonFields::new())
            .event_format(JsonLines::new())
            .try_init(),
        LogFormat::Text => subscriber.try_init(),
    };
    Ok(())
}

/// Room for a request's line.
const LINE_BYTES: usize = 768;

/// JSON lines whose severity is `severity`, since `level` is a request's consistency level.
struct JsonLines(Format<Json>);

impl JsonLines {
    fn new() -> Self {
        let format = format::json().flatten_event(true).with_level(false);
        Self(format.with_current_span(false))
    }
}

impl<S> FormatEvent<S, JsonFields> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::with_capacity(LINE_BYTES);
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        writer.write_str("{\"severity\":\"")?;
        writer.write_str(event.metadata().level().as_str())?;
        writer.write_str("\",")?;
        writer.write_str(line.strip_prefix('{').unwrap_or(&line))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn severity_and_consistency_level_have_a_key_each() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .fmt_fields(JsonFields::new())
            .event_format(JsonLines::new())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let _span = tracing::info_span!("monitor", node = "primary").entered();
            tracing::warn!(level = "bounded", status = 200, "request");
        });
        let line = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(
            line.starts_with(r#"{"severity":"WARN","timestamp":""#),
            "{line}"
        );
        assert_eq!(line.matches(r#""level":"#).count(), 1, "{line}");
        for member in [
            r#""message":"request""#,
            r#""level":"bounded""#,
            r#""status":200"#,
            r#""node":"primary""#,
        ] {
            assert!(line.contains(member), "{line}");
        }
        assert!(line.ends_with("}\n"), "{line}");
    }
}
