//! Runs a test: computes the facts from its givens, and the decision.

use super::expected::Wanted;
use super::never::Prover;
use super::read::Test;
use super::timeline::{STEPS_MAX, TOO_LONG, play};
use crate::decide::decide;
use crate::facts::{Conditions, Facts, by_distance};
use crate::plan::{Plan, RegionIndex};
use crate::schedule::Schedule;

/// Runs the tests of a file.
pub(crate) struct Runner<'a> {
    plan: &'a Plan,
    schedule: Schedule,
    /// The region where requests enter by default.
    first: Option<RegionIndex>,
    /// Steps that timelines may still take.
    steps: usize,
    prover: Prover<'a>,
}

impl<'a> Runner<'a> {
    /// Runs these tests with a plan; `first` is the region where requests enter by default.
    pub(crate) fn new(plan: &'a Plan, first: Option<RegionIndex>, tests: &[Test<'_>]) -> Self {
        let proven = tests
            .iter()
            .filter(|test| matches!(test.expected.wanted, Wanted::Never(_)));
        let givens: Vec<_> = proven.map(|test| &test.givens).collect();
        Self {
            schedule: Schedule::new(plan.windows()),
            plan,
            first,
            steps: STEPS_MAX,
            prover: Prover::new(plan, &givens),
        }
    }

    /// Runs a test.
    ///
    /// # Errors
    ///
    /// States the actual result, and the reason.
    pub(crate) fn run(&mut self, test: &Test<'_>) -> Result<(), String> {
        let (plan, givens) = (self.plan, &test.givens);
        if let Wanted::Never(never) = test.expected.wanted {
            let steps = &mut self.steps;
            return self.prover.prove(&self.schedule, givens, never, steps);
        }
        let Some(outcome) = play(plan, &self.schedule, givens, &mut self.steps) else {
            return Err(TOO_LONG.to_owned());
        };
        let local = givens.entry.or(self.first);
        let open = givens.time_ms.map(|time_ms| self.schedule.open(time_ms));
        let facts = Facts::new(
            plan,
            Conditions {
                local,
                near: by_distance(plan, local),
                draining: outcome.draining,
                unreachable: outcome.unreachable,
                open: open.unwrap_or_default(),
                standings: outcome.standings,
            },
        );
        let owned = givens.request();
        let request = owned.request();
        let decision = decide(plan, &facts, &request);
        test.expected.compare(plan, &facts, &request, &decision)
    }
}
