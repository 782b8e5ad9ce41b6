//! Policies that no request can reach.

use crate::check::draft::DraftPolicy;
use crate::check::space::{Requests, Space, WORDS_MAX};
use crate::plan::Condition;
use crate::syntax::{Diagnostic, Diagnostics, Quoted};

/// Policies that a message names.
const NAMED_MAX: usize = 3;

/// Reports policies that can never be reached, and a last one that does not match everything.
///
/// An incomplete file may lack the last one.
pub(crate) fn reach(policies: &[DraftPolicy<'_, '_>], complete: bool, found: &mut Diagnostics) {
    let is_total = |policy: &DraftPolicy<'_, '_>| policy.matches == Some(Condition::ALWAYS);
    let total = policies.iter().position(is_total);
    let tried = total.map_or(policies.len(), |total| total + 1);
    if let Some(total) = total {
        after_total(policies, total, found);
    } else if let Some(last) = policies
        .last()
        .filter(|last| complete && last.matches.is_some())
    {
        let title = format!(
            "the last policy must match every request, but {} does not",
            Quoted(last.name.text)
        );
        let right =
            "end the file's policies with one without `match`: `policy everything { prefer … }`";
        found.push(Diagnostic::error(last.name.span, title).help(right));
    }
    let conditions = policies.iter().filter_map(|policy| policy.matches.as_ref());
    let mut space = Space::of(conditions, WORDS_MAX);
    let mut matched: Vec<Option<Requests>> = Vec::new();
    for policy in &policies[..tried] {
        let requests = policy
            .matches
            .as_ref()
            .and_then(|condition| space.matched(condition));
        if let Some(requests) = &requests {
            found_unreachable(policies, &matched, requests, &mut space, found);
        }
        matched.push(requests);
    }
}

fn after_total(policies: &[DraftPolicy<'_, '_>], total: usize, found: &mut Diagnostics) {
    // What could not be read of a policy may be what makes it one that matters.
    let after = policies[total + 1..].iter();
    let after: Vec<_> = after.filter(|policy| !policy.clauses.broken).collect();
    let Some(next) = after.first() else {
        return;
    };
    let after: Vec<_> = after.iter().map(|policy| policy.name.text).collect();
    let (names, verb) = named("policy", "policies", &after);
    let total = Quoted(policies[total].name.text);
    let title = format!("{names} can never be reached: {total} before {verb} has no `match`");
    let right = format!("move policy {total} to the end");
    found.push(Diagnostic::error(next.name.span, title).help(right));
}

/// Reports a policy if the ones before it leave it no request.
fn found_unreachable(
    policies: &[DraftPolicy<'_, '_>],
    before: &[Option<Requests>],
    requests: &Requests,
    space: &mut Space,
    found: &mut Diagnostics,
) {
    let policy = &policies[before.len()];
    let span = policy.match_span.unwrap_or(policy.name.span);
    let name = Quoted(policy.name.text);
    if requests.is_empty() {
        let title =
            format!("policy {name} can never be reached: no request can match its condition");
        let right = "its parts exclude each other: join alternatives with `or`";
        found.push(Diagnostic::error(span, title).help(right));
        return;
    }
    let mut rest = requests.clone();
    for earlier in before.iter().flatten() {
        match space.without(&rest, earlier) {
            Some(left) => rest = left,
            None => return,
        }
        if rest.is_empty() {
            break;
        }
    }
    if !rest.is_empty() {
        return;
    }
    let blamed = blamed(policies, before, requests, space);
    let (names, _) = named("policy", "policies", &blamed);
    let verb = if blamed.len() == 1 {
        "matches"
    } else {
        "match"
    };
    let title = format!(
        "policy {name} can never be reached: {names} before it {verb} every request that it does"
    );
    let right = "put the narrower condition first, or remove the policy";
    found.push(Diagnostic::error(policy.name.span, title).help(right));
}

/// Returns the policy that leaves no request, or the policies that together leave none.
fn blamed<'s>(
    policies: &[DraftPolicy<'_, 's>],
    before: &[Option<Requests>],
    requests: &Requests,
    space: &mut Space,
) -> Vec<&'s str> {
    let mut together = Vec::new();
    for (policy, earlier) in policies.iter().zip(before) {
        let Some(earlier) = earlier else { continue };
        let Some(rest) = space.without(requests, earlier) else {
            continue;
        };
        if rest.is_empty() {
            return vec![policy.name.text];
        }
        let both = space.both(requests, earlier);
        if both.is_some_and(|both| !both.is_empty()) {
            together.push(policy.name.text);
        }
    }
    together
}

/// Writes ``policy `a` `` or ``policies `a`, `b` ``, and the pronoun for it.
fn named(one: &str, several: &str, names: &[&str]) -> (String, &'static str) {
    let quoted: Vec<_> = names
        .iter()
        .take(NAMED_MAX)
        .map(|name| Quoted(name).to_string())
        .collect();
    let more = names.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    match names.len() {
        1 => (format!("{one} {}", quoted.join(", ")), "it"),
        _ => (format!("{several} {}{more}", quoted.join(", ")), "them"),
    }
}
