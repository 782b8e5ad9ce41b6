//! The output of the demo: lines on standard output, the last of which are updated on a terminal.

use std::io::{IsTerminal, Stdout, Write, stdout};

use anyhow::Result;

/// Standard output, written line by line.
pub(super) struct Screen {
    out: Stdout,
    live: bool,
    shown: usize,
}

impl Screen {
    pub(super) fn new() -> Self {
        let out = stdout();
        Self {
            live: out.is_terminal(),
            out,
            shown: 0,
        }
    }

    /// Whether lines can be replaced.
    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    /// Writes lines below all others; fails if the output is closed.
    pub(super) fn print(&mut self, text: &str) -> Result<()> {
        self.shown = 0;
        writeln!(self.out, "{text}")?;
        Ok(self.out.flush()?)
    }

    /// Writes lines in place of the ones it last wrote, or below them where that is not possible.
    pub(super) fn refresh(&mut self, lines: &[String]) -> Result<()> {
        if self.live && self.shown > 0 {
            // Move up to the first of them, then erase everything below the cursor.
            write!(self.out, "\x1b[{}A\x1b[J", self.shown)?;
        }
        for line in lines {
            writeln!(self.out, "{line}")?;
        }
        self.shown = lines.len();
        Ok(self.out.flush()?)
    }
}
