//! The common parts of all drills: a name, the requirements, and the results.

use std::fmt::{self, Display};
use std::time::Duration;

/// How long a drill takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// With default settings.
    Full,
    /// With a dwell time that a test suite can wait for.
    Short,
}

impl Length {
    /// `[steering] dwell`.
    pub(super) fn dwell(self) -> Duration {
        match self {
            Self::Full => Duration::from_secs(30),
            Self::Short => Duration::from_secs(8),
        }
    }

    /// The configuration that sets it.
    pub(super) fn settings(self) -> String {
        format!("[steering]\ndwell = \"{}s\"\n", self.dwell().as_secs())
    }
}

/// One line of the table.
pub(super) struct Row {
    pub(super) drill: &'static str,
    pub(super) shown: String,
    pub(super) missed: Vec<String>,
}

impl Row {
    pub(super) fn new(drill: &'static str) -> Self {
        Self {
            drill,
            shown: String::new(),
            missed: Vec::new(),
        }
    }

    /// Records a figure and whether it meets its requirement.
    pub(super) fn show(&mut self, figure: impl Display, holds: bool) {
        let figure = figure.to_string();
        if !self.shown.is_empty() {
            self.shown.push_str("; ");
        }
        self.shown.push_str(&figure);
        if !holds {
            self.missed.push(figure);
        }
    }

    /// Ends a test of its own.
    pub(super) fn verdict(&self) {
        assert!(self.missed.is_empty(), "{self}\nmissed: {:?}", self.missed);
    }
}

impl Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.missed.is_empty() {
            "holds"
        } else {
            "FAILS"
        };
        write!(f, "{verdict} | {:<36} | {}", self.drill, self.shown)
    }
}

/// A duration in milliseconds, as text.
pub(super) fn ms(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}

/// Prints the progress of a long drill.
#[expect(clippy::print_stdout, reason = "a drill of many objects takes long")]
pub(super) fn progress(of: fmt::Arguments<'_>) {
    println!("{of}");
}
