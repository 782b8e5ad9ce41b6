//! A policy file, read and compiled.

use std::io::{self, Read};
use std::sync::Arc;

use tidegate_model::open_file;
use tidegate_traffic::compile;
use tidegate_traffic::plan::Plan;
use tidegate_traffic::syntax::{BYTES_MAX, Severity, Source};

/// A traffic policy that can be put in force: it has no errors and its tests pass.
#[derive(Debug)]
pub struct PolicyFile {
    /// The file's name, as the operator gave it.
    pub name: String,
    /// Its number in the policy store; 0 if it is not from there.
    pub revision: u32,
    /// Its text.
    pub text: String,
    /// What it contains, in one line.
    pub summary: String,
    /// Its warnings, as `policy check` prints them; empty if there are none.
    pub warnings: String,
    /// The plan that decisions are made from.
    pub plan: Arc<Plan>,
}

/// Why a policy file cannot be used. Displays without its name.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It has errors, or its tests fail.
    #[error("{first} ({summary})")]
    Refused {
        /// The first error, and where it is.
        first: String,
        /// How many there are.
        summary: String,
        /// All of them, as `policy check` prints them.
        report: String,
        /// Whether nothing but a test is wrong.
        only_tests: bool,
    },
}

impl PolicyFile {
    /// Reads and compiles a file, and runs its tests. Takes less than two seconds.
    ///
    /// # Errors
    /// When the file cannot be read, has an error, or a test of it fails.
    pub fn read(name: &str) -> Result<Self, PolicyFileError> {
        let mut bytes = Vec::new();
        let limit = BYTES_MAX as u64 + 1;
        open_file(name)?.take(limit).read_to_end(&mut bytes)?;
        Self::of(name, &bytes)
    }

    /// Whether both are the same revision with the same text: another database may have another text
    /// under a number.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || (self.revision, &self.text) == (other.revision, &other.text)
    }

    /// Compiles a text.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn of(name: &str, text: &[u8]) -> Result<Self, PolicyFileError> {
        let source = Source::new(name, text);
        let compiled = compile(&source);
        let diagnostics = &compiled.diagnostics;
        let report = diagnostics.render(&source, false);
        let summary = compiled.summary();
        match compiled.plan {
            Some(plan) if diagnostics.errors() == 0 => Ok(Self {
                name: name.to_owned(),
                revision: 0,
                text: String::from_utf8_lossy(text).into_owned(),
                summary,
                warnings: report,
                plan: Arc::new(plan),
            }),
            plan => {
                let shown = diagnostics.shown();
                let mut errors = shown.iter().filter(|it| it.severity == Severity::Error);
                let first = errors.next().map(|it| it.in_one_line(&source));
                Err(PolicyFileError::Refused {
                    first: first.unwrap_or_default(),
                    summary: diagnostics.summary(),
                    report,
                    only_tests: plan.is_some(),
                })
            }
        }
    }
}
