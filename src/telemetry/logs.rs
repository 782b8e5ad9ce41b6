//! Where log lines go and what they look like.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::format::{self, Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent};
use tracing_subscriber::registry::LookupSpan;

use crate::LogFormat;

/// Starts logging to standard error; without a filter from `info` on.
///
/// # Errors
/// When the filter is not in `RUST_LOG`'s syntax.
pub fn init_logs(format: LogFormat, filter: Option<&str>) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(filter.unwrap_or("info"))?;
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
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        let severity = event.metadata().level();
        let members = line.strip_prefix('{').unwrap_or(&line);
        write!(writer, "{{\"severity\":\"{severity}\",{members}")
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
