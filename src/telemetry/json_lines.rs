//! Log lines as JSON objects, whose severity is `severity`, since `level` is a request's consistency level.
//!
//! An event outside of all spans, as every access line is, is written by [`Members`] without allocation;
//! what lies in spans is left to `tracing_subscriber`. Both write the same members in the same order.

use std::cell::RefCell;
use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{self, Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent};
use tracing_subscriber::registry::LookupSpan;

/// Room for a request's line.
const LINE_BYTES: usize = 1_024;

thread_local! {
    static LINE: RefCell<String> = RefCell::new(String::with_capacity(LINE_BYTES));
}

/// Writes events as JSON objects, one a line.
pub(crate) struct JsonLines(Format<Json>);

impl JsonLines {
    pub(crate) fn new() -> Self {
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
        LINE.with_borrow_mut(|line| {
            line.clear();
            line.push_str("{\"severity\":\"");
            line.push_str(event.metadata().level().as_str());
            line.push_str("\",");
            match context.event_scope() {
                None => write_members(line, event)?,
                Some(_) => {
                    // After its own opening brace.
                    let start = line.len() - 1;
                    let format = &self.0;
                    format.format_event(context, Writer::new(line), event)?;
                    line.replace_range(start..start + 2, ",");
                }
            }
            writer.write_str(line)
        })
    }
}

/// Writes an event's members but for its severity, and ends the line.
fn write_members(line: &mut String, event: &Event<'_>) -> fmt::Result {
    line.push_str("\"timestamp\":\"");
    SystemTime.format_time(&mut Writer::new(line))?;
    line.push('"');
    event.record(&mut Members(line));
    line.push_str(",\"target\":");
    push_text(line, event.metadata().target());
    line.push_str("}\n");
    Ok(())
}

/// Appends each field of an event as a member of an object.
struct Members<'a>(&'a mut String);

impl Members<'_> {
    fn begin(&mut self, field: &Field) {
        self.0.push(',');
        push_text(self.0, field.name());
        self.0.push(':');
    }

    /// Writing to a string does not fail.
    fn push(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.begin(field);
        let _infallible = self.0.write_fmt(value);
    }
}

impl Visit for Members<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.begin(field);
        // The longest has 24 bytes.
        let mut digits = [0; 32];
        let mut rest = &mut digits[..];
        let written = serde_json::to_writer(&mut rest, &value);
        let free = rest.len();
        let digits = &digits[..digits.len() - free];
        match (written, std::str::from_utf8(digits)) {
            (Ok(()), Ok(digits)) => self.0.push_str(digits),
            (Err(_), _) | (_, Err(_)) => self.0.push_str("null"),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, format_args!("{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.begin(field);
        push_text(self.0, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.begin(field);
        self.0.push('"');
        let _infallible = write!(Escaped(self.0), "{value:?}");
        self.0.push('"');
    }
}

/// Escapes what is written to it, as in a JSON text.
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        push_escaped(self.0, piece)
    }
}

fn push_text(line: &mut String, text: &str) {
    line.push('"');
    let _infallible = push_escaped(line, text);
    line.push('"');
}

/// Almost nothing needs escaping.
fn push_escaped(line: &mut String, text: &str) -> fmt::Result {
    let is_special = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    if !text.bytes().any(is_special) {
        line.push_str(text);
        return Ok(());
    }
    let quoted = serde_json::to_string(text).or(Err(fmt::Error))?;
    line.push_str(quoted.get(1..quoted.len() - 1).unwrap_or_default());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::SubscriberExt;

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

    /// Lines without their timestamps and severities.
    fn written(
        format: impl FormatEvent<Registry, JsonFields> + Send + Sync + 'static,
        log: fn(),
    ) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .fmt_fields(JsonFields::new())
            .event_format(format);
        tracing::subscriber::with_default(Registry::default().with(layer), log);
        let lines = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let without_time = |line: &str| {
            let (start, rest) = line.split_once("\"timestamp\":\"").unwrap();
            let (time, rest) = rest.split_once('"').unwrap();
            assert_eq!(time.len(), "2026-01-01T00:00:00.000000Z".len(), "{line}");
            format!("{}{rest}\n", start.replace("\"severity\":\"INFO\",", ""))
        };
        lines.lines().map(without_time).collect()
    }

    #[test]
    fn lines_are_those_of_tracing_subscriber() {
        let log = || {
            let absent: Option<&str> = None;
            tracing::info!(
                text = "a \"quoted\" \\ line\n\t\u{7f}\u{1b}[31m \u{2028} ü",
                empty = "",
                absent,
                shown = tracing::field::display("\"\r"),
                debugged = ?["a", "b"],
                minus = -3,
                many = u64::MAX,
                yes = true,
                whole = 1.0,
                small = 0.000_012_345,
                large = 1e300,
                endless = f64::INFINITY,
                error = &io::Error::other("a \"cause\"") as &dyn std::error::Error,
                r#type = "reserved",
                "message {}", 7
            );
            tracing::info!("");
            let _outer = tracing::info_span!("outer", node = "primary").entered();
            let _inner = tracing::info_span!("inner").entered();
            tracing::info!(level = "bounded", "in spans");
        };
        let expected = format::json().flatten_event(true).with_level(false);
        let expected = written(expected.with_current_span(false), log);
        assert_eq!(written(JsonLines::new(), log), expected);
        assert_eq!(expected.lines().count(), 3);
    }
}
