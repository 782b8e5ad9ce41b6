//! One value of each class of a dimension, and for which of them a condition holds.

use std::net::IpAddr;
use std::ops::Range;

use http::Method;
use tidegate_model::{Covers, PathPattern};

use super::classes::Classes;
use crate::plan::{Condition, Country};

/// One value of each class of a dimension.
#[derive(Clone, Debug)]
pub(super) enum Samples {
    Methods(Vec<Method>),
    Paths(Vec<String>),
    Countries(Vec<Option<Country>>),
    Clients(Vec<IpAddr>),
    Hosts(Vec<Box<str>>),
    /// Class 0: no, class 1: yes.
    Field,
}

impl Samples {
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Methods(all) => all.len(),
            Self::Paths(all) => all.len(),
            Self::Countries(all) => all.len(),
            Self::Clients(all) => all.len(),
            Self::Hosts(all) => all.len(),
            Self::Field => 2,
        }
    }
}

/// Returns the classes of a dimension for which a leaf holds, or does not.
pub(super) fn classes(samples: &Samples, leaf: &Condition, holds: bool) -> Classes {
    if let (Samples::Paths(all), Condition::Path(patterns)) = (samples, leaf) {
        let mut matched = vec![!holds; all.len()];
        for pattern in patterns {
            covered(all, pattern, |range| matched[range].fill(holds));
        }
        return Classes::from_fn(all.len(), |class| matched[class]);
    }
    let matches = |class: usize| match (samples, leaf) {
        (Samples::Methods(all), Condition::Method(methods)) => methods.contains(&all[class]),
        (Samples::Countries(all), Condition::Country(set)) => {
            all[class].is_some_and(|country| set.has(country))
        }
        (Samples::Clients(all), Condition::Client(networks)) => {
            networks.iter().any(|network| network.contains(&all[class]))
        }
        (Samples::Hosts(all), Condition::Host(host)) => *all[class] == **host,
        _ => false,
    };
    Classes::from_fn(samples.count(), |class| matches(class) == holds)
}

/// Returns how many comparisons it takes to find the classes of a leaf.
pub(super) fn compared(samples: &Samples, leaf: &Condition) -> usize {
    let values = match leaf {
        Condition::Method(methods) => methods.len(),
        Condition::Client(networks) => networks.len(),
        _ => 1,
    };
    samples.count() * values
}

/// Calls `each` for the ranges of sorted paths that a pattern covers: one text's continuations are
/// together.
pub(super) fn covered(
    sorted: &[String],
    pattern: &PathPattern,
    mut each: impl FnMut(Range<usize>),
) {
    let starting = |prefix: &str| {
        let from = sorted.partition_point(|path| path.as_str() < prefix);
        let count = sorted[from..].partition_point(|path| path.starts_with(prefix));
        from..from + count
    };
    let literal = pattern.literal();
    let whole = starting(literal);
    let exact = sorted[whole.clone()]
        .first()
        .is_some_and(|path| path == literal);
    match pattern.covers() {
        Covers::Prefix => each(whole),
        Covers::Itself | Covers::Below => {
            if exact {
                each(whole.start..whole.start + 1);
            }
            if pattern.covers() == Covers::Below {
                each(starting(&format!("{literal}/")));
            }
        }
    }
}
