//! From the text of a policy to the plan that decisions are made from, with all errors on the way.

use tidegate_model::printable;

use crate::check::{self, Checked};
use crate::plan::{Plan, Sources, Window, WindowEffect};
use crate::syntax::{Diagnostic, Diagnostics, Quoted, Source, Span, counted, parse};
use crate::testing;

/// A policy file, read, checked and tested.
#[derive(Debug)]
pub struct Compiled {
    /// Errors and warnings; if there is an error, there is no plan.
    pub diagnostics: Diagnostics,
    /// The plan that decisions are made from.
    pub plan: Option<Plan>,
    /// Its tests, in the order of the file; none are run if there are other errors.
    pub tests: Vec<TestResult>,
}

impl Compiled {
    /// Summarises the file: `4 regions, 3 policies, 2 windows, 1 test passed`.
    pub fn summary(&self) -> String {
        let Some(plan) = &self.plan else {
            return self.diagnostics.summary();
        };
        let policies = match plan.policies().len() {
            1 => "1 policy".to_owned(),
            count => format!("{count} policies"),
        };
        let mut parts = vec![counted(plan.regions().len(), "region"), policies];
        if !plan.windows().is_empty() {
            parts.push(counted(plan.windows().len(), "window"));
        }
        if !self.tests.is_empty() {
            let passed = self
                .tests
                .iter()
                .filter(|test| test.failure.is_none())
                .count();
            parts.push(format!("{} passed", counted(passed, "test")));
        }
        if self.diagnostics.warnings() > 0 {
            parts.push(self.diagnostics.summary());
        }
        parts.join(", ")
    }
}

/// The result of a test.
#[derive(Clone, Debug)]
pub struct TestResult {
    /// Its name.
    pub name: String,
    /// The actual result and the reason, if it failed.
    pub failure: Option<Diagnostic>,
}

/// Reads, checks and compiles a policy, and runs its tests.
///
/// A failing test is an error like any other, but there is a plan: only the tests contradict it.
/// Takes less than two seconds for any text, and never panics.
pub fn compile(source: &Source<'_>) -> Compiled {
    let mut diagnostics = Diagnostics::default();
    let parsed = parse(source, &mut diagnostics);
    let checked = check::check(&parsed, &mut diagnostics);
    let tests = testing::read_all(&parsed, &checked, &mut diagnostics);
    let mut compiled = Compiled {
        plan: None,
        tests: Vec::new(),
        diagnostics,
    };
    if compiled.diagnostics.errors() > 0 {
        return compiled;
    }
    let plan = match Plan::new(sources(&checked)) {
        Ok(plan) => plan,
        Err(error) => {
            let refused = Diagnostic::error(Span::default(), error.to_string());
            compiled.diagnostics.push(refused);
            return compiled;
        }
    };
    let mut runner = testing::Runner::new(&plan, checked.declared.first, &tests);
    for test in &tests {
        let outcome = runner.run(test);
        let failure = outcome.err().map(|instead| {
            let title = format!("test {} failed: {instead}", Quoted(test.name.text));
            Diagnostic::error(test.span, title).label("expected")
        });
        if let Some(failure) = &failure {
            compiled.diagnostics.push(failure.clone());
        }
        compiled.tests.push(TestResult {
            name: printable(test.name.text),
            failure,
        });
    }
    compiled.plan = Some(plan);
    compiled
}

/// Returns the parts of a plan; complete only if there are no errors.
fn sources(checked: &Checked<'_, '_>) -> Sources {
    use crate::check::draft::{DraftEffect, Only};
    let policies = checked.policies.iter().map(|policy| crate::plan::Policy {
        name: policy.name.text.into(),
        matches: policy
            .matches
            .clone()
            .unwrap_or(crate::plan::Condition::ALWAYS),
        only: match policy.only {
            Only::These(only, _) => Some(only),
            Only::Any | Only::Unknown => None,
        },
        tiers: policy
            .tiers
            .iter()
            .flatten()
            .map(|(tier, _)| tier.clone())
            .collect(),
        affinity: policy.affinity.clone(),
        clauses: policy.clauses.planned(),
    });
    let windows = checked.windows.iter().map(|window| Window {
        name: window.name.text.into(),
        periods: window.periods.clone(),
        effect: match &window.effect {
            Some(DraftEffect::Drain(regions, _)) => WindowEffect::Drain(*regions),
            Some(DraftEffect::Replace(clauses)) => WindowEffect::Replace(clauses.planned()),
            None => WindowEffect::Replace(crate::plan::Clauses::default()),
        },
    });
    Sources {
        regions: checked.declared.regions.clone(),
        policies: policies.collect(),
        defaults: checked.defaults.planned(),
        windows: windows.collect(),
    }
}
