//! Which policy governs a request: the first one whose condition holds.

use crate::decide::Request;
use crate::plan::{Condition, Plan};

/// Returns the first policy that matches; the last one matches everything.
pub fn governing(plan: &Plan, request: &Request<'_>) -> usize {
    let (method, country, path) = (request.method, request.country, request.path);
    let mut candidates = plan
        .index
        .candidates(method, country, path, request.headers);
    let policies = plan.policies();
    let found = candidates.find(|at| holds(&policies[*at].matches, request));
    found.unwrap_or(policies.len() - 1)
}

/// A part of a condition that prevented a policy from matching.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mismatch<'a> {
    /// The part: a leaf of the tree, or an `or` or a `not` as a whole.
    pub part: &'a Condition,
}

/// Returns the first part of a condition that a request does not meet, for an explanation.
pub fn mismatch<'a>(condition: &'a Condition, request: &Request<'_>) -> Option<Mismatch<'a>> {
    if holds(condition, request) {
        return None;
    }
    match condition {
        Condition::All(parts) => parts.iter().find_map(|part| mismatch(part, request)),
        part => Some(Mismatch { part }),
    }
}

fn holds(condition: &Condition, request: &Request<'_>) -> bool {
    match condition {
        Condition::All(parts) => parts.iter().all(|part| holds(part, request)),
        Condition::Any(parts) => parts.iter().any(|part| holds(part, request)),
        Condition::Not(part) => !holds(part, request),
        Condition::Path(patterns) => patterns.iter().any(|it| it.matches(request.path)),
        Condition::Method(methods) => methods.contains(request.method),
        Condition::Host(host) => host.eq_ignore_ascii_case(request.host),
        Condition::Country(set) => request.country.is_some_and(|country| set.has(country)),
        Condition::Client(networks) => {
            let client = request.client.to_canonical();
            networks.iter().any(|network| network.contains(&client))
        }
        Condition::Header(name, value) => {
            let mut values = request.headers.get_all(name).iter();
            values.any(|found| is(value.as_deref(), found.as_bytes()))
        }
        Condition::Cookie(name, value) => {
            let mut values = request.cookies(name);
            values.any(|found| is(value.as_deref(), found))
        }
        Condition::Query(name, value) => request.has_query(name, value.as_deref()),
    }
}

fn is(value: Option<&str>, found: &[u8]) -> bool {
    value.is_none_or(|value| value.as_bytes() == found)
}
