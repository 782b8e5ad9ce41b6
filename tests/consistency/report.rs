//! The result of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::fault::Fault;
use super::history::{Action, History, Operation, Outcome};
use super::judge::{Guarantee, Violation, judge};

/// More would add no information.
const VIOLATIONS_SHOWN: usize = 10;

/// Counts over all rounds, and the violations.
#[derive(Default)]
pub(super) struct Report {
    seed: u64,
    not_run: Vec<String>,
    pub(super) took: Duration,
    operations: BTreeMap<&'static str, usize>,
    answered: usize,
    refused: usize,
    told_of_loss: usize,
    /// Answers stating that the token was not used.
    disowned: usize,
    unknown: usize,
    by_replicas: BTreeMap<&'static str, usize>,
    faults: BTreeMap<Fault, usize>,
    /// Writes that a client had been shown and that a promotion lost.
    losses: usize,
    /// Answers of the primary that lacked a commit which a replica had shown: a known limit.
    early_sights: usize,
    violations: Vec<Violation>,
}

/// What holds all the time, under any fault.
const STANDING: &str = "the second gateway's role sees NULLs of WAL receivers and reads no file";

impl Report {
    /// The report of a run that is about to begin, possibly without clock jumps.
    pub(super) fn of(seed: u64, clocks_missing: Option<&String>) -> Self {
        let told = |why| {
            format!(
                "{:?}, because clocks cannot be changed: {why}",
                Fault::ClockJumped
            )
        };
        Self {
            seed,
            not_run: clocks_missing.map(told).into_iter().collect(),
            ..Self::default()
        }
    }

    /// Judges a round and counts it.
    pub(super) fn add(&mut self, fault: Option<Fault>, history: &History) {
        for operation in &history.operations {
            self.count(operation);
        }
        if let Some(fault) = fault {
            *self.faults.entry(fault).or_default() += 1;
        }
        let verdict = judge(history);
        self.losses += verdict.losses;
        self.early_sights += verdict.early_sights;
        self.violations.extend(verdict.violations);
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
                self.disowned += usize::from(answer.disowns_the_token());
                if !answer.primary {
                    *self.by_replicas.entry(name).or_default() += 1;
                }
            }
            Outcome::Refused => self.refused += 1,
            Outcome::Lost => self.told_of_loss += 1,
            Outcome::Unknown => self.unknown += 1,
        }
    }

    pub(super) fn total(&self) -> usize {
        self.operations.values().sum()
    }

    /// How many answers of a kind came from a replica: without any, nothing was tested.
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
            told_of_loss,
            disowned,
            unknown,
            losses,
            early_sights,
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
            "outcomes    {answered} answered ({disowned} token-unverifiable), {refused} refused, {told_of_loss} reported as lost, \
             {unknown} unknown"
        )?;
        writeln!(f, "by replicas {:?}", self.by_replicas)?;
        let faults: usize = self.faults.values().sum();
        writeln!(f, "faults      {faults}: {:?}", self.faults)?;
        for not_run in &self.not_run {
            writeln!(f, "NOT RUN     {not_run}")?;
        }
        writeln!(f, "standing    {STANDING}")?;
        writeln!(f, "losses      {losses} writes that had been shown")?;
        writeln!(
            f,
            "limits      {early_sights} commits that a replica showed before the primary"
        )?;
        write!(f, "violations  {}", self.violations.len())?;
        for violation in self.violations.iter().take(VIOLATIONS_SHOWN) {
            write!(f, "\n  {violation}")?;
        }
        Ok(())
    }
}
