//! Which policies may match a path: by the literals that it starts with.

use std::collections::BTreeMap;

use tidegate_model::Covers;

use crate::plan::index::mask::{PolicyMask, possible};
use crate::plan::{Condition, Policy};

/// The literals of all patterns, sorted.
///
/// The literals that a path starts with are a chain: the longest of them, the longest that this one
/// starts with, and so on. So one search finds all: from the last literal that does not sort after
/// the path, up to the first that the path starts with. The common prefix of all literals is
/// skipped, and the eight bytes after it are compared as a number.
#[derive(Debug)]
pub(super) struct Paths {
    literals: Vec<Literal>,
    /// The length of the common prefix of all literals.
    common: usize,
    /// The eight bytes of each literal after that.
    numbers: Vec<u64>,
    /// The policies for a path that starts with none of them.
    none: PolicyMask,
}

#[derive(Debug)]
struct Literal {
    text: Box<str>,
    /// The longest literal that this one starts with.
    parent: Option<usize>,
    mentioned: Mentions,
    /// The policies for a path that starts with this literal and with no longer one.
    policies: PolicyMask,
}

/// The policies whose patterns have a literal, by what else they cover.
#[derive(Debug, Default)]
struct Mentions {
    itself: PolicyMask,
    below: PolicyMask,
    prefix: PolicyMask,
}

impl Mentions {
    fn of(&mut self, covers: Covers) -> &mut PolicyMask {
        match covers {
            Covers::Itself => &mut self.itself,
            Covers::Below => &mut self.below,
            Covers::Prefix => &mut self.prefix,
        }
    }

    fn all(&self) -> PolicyMask {
        self.itself.or(&self.below).or(&self.prefix)
    }
}

impl Literal {
    /// Returns the policies that mention this literal in a pattern that covers all paths with a
    /// longer prefix.
    fn of_longer(&self, start: &str) -> PolicyMask {
        match start.as_bytes().get(self.text.len()) {
            Some(b'/') => self.mentioned.prefix.or(&self.mentioned.below),
            _ => self.mentioned.prefix,
        }
    }
}

impl Paths {
    pub(super) fn new(policies: &[Policy]) -> Self {
        let mut mentions: BTreeMap<&str, Mentions> = BTreeMap::new();
        for (at, policy) in policies.iter().enumerate() {
            policy.matches.leaves(&mut |leaf| {
                if let Condition::Path(patterns) = leaf {
                    for pattern in patterns {
                        let mentions = mentions.entry(pattern.literal()).or_default();
                        mentions.of(pattern.covers()).insert(at);
                    }
                }
            });
        }
        let none = possible(policies, |leaf| match leaf {
            Condition::Path(_) => Some(false),
            _ => None,
        });
        let mut literals: Vec<Literal> = Vec::with_capacity(mentions.len());
        for (text, mentioned) in mentions {
            let last = literals.len().checked_sub(1);
            let parent = longest_start(&literals, last, text);
            let mut policies = none.or(&mentioned.all());
            let mut above = parent;
            while let Some(at) = above {
                policies = policies.or(&literals[at].of_longer(text));
                above = literals[at].parent;
            }
            literals.push(Literal {
                text: text.into(),
                parent,
                mentioned,
                policies,
            });
        }
        let common = common(&literals);
        let numbers = literals.iter().map(|it| number(it.text.as_bytes(), common));
        Self {
            common,
            numbers: numbers.collect(),
            literals,
            none,
        }
    }

    pub(super) fn lookup(&self, path: &str) -> &PolicyMask {
        let number = number(path.as_bytes(), self.common);
        let mut after = self.numbers.partition_point(|it| *it <= number);
        let is_equal = |at: usize| self.numbers.get(at) == Some(&number);
        if after > 1 && is_equal(after - 2) {
            let first = self.numbers[..after].partition_point(|it| *it < number);
            let equal = &self.literals[first..after];
            after = first + equal.partition_point(|it| *it.text <= *path);
        }
        let found = longest_start(&self.literals, after.checked_sub(1), path);
        found.map_or(&self.none, |found| &self.literals[found].policies)
    }
}

/// Returns the length of the common prefix of sorted literals, which is that of the first and the
/// last.
fn common(literals: &[Literal]) -> usize {
    let (Some(first), Some(last)) = (literals.first(), literals.last()) else {
        return 0;
    };
    let pairs = first.text.bytes().zip(last.text.bytes());
    pairs.take_while(|(a, b)| a == b).count()
}

/// Returns eight bytes as a number that sorts like them; missing ones are zero.
fn number(bytes: &[u8], from: usize) -> u64 {
    let rest = bytes.get(from..).unwrap_or_default();
    let mut eight = [0; 8];
    match rest.first_chunk() {
        Some(full) => eight = *full,
        None => eight[..rest.len()].copy_from_slice(rest),
    }
    u64::from_be_bytes(eight)
}

/// Returns the first literal, from `from` up its parents, that the path starts with.
fn longest_start(literals: &[Literal], mut from: Option<usize>, path: &str) -> Option<usize> {
    while let Some(at) = from {
        if path.starts_with(&*literals[at].text) {
            return from;
        }
        from = literals[at].parent;
    }
    None
}
