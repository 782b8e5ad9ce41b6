//! What a run has come to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::fault::Fault;
use super::history::{Action, Operation, Outcome};
use super::judge::{Guarantee, Violation, judge};

/// More say nothing new.
const VIOLATIONS_SHOWN: usize = 10;

/// Counts over all rounds, and the violations.
#[derive(Default)]
pub(super) struct Report {
    seed: u64,
    pub(super) took: Duration,
    operations: BTreeMap<&'static str, usize>,
    answered: usize,
    refused: usize,
    unknown: usize,
    by_replicas: BTreeMap<&'static str, usize>,
    faults: BTreeMap<Fault, usize>,
    violations: Vec<Violation>,
}

impl Report {
    /// The report of a run that is about to begin.
    pub(super) fn of(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    /// Judges a round and counts it.
    pub(super) fn add(&mut self, fault: Option<Fault>, history: &[Operation]) {
        for operation in history {
            self.count(operation);
        }
        if let Some(fault) = fault {
            *self.faults.entry(fault).or_default() += 1;
        }
        self.violations.extend(judge(history));
    }

    fn count(&mut self, operation: &Operation) {
        let name = match operation.action {
            Action::Write(_) => "write",
            Action::Read(level, _) => level.as_str(),
        };
        *self.operations.entry(name).or_default() += 1;
        match &operation.outcome {
            Outcome::Answered(answer) => {
                self.answered += 1;
                if !answer.primary {
                    *self.by_replicas.entry(name).or_default() += 1;
                }
            }
            Outcome::Refused => self.refused += 1,
            Outcome::Unknown => self.unknown += 1,
        }
    }

    pub(super) fn total(&self) -> usize {
        self.operations.values().sum()
    }

    /// How many answers of a kind came from a replica: without any, nothing was put to the test.
    pub(super) fn by_replicas(&self, name: &str) -> usize {
        self.by_replicas.get(name).copied().unwrap_or_default()
    }

    pub(super) fn broken(&self) -> Vec<Guarantee> {
        let mut broken: Vec<_> = self.violations.iter().map(|it| it.guarantee).collect();
        broken.sort_unstable();
        broken.dedup();
        broken
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (total, seconds) = (self.total(), self.took.as_secs_f64());
        let Self {
            seed,
            answered,
            refused,
            unknown,
            ..
        } = self;
        let rate = total as f64 / seconds;
        writeln!(f, "seed        {seed}")?;
        writeln!(
            f,
            "operations  {total} in {seconds:.0} s, {rate:.0} per second: {:?}",
            self.operations
        )?;
        writeln!(
            f,
            "outcomes    {answered} answered, {refused} refused, {unknown} unknown"
        )?;
        writeln!(f, "by replicas {:?}", self.by_replicas)?;
        let faults: usize = self.faults.values().sum();
        writeln!(f, "faults      {faults}: {:?}", self.faults)?;
        write!(f, "violations  {}", self.violations.len())?;
        for violation in self.violations.iter().take(VIOLATIONS_SHOWN) {
            write!(f, "\n  {violation}")?;
        }
        Ok(())
    }
}
