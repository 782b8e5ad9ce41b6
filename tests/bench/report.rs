//! The table of `docs/performance.md` and `RESULTS.md`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::Result;

use super::contest::{Pace, Rounds};
use super::machine::Machine;

/// Prints a line of progress.
pub(crate) fn say(line: &str) {
    let _closed = writeln!(std::io::stdout(), "{line}");
}

/// One row of the table.
struct Row {
    measure: String,
    result: String,
    target: String,
    met: bool,
}

/// The text before the counts that the tests compare with.
const INSTRUCTIONS: &str = "\n## Instructions\n\nOf one request or decision, counted by callgrind in the \
    profile of the tests, which optimises little: they are compared with themselves alone. The suite \
    fails when one grows by a tenth, or by 3 % with 1,000 policy rows and endpoints more.\n\n";

/// The results of a run.
pub(crate) struct Report {
    head: String,
    rows: Vec<Row>,
    details: String,
}

impl Report {
    pub(crate) fn new(machine: &Machine, pace: &Pace) -> Self {
        let Machine {
            description,
            versions,
            commit,
            cores,
        } = machine;
        let pinned = match cores {
            1 => "One core for everything: figures of servers are those of their load too.",
            _ => {
                "Where a row says so, the server runs on one core and its load on another; elsewhere \
                 all share all cores."
            }
        };
        let head = format!(
            "# Speed, measured\n\n\
             Written by `make bench`, all in one run, everything on loopback. What is compared takes \
             turns, {rounds} rounds of {seconds} s each; rates are medians of the rounds, and so \
             are ratios of the ratios within each. {pinned}\n\n\
             * Machine: {description}\n\
             * Versions: {versions}\n\
             * Commit: {commit}\n",
            rounds = pace.rounds,
            seconds = pace.seconds,
        );
        Self {
            head,
            rows: Vec::new(),
            details: String::new(),
        }
    }

    /// Adds a row of the table.
    pub(crate) fn row(
        &mut self,
        measure: impl Into<String>,
        result: impl Into<String>,
        target: impl Into<String>,
        met: bool,
    ) {
        self.rows.push(Row {
            measure: measure.into(),
            result: result.into(),
            target: target.into(),
            met,
        });
    }

    /// Adds the figures behind one or more rows.
    pub(crate) fn detail(&mut self, title: &str, rounds: &[Rounds]) {
        let text = &mut self.details;
        let _infallible = write!(
            text,
            "\n### {title}\n\n| | requests/s | lowest to highest | p99 ms |\n|---|--:|--:|--:|\n"
        );
        for contender in rounds {
            let Rounds {
                name,
                per_second,
                p99_ms,
                ..
            } = contender;
            let (low, high) = contender.range();
            let p99 = match p99_ms.is_nan() {
                true => "–".to_owned(),
                false => format!("{p99_ms:.2}"),
            };
            let _infallible = writeln!(
                text,
                "| {name} | {per_second:.0} | {low:.0} to {high:.0} | {p99} |"
            );
        }
    }

    pub(crate) fn print(&self) {
        say("");
        for row in &self.rows {
            let met = if row.met { "met   " } else { "MISSED" };
            say(&format!(
                "{met}  {}: {} (target {})",
                row.measure, row.result, row.target
            ));
        }
    }

    pub(crate) fn write(&self) -> Result<()> {
        let mut text = self.head.clone();
        text.push_str("\n| measure | result | target | |\n|---|---|---|---|\n");
        for row in &self.rows {
            let met = if row.met { "met" } else { "**missed**" };
            writeln!(
                text,
                "| {} | {} | {} | {met} |",
                row.measure, row.result, row.target
            )?;
        }
        text.push_str("\n## Figures\n");
        text.push_str(&self.details);
        text.push_str(INSTRUCTIONS);
        for line in include_str!("instructions.txt").lines() {
            writeln!(text, "* {line}")?;
        }
        write!(text, "\n{}", include_str!("notes.md"))?;
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/RESULTS.md");
        std::fs::write(&file, text)?;
        say(&format!("\nwritten to {}", file.display()));
        Ok(())
    }
}
