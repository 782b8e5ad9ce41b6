//! Which policies may match a request's headers.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use http::{HeaderMap, HeaderName};
use siphasher::sip::SipHasher13;

use crate::plan::index::mask::{PolicyMask, possible};
use crate::plan::{Condition, Policy};

/// The headers that conditions name.
#[derive(Debug)]
pub(super) struct Headers {
    names: HashMap<HeaderName, Mentions, BuildHasherDefault<SipHasher13>>,
    /// The policies for a request that has none of them.
    none: PolicyMask,
}

/// The policies that mention a header.
#[derive(Debug, Default)]
struct Mentions {
    /// With any value.
    present: PolicyMask,
    /// With this value; sorted.
    values: Vec<(Box<str>, PolicyMask)>,
}

impl Headers {
    pub(super) fn new(policies: &[Policy]) -> Self {
        let mut names: HashMap<HeaderName, Mentions, _> = HashMap::default();
        for (at, policy) in policies.iter().enumerate() {
            policy.matches.leaves(&mut |leaf| {
                if let Condition::Header(name, value) = leaf {
                    names
                        .entry(name.clone())
                        .or_default()
                        .add(value.as_deref(), at);
                }
            });
        }
        let none = possible(policies, |leaf| match leaf {
            Condition::Header(..) => Some(false),
            _ => None,
        });
        Self { names, none }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Iterates over the request's headers, of which there are few, not over the conditions.
    pub(super) fn lookup(&self, headers: &HeaderMap) -> PolicyMask {
        let mut policies = self.none;
        for (name, value) in headers {
            let Some(mentions) = self.names.get(name) else {
                continue;
            };
            policies = policies.or(&mentions.present);
            let by_value = |known: &(Box<str>, _)| known.0.as_bytes().cmp(value.as_bytes());
            if let Ok(at) = mentions.values.binary_search_by(by_value) {
                policies = policies.or(&mentions.values[at].1);
            }
        }
        policies
    }
}

impl Mentions {
    fn add(&mut self, value: Option<&str>, policy: usize) {
        let Some(value) = value else {
            self.present.insert(policy);
            return;
        };
        let found = self
            .values
            .binary_search_by(|(known, _)| (**known).cmp(value));
        let at = found.unwrap_or_else(|at| {
            self.values
                .insert(at, (value.into(), PolicyMask::default()));
            at
        });
        self.values[at].1.insert(policy);
    }
}
