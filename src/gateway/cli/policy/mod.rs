//! `tidegate policy`: checks, tests, formats, shows, explains and replays a traffic policy.

mod explain;
mod replay;

use std::fs::File;
use std::io::{IsTerminal, Read, Write};

use tidegate_traffic::syntax::{BYTES_MAX, Diagnostics, Source, format, parse};
use tidegate_traffic::{Compiled, compile, show};

use super::Exit;
use super::arguments::PolicyCommand;
use tidegate_model::Environment;
use tidegate_traffic::plan::Plan;

/// Runs one of the subcommands.
pub(super) fn policy(command: PolicyCommand, environment: &Environment) -> Result<(), Exit> {
    match command {
        PolicyCommand::Check { file } => check(&file),
        PolicyCommand::Test { file } => test(&file),
        PolicyCommand::Fmt { check, file } => fmt(&file, check),
        PolicyCommand::Show { json, file } => show_plan(&file, json),
        PolicyCommand::Explain(command) => {
            let file = policy_file(command.policy.as_deref(), environment)?;
            explain::explain(&command, &file)
        }
        PolicyCommand::Replay { receipts, policy } => {
            let file = policy_file(policy.as_deref(), environment)?;
            replay::replay(&receipts, &file)
        }
    }
}

fn check(file: &str) -> Result<(), Exit> {
    let bytes = read(file)?;
    let source = Source::new(file, &bytes);
    let compiled = compile(&source);
    let summary = accepted(&compiled, &source)?;
    print(&format!("{file}: {summary}\n"))
}

fn test(file: &str) -> Result<(), Exit> {
    let bytes = read(file)?;
    let source = Source::new(file, &bytes);
    let compiled = compile(&source);
    if compiled.plan.is_none() {
        return accepted(&compiled, &source).map(|_| ());
    }
    let mut text = String::new();
    for test in &compiled.tests {
        let outcome = if test.failure.is_some() {
            "FAILED"
        } else {
            "ok    "
        };
        text.push_str(&format!("{outcome} {}\n", test.name));
    }
    print(&text)?;
    report(&compiled.diagnostics, &source);
    let failed = compiled
        .tests
        .iter()
        .filter(|test| test.failure.is_some())
        .count();
    match failed {
        0 => Ok(()),
        _ => Err(Exit::failed(format_args!(
            "{file}: {failed} of {} tests failed",
            compiled.tests.len()
        ))),
    }
}

fn fmt(file: &str, check: bool) -> Result<(), Exit> {
    let bytes = read(file)?;
    let source = Source::new(file, &bytes);
    let mut diagnostics = Diagnostics::default();
    let parsed = parse(&source, &mut diagnostics);
    refuse(&diagnostics, &source)?;
    let text = format(&parsed, &source);
    if text.as_bytes() == bytes {
        return Ok(());
    }
    if check {
        return Err(Exit::failed(format_args!(
            "{file}: is not in the normal form: `tidegate policy fmt` rewrites it"
        )));
    }
    std::fs::write(file, text).map_err(|error| Exit::failed(format_args!("{file}: {error}")))
}

fn show_plan(file: &str, json: bool) -> Result<(), Exit> {
    let bytes = read(file)?;
    let source = Source::new(file, &bytes);
    let compiled = compile(&source);
    accepted(&compiled, &source)?;
    let Some(plan) = &compiled.plan else {
        return Ok(());
    };
    let shown = show::show(plan);
    let text = match json {
        true => serde_json::to_string_pretty(&shown).map_err(Exit::failed)? + "\n",
        false => shown.to_string(),
    };
    print(&text)
}

/// Returns the file to use: the one given, else the one that a gateway with this environment reads.
fn policy_file(given: Option<&str>, environment: &Environment) -> Result<String, Exit> {
    let given = given.or_else(|| environment.get("TIDEGATE_TRAFFIC_POLICY"));
    let missing =
        || Exit::unusable("--policy or TIDEGATE_TRAFFIC_POLICY is required: a policy file");
    given.map(str::to_owned).ok_or_else(missing)
}

/// Compiles a file whose tests pass.
fn compiled(file: &str) -> Result<Plan, Exit> {
    let bytes = read(file)?;
    let source = Source::new(file, &bytes);
    let compiled = compile(&source);
    refuse(&compiled.diagnostics, &source)?;
    let no_plan = || Exit::unusable(format_args!("{file}: it cannot be used"));
    compiled.plan.ok_or_else(no_plan)
}

/// Reads a file, or as much of it as shows that it is too large.
fn read(file: &str) -> Result<Vec<u8>, Exit> {
    let mut bytes = Vec::new();
    let limit = BYTES_MAX as u64 + 1;
    let outcome = File::open(file).and_then(|open| open.take(limit).read_to_end(&mut bytes));
    outcome.map_err(|error| Exit::unusable(format_args!("{file}: {error}")))?;
    Ok(bytes)
}

/// Prints what is wrong; returns a summary if that is nothing but warnings.
fn accepted(compiled: &Compiled, source: &Source<'_>) -> Result<String, Exit> {
    refuse(&compiled.diagnostics, source)?;
    report(&compiled.diagnostics, source);
    Ok(compiled.summary())
}

fn refuse(diagnostics: &Diagnostics, source: &Source<'_>) -> Result<(), Exit> {
    if diagnostics.errors() == 0 {
        return Ok(());
    }
    report(diagnostics, source);
    Err(Exit::unusable(format_args!(
        "{}: {}",
        source.name(),
        diagnostics.summary()
    )))
}

fn report(diagnostics: &Diagnostics, source: &Source<'_>) {
    let mut stderr = std::io::stderr();
    let text = diagnostics.render(source, stderr.is_terminal());
    let _unwritable = stderr.write_all(text.as_bytes());
}

fn print(text: &str) -> Result<(), Exit> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(Exit::failed)
}
