//! The destination and the format of log lines.

use std::io::{self, Stderr, Write};
use std::sync::Arc;

use metrics::counter;
use tokio::time::{Duration, Instant};
use tracing::Metadata;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::util::SubscriberInitExt;

use crate::json_lines::JsonLines;
use crate::line_queue::{LineQueue, LineWriter};
use crate::log_values::without_values;
use crate::{LogFormat, Throttle, names};
use tidegate_model::settings::Setting;

/// The target of access lines: a line for each request.
pub const ACCESS: &str = "tidegate::access";

/// How often a warning says that lines were dropped.
const DROPPED_SAID_EVERY: Duration = Duration::from_secs(10);

const FILTER_DEFAULT: &str = "info";

/// A library whose errors are those of clients, each of which has its access line: off, unless a filter names it.
const OFF: &str = "s3s=off";

/// Which log lines are written.
pub const LOG_FILTER: Setting = Setting {
    variable: Some("RUST_LOG"),
    default: || FILTER_DEFAULT.to_owned(),
    range: || "a filter of the `tracing` crates, such as `info,tidegate=debug`".to_owned(),
    meaning: "The log level.",
    ..Setting::UNNAMED
};

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter does not have `RUST_LOG`'s syntax.
    #[error(transparent)]
    Filter(#[from] ParseError),
    /// The thread that writes the lines did not start.
    #[error("no thread for access lines: {0}")]
    Writer(#[source] io::Error),
}

/// Starts logging to standard error, at the level `info` unless a filter is given. Access lines are written
/// while the returned writer lives.
///
/// # Errors
/// A [`LogError`].
pub fn init_logs(format: LogFormat, filter: Option<&str>) -> Result<LineWriter, LogError> {
    let filter = filter_of(filter)?;
    let queue = Arc::new(LineQueue::new());
    let writer = LineWriter::start(&queue, io::stderr(), count_dropped());
    let writer = writer.map_err(LogError::Writer)?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Destination(queue));
    // A second initialisation, as in tests, keeps the first.
    let _already_set = match format {
        LogFormat::Json => {
            let subscriber = subscriber.fmt_fields(JsonFields::new());
            let subscriber = subscriber.event_format(JsonLines::new());
            without_values(subscriber.finish()).try_init()
        }
        LogFormat::Text => without_values(subscriber.finish()).try_init(),
    };
    Ok(writer)
}

fn filter_of(given: Option<&str>) -> Result<EnvFilter, ParseError> {
    let given = given.unwrap_or(FILTER_DEFAULT);
    // Of two directives for the same target, the last one holds.
    EnvFilter::try_new(format!("{OFF},{given}"))
}

/// Where a line goes: lines of requests are gathered, the others are written at once and never dropped.
struct Destination(Arc<LineQueue>);

impl<'a> MakeWriter<'a> for Destination {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line::AtOnce(io::stderr())
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line<'a> {
        match metadata.target() {
            ACCESS => Line::Gathered(&self.0),
            _ => self.make_writer(),
        }
    }
}

/// Writes one line.
enum Line<'a> {
    Gathered(&'a LineQueue),
    AtOnce(Stderr),
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self {
            Self::Gathered(queue) => {
                queue.push(line);
                Ok(line.len())
            }
            Self::AtOnce(stderr) => stderr.write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Counts dropped lines, and says so now and then.
fn count_dropped() -> impl FnMut(u64) {
    let mut throttle = Throttle::new(DROPPED_SAID_EVERY);
    let mut lines = 0;
    move |dropped| {
        counter!(names::ACCESS_LINES_DROPPED).increment(dropped);
        lines += dropped;
        if throttle.pass(Instant::now()).is_some() {
            tracing::warn!(
                lines,
                "access lines were dropped: whatever reads the log is too slow"
            );
            lines = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::{Level, subscriber};

    use super::*;

    #[test]
    fn errors_of_clients_are_logged_only_if_the_filter_names_their_library() {
        for (filter, expected) in [
            (None, (false, true)),
            (Some("info,tidegate=debug"), (false, true)),
            (Some("debug,s3s=error"), (true, true)),
            (Some("info,s3s::ops=error"), (true, true)),
            (Some("s3s=debug"), (true, false)),
            (Some(""), (false, false)),
        ] {
            let filter_of = filter_of(filter).unwrap();
            let of_test = tracing_subscriber::fmt().with_env_filter(filter_of);
            let is_logged = subscriber::with_default(of_test.finish(), || {
                (
                    tracing::enabled!(target: "s3s::ops", Level::ERROR),
                    tracing::enabled!(target: "tidegate::storage", Level::ERROR),
                )
            });
            assert_eq!(is_logged, expected, "{filter:?}");
        }
    }
}
