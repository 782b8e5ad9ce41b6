//! `tidegate policy push`, `list`, `show`, `diff` and `key`: revisions in the policy store.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use tidegate_model::Environment;
use tidegate_rollout::{SigningKey, StoredRevision};
use tidegate_traffic::plan::Plan;
use tidegate_traffic::syntax::{LANGUAGE, Source};
use tidegate_traffic::{compile, show};

use super::file::{accepted, print, read, refuse};
use crate::gateway::cli::Exit;
use crate::gateway::cli::arguments::{PushCommand, revision};
use crate::gateway::cli::primary::Primary;
use crate::gateway::config::fleet_name;
use crate::policy_store::{NewRevision, StoreError, StoreSession};

/// Connects to the primary of the environment.
pub(super) async fn open(environment: &Environment) -> Result<StoreSession, Exit> {
    let primary = Primary::given(None, environment)?;
    let opened = StoreSession::open(&primary.server).await;
    opened.map_err(|error| Exit::failed(format_args!("{}: {error}", primary.server)))
}

/// Who works with the store.
pub(super) fn author(environment: &Environment) -> &str {
    environment.get("USER").unwrap_or("unknown")
}

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
    let name = format!("revision {revision}");
    let source = Source::new(&name, stored.body.as_bytes());
    let compiled = compile(&source);
    accepted(&compiled, &source)?;
    match compiled.plan {
        Some(plan) => Ok((stored, plan)),
        None => Err(Exit::unusable(format_args!("{name}: it cannot be used"))),
    }
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
    let key = command.sign.as_deref().map(signing_key).transpose()?;
    let fleet = match &command.fleet {
        Some(fleet) => fleet.clone(),
        None => fleet_name(environment)?,
    };
    let author = command.author.as_deref();
    let new = NewRevision {
        body: &body,
        language: LANGUAGE,
        author: author.unwrap_or_else(|| self::author(environment)),
        note: &command.note,
        floor: command.floor,
        key: key.as_ref().map(|key| (fleet.as_str(), key)),
    };
    let store = open(environment).await?;
    let (revision, is_new) = store.push(&new).await?;
    let what = match is_new {
        true => "stored as revision",
        false => "unchanged: it is revision",
    };
    print(&format!("{file}: {summary}\n{what}\n{revision}\n"))
}

/// Prints the revisions.
pub(super) async fn list(environment: &Environment, json: bool) -> Result<(), Exit> {
    let revisions = open(environment).await?.list().await?;
    if json {
        let text = serde_json::to_string_pretty(&revisions).map_err(Exit::failed)?;
        return print(&(text + "\n"));
    }
    let mut text = String::new();
    for it in &revisions {
        let mark = if it.in_force { "*" } else { " " };
        let signed = if it.signed { "signed  " } else { "unsigned" };
        let (sha256, created_at) = (&it.sha256[..it.sha256.len().min(12)], &it.created_at);
        let (author, note) = (shown(&it.author), shown(&it.note));
        let line = format!(
            "{mark} {:>6}  {created_at}  {sha256}  {signed}  {author}  {note}",
            it.revision
        );
        text += line.trim_end();
        text.push('\n');
    }
    print(&text)
}

/// A text of the store, fit for a terminal.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|it| !it.is_control()).collect()
}

/// Prints what a file or a revision says.
pub(super) async fn show(
    environment: &Environment,
    policy: &str,
    (json, text): (bool, bool),
) -> Result<(), Exit> {
    let (name, bytes) = content(environment, policy).await?;
    if text {
        return print(&String::from_utf8_lossy(&bytes));
    }
    let source = Source::new(&name, &bytes);
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

/// Prints how two policies differ.
pub(super) async fn diff(environment: &Environment, old: &str, new: &str) -> Result<(), Exit> {
    let meaning = async |policy: &str| {
        let (name, bytes) = content(environment, policy).await?;
        let source = Source::new(&name, &bytes);
        let compiled = compile(&source);
        accepted(&compiled, &source)?;
        let shown = compiled
            .plan
            .as_ref()
            .map(|plan| show::show(plan).to_string());
        Ok::<_, Exit>(shown.unwrap_or_default())
    };
    let (before, after) = (meaning(old).await?, meaning(new).await?);
    let lines = differing(&before, &after);
    if lines.is_empty() {
        return Ok(());
    }
    print(&lines)?;
    Err(Exit::failed(format_args!("{old} and {new} differ")))
}

/// The lines that only one of two texts has, in order.
fn differing(before: &str, after: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    // By suffixes: the length of the longest common subsequence.
    let mut common = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for (i, line) in old.iter().enumerate().rev() {
        for (j, other) in new.iter().enumerate().rev() {
            common[i][j] = match line == other {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut text) = (0, 0, String::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || i < old.len() && common[i + 1][j] >= common[i][j + 1] {
            text += &format!("- {}\n", old[i]);
            i += 1;
        } else {
            text += &format!("+ {}\n", new[j]);
            j += 1;
        }
    }
    text
}

/// Returns the plan of a revision.
pub(super) async fn plan(environment: &Environment, revision: &str) -> Result<Plan, Exit> {
    let (name, bytes) = content(environment, revision).await?;
    let source = Source::new(&name, &bytes);
    let compiled = compile(&source);
    refuse(&compiled.diagnostics, &source)?;
    let no_plan = || Exit::unusable(format_args!("{name}: it cannot be used"));
    compiled.plan.ok_or_else(no_plan)
}

/// Makes a key and prints the public one.
pub(super) fn key(file: &str) -> Result<(), Exit> {
    let (pem, key) = SigningKey::generate().map_err(Exit::failed)?;
    let mut options = std::fs::OpenOptions::new();
    let created = options.write(true).create_new(true).mode(0o600).open(file);
    let mut created = created.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Exit::unusable(format_args!(
            "{file}: it exists, and no key is overwritten: name another file"
        )),
        _ => Exit::unusable(format_args!("{file}: {error}")),
    })?;
    let written = created.write_all(pem.as_bytes());
    written.map_err(|error| Exit::failed(format_args!("{file}: {error}")))?;
    print(&format!("{}\n", key.public()))
}

fn signing_key(file: &str) -> Result<SigningKey, Exit> {
    let unreadable = |error| Exit::unusable(format_args!("{file}: {error}"));
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    SigningKey::from_pem(&text).map_err(|error| Exit::unusable(format_args!("{file}: {error}")))
}

/// The name and the text of a file, a revision, or what is in force.
async fn content(environment: &Environment, policy: &str) -> Result<(String, Vec<u8>), Exit> {
    let is_number = policy.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number && !["active", "candidate"].contains(&policy) {
        return Ok((policy.to_owned(), read(policy)?));
    }
    let store = open(environment).await?;
    let revision = match policy {
        "active" => match store.in_force().await?.revision {
            0 => {
                return Err(Exit::unusable(
                    "no revision is in force: `tidegate policy rollout REV` puts one in force",
                ));
            }
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
    Ok((format!("revision {revision}"), stored.body.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_the_lines_of_either_in_their_order() {
        assert_eq!(differing("a\nb\nc\n", "a\nb\nc\n"), "");
        assert_eq!(differing("a\nb\nc\n", "a\nx\nc\nd\n"), "- b\n+ x\n+ d\n");
        assert_eq!(differing("", "a\n"), "+ a\n");
        assert_eq!(differing("a\n", ""), "- a\n");
    }
}
