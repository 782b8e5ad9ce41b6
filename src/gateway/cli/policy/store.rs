//! `tidegate policy push`, `list` and `show`: revisions in the policy store.

use std::io::{IsTerminal, Write};

use serde_json::json;
use tidegate_model::{Environment, printable};
use tidegate_rollout::StoredRevision;
use tidegate_traffic::plan::Plan;
use tidegate_traffic::syntax::{LANGUAGE, Source};
use tidegate_traffic::{compile, show};

use super::arguments::PushCommand;
use super::file::{accepted, print, print_as_is, print_either, print_pretty, read, refuse};
use super::key::signing_key;
use super::operator::{NAME_MAX, user};
use crate::gateway::cli::Exit;
use crate::gateway::cli::primary::Primary;
use crate::gateway::cli::values::revision;
use crate::gateway::config::{fleet_name, fleet_peers, own_region};
use crate::peers::{BUILT_IN, built_in_policy};
use crate::policy_store::{NewRevision, StoreError, StoreSession};

/// Connects to the primary of the environment.
pub(super) async fn open(environment: &Environment) -> Result<StoreSession, Exit> {
    let primary = Primary::given(None, environment)?;
    let opened = StoreSession::open(&primary.server).await;
    opened.map_err(|error| Exit::failed(format_args!("{}: {error}", primary.server)))
}

/// Longest note, in characters.
const NOTE_MAX: usize = 1_000;

impl From<StoreError> for Exit {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Open { .. } => Self::with_code(3, error),
            _ if error.is_unusable() => Self::unusable(error),
            _ => Self::failed(error),
        }
    }
}

/// Returns a revision and its plan, compiled and tested.
pub(super) async fn usable(
    store: &StoreSession,
    revision: u32,
) -> Result<(StoredRevision, Plan), Exit> {
    let stored = store.revision(revision).await?;
    let plan = plan_of(&stored)?;
    Ok((stored, plan))
}

/// Returns why a revision's text does not count, if its row was changed by hand.
fn changed_by_hand(stored: &StoredRevision) -> Option<String> {
    let revision = stored.revision;
    let why = || {
        format!(
            "revision {revision}: it was changed by hand, and its digest is of another text: store it anew by `tidegate \
             policy push`"
        )
    };
    (!stored.is_whole()).then(why)
}

/// Returns the plan of a revision's text, if that is the one that was stored.
pub(super) fn plan_of(stored: &StoredRevision) -> Result<Plan, Exit> {
    if let Some(why) = changed_by_hand(stored) {
        return Err(Exit::unusable(why));
    }
    let name = format!("revision {}", stored.revision);
    let source = Source::new(&name, stored.body.as_bytes());
    let compiled = compile(&source);
    accepted(&compiled, &source)?;
    let no_plan = || Exit::unusable(format_args!("{name}: it cannot be used"));
    compiled.plan.ok_or_else(no_plan)
}

/// Returns a text to be stored, if it is one line of a bounded length.
fn stored_text<'a>(flag: &str, text: &'a str, most: usize) -> Result<&'a str, Exit> {
    let expected = match (printable(text) == text, text.chars().count() <= most) {
        (true, true) => return Ok(text),
        (false, _) => "one line without control characters".to_owned(),
        (true, false) => format!("at most {most} characters"),
    };
    Err(Exit::unusable(format_args!("{flag}: expected {expected}")))
}

/// Returns the name of the fleet that a signature is for.
fn signed_for(environment: &Environment, given: Option<&str>) -> Result<String, Exit> {
    let named = match given {
        Some(name) => Some(name.to_owned()),
        None => fleet_name(environment)?,
    };
    named.ok_or_else(|| {
        Exit::unusable(
            "--sign: a signature is for one fleet, and no [fleet] section says which: give --fleet NAME, or the gateways' \
             configuration by TIDEGATE_CONFIG",
        )
    })
}

/// Stores a file as a revision.
pub(super) async fn push(environment: &Environment, command: &PushCommand) -> Result<(), Exit> {
    let file = command.file.as_str();
    let bytes = read(file)?;
    let source = Source::new(file, &bytes);
    let compiled = compile(&source);
    let summary = accepted(&compiled, &source)?;
    let not_text = |_invalid| Exit::unusable(format_args!("{file}: it is not UTF-8"));
    let body = String::from_utf8(bytes.clone()).map_err(not_text)?;
    if let Some(line) = body.lines().position(|line| line.contains('\0')) {
        let line = line + 1;
        return Err(Exit::unusable(format_args!(
            "{file}:{line}: it has a NUL character, which PostgreSQL cannot store: remove it"
        )));
    }
    let key = command.sign.as_deref().map(signing_key).transpose()?;
    let fleet = key
        .as_ref()
        .map(|_| signed_for(environment, command.fleet.as_deref()));
    let fleet = fleet.transpose()?;
    let author = match &command.author {
        Some(author) => stored_text("--author", author, NAME_MAX)?.to_owned(),
        None => user(environment),
    };
    let new = NewRevision {
        body: &body,
        language: LANGUAGE,
        author: &author,
        note: stored_text("--note", &command.note, NOTE_MAX)?,
        floor: command.floor,
        key: fleet.as_deref().zip(key.as_ref()),
    };
    let store = open(environment).await?;
    let (revision, is_new) = store.push(&new).await?;
    let what = match is_new {
        true => "stored as revision",
        false => "unchanged: it is revision",
    };
    let stored = json!({ "revision": revision, "new": is_new, "summary": summary });
    let text = format!("{file}: {summary}\n{what}\n{revision}\n");
    print_either(command.json, &stored, &text)
}

/// Prints the revisions.
pub(super) async fn list(environment: &Environment, json: bool) -> Result<(), Exit> {
    let revisions = open(environment).await?.list().await?;
    if json {
        return print_pretty(&revisions);
    }
    let mut text = String::new();
    for it in &revisions {
        let mark = if it.in_force { "*" } else { " " };
        let signed = if it.signed { "signed  " } else { "unsigned" };
        let sha256: String = it.sha256.chars().take(12).collect();
        let created_at = &it.created_at;
        let (author, note) = (&it.author, &it.note);
        let line = format!(
            "{mark} {:>6}  {created_at}  {sha256}  {signed}  {author}  {note}",
            it.revision
        );
        text += line.trim_end();
        text.push('\n');
    }
    print(&text)
}

/// Prints what a file or a revision says.
pub(super) async fn show(
    environment: &Environment,
    policy: &str,
    (json, text): (bool, bool),
) -> Result<(), Exit> {
    let (name, bytes) = content(environment, policy).await?;
    if text {
        let text = String::from_utf8_lossy(&bytes);
        return match std::io::stdout().is_terminal() {
            true => print(&text.replace('\t', "        ")),
            false => print_as_is(&text),
        };
    }
    let source = Source::new(&name, &bytes);
    let compiled = compile(&source);
    accepted(&compiled, &source)?;
    let Some(plan) = &compiled.plan else {
        return Ok(());
    };
    let shown = show::show(plan);
    match json {
        true => print_pretty(&shown),
        false => print(&shown.to_string()),
    }
}

/// Returns the plan of a revision.
pub(super) async fn plan(environment: &Environment, revision: &str) -> Result<Plan, Exit> {
    let Content { name, bytes, doubt } = found(environment, revision).await?;
    if let Some(why) = doubt {
        return Err(Exit::unusable(why));
    }
    let source = Source::new(&name, &bytes);
    let compiled = compile(&source);
    refuse(&compiled.diagnostics, &source)?;
    let no_plan = || Exit::unusable(format_args!("{name}: it cannot be used"));
    compiled.plan.ok_or_else(no_plan)
}

/// The text of the built-in policy, as a gateway with this configuration makes it.
fn built_in(environment: &Environment) -> Result<String, Exit> {
    let peers = fleet_peers(environment)?;
    let region = own_region(environment)?;
    if region.is_none() && !peers.is_empty() {
        return Err(Exit::unusable(
            "the built-in policy is in force, which each region makes of its own name and [fleet] peers: say by REGION, or \
             by `region` in the configuration file, for which one",
        ));
    }
    let policy = region.and_then(|region| built_in_policy(&region, &peers));
    // Without peers every request is served where it enters, in a region that this configuration does not name.
    let here = || "region here\npolicy everything { prefer local }\n".to_owned();
    Ok(policy.map_or_else(here, |it| it.text))
}

/// The name and the text of a file, a revision, or what is in force; warns of one that does not count.
pub(super) async fn content(
    environment: &Environment,
    policy: &str,
) -> Result<(String, Vec<u8>), Exit> {
    let Content { name, bytes, doubt } = found(environment, policy).await?;
    if let Some(why) = doubt {
        let _unwritable = writeln!(std::io::stderr(), "tidegate: warning: {why}");
    }
    Ok((name, bytes))
}

/// What a policy's name leads to.
struct Content {
    name: String,
    bytes: Vec<u8>,
    /// Why gateways would not take it over.
    doubt: Option<String>,
}

async fn found(environment: &Environment, policy: &str) -> Result<Content, Exit> {
    let own = |name: &str, bytes| Content {
        name: name.to_owned(),
        bytes,
        doubt: None,
    };
    let is_number = policy.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number && !["active", "candidate"].contains(&policy) {
        return Ok(own(policy, read(policy)?));
    }
    let store = open(environment).await?;
    let revision = match policy {
        "active" => match store.in_force().await?.by.revision {
            0 => return Ok(own(BUILT_IN, built_in(environment)?.into_bytes())),
            revision => revision,
        },
        "candidate" => match store.newest(true).await? {
            None => {
                return Err(Exit::unusable(
                    "no rollout is under way: there is no candidate; `active` is what is in force",
                ));
            }
            Some(open) => open.revision,
        },
        number => revision(number)
            .map_err(|expected| Exit::unusable(format_args!("\"{number}\": {expected}")))?,
    };
    let stored = store.revision(revision).await?;
    Ok(Content {
        name: format!("revision {revision}"),
        doubt: changed_by_hand(&stored),
        bytes: stored.body.into_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_policy_is_a_gateway_s_though_this_environment_has_no_listener() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tidegate.toml");
        let file = file.to_str().unwrap();
        let peers = "peers = [{ region = \"us-east-1\", address = \"127.0.0.1:8443\" }]";
        let toml = format!("region = \"eu-west-1\"\n[fleet]\n{peers}\n");
        std::fs::write(file, toml).unwrap();
        let text = |pairs: &[(&str, &str)]| {
            let pairs = [&[("TIDEGATE_CONFIG", file)][..], pairs].concat();
            built_in(&Environment::from_pairs(pairs)).unwrap()
        };
        let of_file = text(&[]);
        assert!(
            of_file.starts_with("region eu-west-1\nregion us-east-1\n"),
            "{of_file}"
        );
        assert!(
            of_file.contains("prefer local | nearest(us-east-1) }"),
            "{of_file}"
        );
        let listening = text(&[("FLEET_ADDR", "127.0.0.1:8443")]);
        assert_eq!(listening, of_file);
        // The variable comes before the file.
        let named = text(&[("REGION", "ap-south-1")]);
        assert!(named.starts_with("region ap-south-1\n"), "{named}");
        std::fs::write(file, format!("[fleet]\n{peers}\n")).unwrap();
        let unnamed = built_in(&Environment::from_pairs([("TIDEGATE_CONFIG", file)]));
        let refused = unnamed.unwrap_err();
        assert_eq!(refused.code, 2);
        assert!(refused.message.contains("REGION"), "{}", refused.message);
    }
}
