//! `tidegate policy`: checks, tests, formats, shows, explains and replays a traffic policy; stores and
//! rolls out its revisions.

mod arguments;
mod diff;
mod explain;
mod file;
mod followed;
mod interrupts;
mod key;
mod operator;
mod replay;
mod rollback;
mod rollout;
mod status;
mod store;

pub(super) use arguments::PolicyCommand;

use serde_json::json;
use tidegate_model::{Environment, printable};
use tidegate_traffic::compile;
use tidegate_traffic::syntax::{Diagnostics, Source, format, parse};

use super::Exit;
use crate::gateway::config::fleet_peers;
use file::{accepted, compiled, policy_file, print_either, print_json, read, refuse, report};

/// Runs one of the subcommands; with `--json`, standard output says how it has failed, too.
pub(super) async fn policy(command: PolicyCommand, environment: &Environment) -> Result<(), Exit> {
    let json = command.json();
    let ended = run(command, environment).await;
    if let Err(exit) = &ended
        && json
        && !exit.in_json
    {
        let message = printable(&exit.message);
        print_json(&json!({ "error": { "code": exit.code, "message": message } }))?;
    }
    ended
}

async fn run(command: PolicyCommand, environment: &Environment) -> Result<(), Exit> {
    match command {
        PolicyCommand::Check { file, json } => check(&file, json),
        PolicyCommand::Test { file, json } => test(&file, json),
        PolicyCommand::Fmt { check, file, json } => fmt(&file, check, json),
        PolicyCommand::Show { json, text, policy } => {
            store::show(environment, &policy, (json, text)).await
        }
        PolicyCommand::Push(command) => store::push(environment, &command).await,
        PolicyCommand::List { json } => store::list(environment, json).await,
        PolicyCommand::Diff { old, new, json } => diff::diff(environment, (&old, &new), json).await,
        PolicyCommand::Key { file, json } => key::key(&file, json),
        PolicyCommand::Rollout(command) => rollout::rollout(environment, &command).await,
        PolicyCommand::Status { json } => status::status(environment, json).await,
        PolicyCommand::Pause { json } => rollout::pause(environment, true, json).await,
        PolicyCommand::Resume { json } => rollout::pause(environment, false, json).await,
        PolicyCommand::Abort { json } => rollout::abort(environment, json).await,
        PolicyCommand::Rollback { to, json } => rollback::roll_back(environment, to, json).await,
        PolicyCommand::Explain(command) => {
            let plan = match &command.revision {
                Some(revision) => store::plan(environment, revision).await?,
                None => compiled(&policy_file(command.policy.as_deref(), environment)?)?,
            };
            explain::explain(&command, &plan, &fleet_peers(environment)?)
        }
        PolicyCommand::Replay {
            receipts,
            policy,
            json,
        } => {
            let file = policy_file(policy.as_deref(), environment)?;
            replay::replay(&receipts, &file, json)
        }
    }
}

fn check(file: &str, json: bool) -> Result<(), Exit> {
    let bytes = read(file)?;
    let source = Source::new(file, &bytes);
    let compiled = compile(&source);
    let summary = accepted(&compiled, &source)?;
    let shown = json!({ "file": file, "summary": summary });
    print_either(json, &shown, &format!("{file}: {summary}\n"))
}

fn test(file: &str, json: bool) -> Result<(), Exit> {
    let bytes = read(file)?;
    let source = Source::new(file, &bytes);
    let compiled = compile(&source);
    if compiled.plan.is_none() {
        return accepted(&compiled, &source).map(|_| ());
    }
    let mut text = String::new();
    let mut listed = Vec::new();
    for test in &compiled.tests {
        let failure = test.failure.as_ref().map(|it| it.in_one_line(&source));
        listed.push(json!({ "name": test.name, "failure": failure }));
        let outcome = if test.failure.is_some() {
            "FAILED"
        } else {
            "ok    "
        };
        text.push_str(&format!("{outcome} {}\n", test.name));
    }
    let shown = json!({ "file": file, "tests": listed });
    print_either(json, &shown, &text)?;
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
        ))
        .shown_in_json()),
    }
}

fn fmt(file: &str, check: bool, json: bool) -> Result<(), Exit> {
    let bytes = read(file)?;
    let source = Source::new(file, &bytes);
    let mut diagnostics = Diagnostics::default();
    let parsed = parse(&source, &mut diagnostics);
    refuse(&diagnostics, &source)?;
    let text = format(&parsed, &source);
    let changed = text.as_bytes() != bytes;
    if changed && !check {
        std::fs::write(file, text)
            .map_err(|error| Exit::failed(format_args!("{file}: {error}")))?;
    }
    print_either(json, &json!({ "file": file, "changed": changed }), "")?;
    match changed && check {
        true => Err(Exit::failed(format_args!(
            "{file}: is not in the normal form: `tidegate policy fmt` rewrites it"
        ))
        .shown_in_json()),
        false => Ok(()),
    }
}
