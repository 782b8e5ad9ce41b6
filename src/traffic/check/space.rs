//! Sets of requests: which ones a condition matches, and whether some are left for a policy.
//!
//! A request is a point in a space with one dimension for each of method, path, country, address, host
//! and each header, cookie and query parameter that the file mentions. In each dimension only
//! values that some condition distinguishes differ, so it has few classes, and a set of them is a
//! row of bits. A condition is a union of boxes; the requests that earlier policies match are
//! subtracted from them.

mod classes;
mod dimension;
mod samples;
mod collected;

use std::collections::BTreeMap;

use crate::plan::Condition;
use classes::Classes;
use collected::Collected;
use dimension::{Dimension, FieldKind};
use samples::{Samples, classes, compared};

/// Most boxes of a condition; one with more is assumed to match something.
const BOXES_MAX: usize = 64;

/// Most words of bits that are examined for one file: they take some tens of milliseconds, and this
/// much memory.
pub(crate) const WORDS_MAX: usize = 2_000_000;

/// The classes of some dimensions; all others are unrestricted.
type Cell = BTreeMap<usize, Classes>;

/// A set of requests: a union of boxes.
#[derive(Clone, Debug)]
pub(crate) struct Requests(Vec<Cell>);

impl Requests {
    /// Returns whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The space that the conditions of one file span.
pub(crate) struct Space {
    dimensions: BTreeMap<Dimension, usize>,
    samples: Vec<Samples>,
    /// Words that may still be examined.
    words: usize,
}

impl Space {
    /// Builds the space of some conditions, with a limit on the words that may be examined.
    pub(crate) fn of<'a>(
        conditions: impl IntoIterator<Item = &'a Condition>,
        words: usize,
    ) -> Self {
        let mut collected = Collected::default();
        for condition in conditions {
            condition.leaves(&mut |leaf| collected.add(leaf));
        }
        let fixed = [
            (Dimension::Method, Samples::Methods(collected.methods())),
            (Dimension::Path, Samples::Paths(collected.paths())),
            (
                Dimension::Country,
                Samples::Countries(collected.countries()),
            ),
            (Dimension::Client, Samples::Clients(collected.clients())),
            (Dimension::Host, Samples::Hosts(collected.hosts())),
        ];
        let fields = collected
            .fields
            .into_iter()
            .map(|field| (field, Samples::Field));
        let mut space = Self {
            dimensions: BTreeMap::new(),
            samples: Vec::new(),
            words,
        };
        for (dimension, samples) in fixed.into_iter().chain(fields) {
            space.dimensions.entry(dimension).or_insert_with(|| {
                space.samples.push(samples);
                space.samples.len() - 1
            });
        }
        let classes: usize = space.samples.iter().map(Samples::count).sum();
        space.words = words.saturating_sub(classes);
        space
    }

    /// Returns the requests that a condition matches; `None` if they are too complex.
    pub(crate) fn matched(&mut self, condition: &Condition) -> Option<Requests> {
        self.boxes(condition, true).map(Requests)
    }

    /// Returns the intersection of two sets; `None` if that is too complex.
    pub(crate) fn both(&mut self, some: &Requests, set: &Requests) -> Option<Requests> {
        self.product(&some.0, &set.0).map(Requests)
    }

    /// Returns the difference of two sets; `None` if that is too complex.
    pub(crate) fn without(&mut self, some: &Requests, set: &Requests) -> Option<Requests> {
        let mut rest = some.0.clone();
        for cut in &set.0 {
            let mut next = Vec::new();
            for cell in rest {
                self.cut(cell, cut, &mut next)?;
            }
            if next.len() > 4 * BOXES_MAX {
                return None;
            }
            rest = next;
        }
        Some(Requests(rest))
    }

    /// Counts the work on a box; `None` if the limit is exceeded.
    fn spend(&mut self, cell: &Cell) -> Option<()> {
        let words: usize = cell.values().map(|classes| classes.0.len()).sum();
        self.words = self.words.checked_sub(words + 1)?;
        Some(())
    }

    /// Subtracts one box from another: the rest is a set of disjoint boxes.
    fn cut(&mut self, mut cell: Cell, cut: &Cell, rest: &mut Vec<Cell>) -> Option<()> {
        self.spend(cut)?;
        let overlap = cut.iter().all(|(at, classes)| {
            cell.get(at)
                .is_none_or(|mine| !mine.and(classes).is_empty())
        });
        if !overlap {
            rest.push(cell);
            return Some(());
        }
        for (at, classes) in cut {
            let mine = cell.get(at).cloned().unwrap_or_else(|| self.whole(*at));
            let outside = mine.without(classes);
            if !outside.is_empty() {
                self.spend(&cell)?;
                let mut part = cell.clone();
                part.insert(*at, outside);
                rest.push(part);
            }
            cell.insert(*at, mine.and(classes));
        }
        Some(())
    }

    fn whole(&self, at: usize) -> Classes {
        Classes::from_fn(self.samples[at].count(), |_| true)
    }

    /// Returns the boxes of a condition, or of its negation.
    fn boxes(&mut self, condition: &Condition, holds: bool) -> Option<Vec<Cell>> {
        match (condition, holds) {
            (Condition::Not(part), _) => self.boxes(part, !holds),
            (Condition::All(parts), true) | (Condition::Any(parts), false) => {
                let mut all = vec![Cell::new()];
                for part in parts {
                    let boxes = self.boxes(part, holds)?;
                    all = self.product(&all, &boxes)?;
                }
                Some(all)
            }
            (Condition::Any(parts), true) | (Condition::All(parts), false) => {
                let mut all = Vec::new();
                for part in parts {
                    all.extend(self.boxes(part, holds)?);
                    if all.len() > BOXES_MAX {
                        return None;
                    }
                }
                Some(all)
            }
            (leaf, _) => {
                let cell = self.leaf(leaf, holds)?;
                self.spend(&cell)?;
                let empty = cell.values().any(Classes::is_empty);
                Some(if empty { Vec::new() } else { vec![cell] })
            }
        }
    }

    fn product(&mut self, ones: &[Cell], others: &[Cell]) -> Option<Vec<Cell>> {
        let mut all = Vec::new();
        for one in ones {
            for other in others {
                self.spend(one)?;
                self.spend(other)?;
                all.extend(joint(one, other));
                if all.len() > BOXES_MAX {
                    return None;
                }
            }
        }
        Some(all)
    }

    /// Returns the box of a leaf; `None` if finding it is too much work.
    fn leaf(&mut self, leaf: &Condition, holds: bool) -> Option<Cell> {
        let mut cell = Cell::new();
        match leaf {
            Condition::Header(name, value) => {
                self.field(
                    &mut cell,
                    FieldKind::Header,
                    name.as_str(),
                    value.as_deref(),
                    holds,
                );
            }
            Condition::Cookie(name, value) => {
                self.field(&mut cell, FieldKind::Cookie, name, value.as_deref(), holds);
            }
            Condition::Query(name, value) => {
                self.field(&mut cell, FieldKind::Query, name, value.as_deref(), holds);
            }
            _ => {
                let dimension = match leaf {
                    Condition::Method(_) => Dimension::Method,
                    Condition::Path(_) => Dimension::Path,
                    Condition::Country(_) => Dimension::Country,
                    Condition::Client(_) => Dimension::Client,
                    _ => Dimension::Host,
                };
                let at = *self.dimensions.get(&dimension)?;
                let samples = &self.samples[at];
                self.words = self.words.checked_sub(compared(samples, leaf) / 16)?;
                cell.insert(at, classes(samples, leaf, holds));
            }
        }
        Some(cell)
    }

    /// A field with a value is present; an absent one has no value.
    fn field(
        &self,
        cell: &mut Cell,
        kind: FieldKind,
        name: &str,
        value: Option<&str>,
        holds: bool,
    ) {
        let only = |class: bool| Classes::from_fn(2, |at| (at == 1) == class);
        let at = |value: Option<&str>| {
            let dimension = Dimension::Field(kind, name.into(), value.map(Into::into));
            self.dimensions.get(&dimension).copied()
        };
        if let Some(at) = at(value) {
            cell.insert(at, only(holds));
        }
        match (holds, value) {
            (true, Some(_)) => {
                cell.extend(at(None).map(|at| (at, only(true))));
            }
            (false, None) => {
                let same = self
                    .dimensions
                    .range(Dimension::Field(kind, name.into(), None)..);
                let same = same.take_while(
                    |(dimension, _)| matches!(dimension, Dimension::Field(k, n, _) if *k == kind && **n == *name),
                );
                cell.extend(same.map(|(_, at)| (*at, only(false))));
            }
            _ => {}
        }
    }
}

/// Returns the intersection of two boxes.
fn joint(one: &Cell, other: &Cell) -> Option<Cell> {
    let mut joint = one.clone();
    for (at, classes) in other {
        let both = joint
            .get(at)
            .map_or_else(|| classes.clone(), |mine| mine.and(classes));
        if both.is_empty() {
            return None;
        }
        joint.insert(*at, both);
    }
    Some(joint)
}
