//! What a policy matches, as a tree over the fields of a request.

use http::{HeaderName, Method};
use ipnet::IpNet;
use tidegate_model::PathPattern;

use crate::plan::CountrySet;

/// A condition of `match`.
///
/// Evaluated recursively: the builder must bound its depth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// One of the patterns covers the path.
    Path(Vec<PathPattern>),
    /// The method is one of these.
    Method(Vec<Method>),
    /// The host is this one, in lower case and without a port.
    Host(Box<str>),
    /// The header is present, with this value if one is given.
    Header(HeaderName, Option<Box<str>>),
    /// The cookie is present, with this value if one is given.
    Cookie(Box<str>, Option<Box<str>>),
    /// The query parameter is present, with this value if one is given.
    Query(Box<str>, Option<Box<str>>),
    /// The client's country is one of these; a continent is all of its countries.
    Country(Box<CountrySet>),
    /// The client's address is in one of these networks.
    Client(Vec<IpNet>),
    /// The condition does not hold.
    Not(Box<Self>),
    /// All of them hold; true if there are none.
    All(Vec<Self>),
    /// One of them holds; false if there are none.
    Any(Vec<Self>),
}

impl Condition {
    /// A condition that always holds: that of a policy without `match`.
    pub const ALWAYS: Self = Self::All(Vec::new());

    /// Calls `visit` for every leaf of the tree.
    pub fn leaves<'a>(&'a self, visit: &mut impl FnMut(&'a Self)) {
        match self {
            Self::Not(inner) => inner.leaves(visit),
            Self::All(parts) | Self::Any(parts) => {
                for part in parts {
                    part.leaves(visit);
                }
            }
            leaf => visit(leaf),
        }
    }

    /// Returns whether the tree can hold, given what is known about its leaves (`None`: unknown).
    pub(crate) fn possible(&self, known: &impl Fn(&Self) -> Option<bool>) -> bool {
        self.truth(known) != Some(false)
    }

    /// Returns whether the tree holds, as far as what is known about its leaves tells.
    pub(crate) fn truth(&self, known: &impl Fn(&Self) -> Option<bool>) -> Option<bool> {
        let decided = |parts: &[Self], by: bool| {
            let mut all_known = true;
            for part in parts {
                match part.truth(known) {
                    Some(value) if value == by => return Some(by),
                    Some(_) => {}
                    None => all_known = false,
                }
            }
            all_known.then_some(!by)
        };
        match self {
            Self::Not(inner) => inner.truth(known).map(|value| !value),
            Self::All(parts) => decided(parts, false),
            Self::Any(parts) => decided(parts, true),
            leaf => known(leaf),
        }
    }
}
