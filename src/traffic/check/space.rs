//! Sets of requests: which ones a condition matches, and whether some are left for a policy.
//!
//! A request is a point in a space with one dimension for each of method, path, country, address, host
//! and each header, cookie and query parameter that the file mentions. In each dimension only
//! values that some condition distinguishes differ, so it has few classes, and a set of them is a
//! row of bits. A condition is a union of boxes; the requests that earlier policies match are
//! subtracted from them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use http::Method;
use ipnet::IpNet;

use tidegate_model::{Covers, PathPattern};

use crate::plan::{Condition, Country, CountrySet};

/// Most boxes of a condition; one with more is assumed to match something.
const BOXES_MAX: usize = 64;

/// Most words of bits that are examined for one file: they take some tens of milliseconds, and this
/// much memory.
pub(crate) const WORDS_MAX: usize = 2_000_000;

/// A byte that no pattern contains, because no path can.
const OTHER: char = '\u{1}';

/// A set of classes of one dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Classes(Box<[u64]>);

impl Classes {
    fn from_fn(count: usize, has: impl Fn(usize) -> bool) -> Self {
        let mut words = vec![0_u64; count.div_ceil(64)];
        for class in (0..count).filter(|class| has(*class)) {
            words[class / 64] |= 1 << (class % 64);
        }
        Self(words.into())
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    fn and(&self, other: &Self) -> Self {
        Self(
            self.0
                .iter()
                .zip(&other.0)
                .map(|(one, two)| one & two)
                .collect(),
        )
    }

    fn without(&self, other: &Self) -> Self {
        Self(
            self.0
                .iter()
                .zip(&other.0)
                .map(|(one, two)| one & !two)
                .collect(),
        )
    }
}

/// A dimension of the space.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Dimension {
    Method,
    Path,
    Country,
    Client,
    Host,
    /// Whether a header, cookie or query parameter is present, with a value if one is given.
    Field(Kind, Box<str>, Option<Box<str>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Header,
    Cookie,
    Query,
}

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

/// One value of each class of a dimension.
#[derive(Clone, Debug)]
enum Samples {
    Methods(Vec<Method>),
    Paths(Vec<String>),
    Countries(Vec<Option<Country>>),
    Clients(Vec<IpAddr>),
    Hosts(Vec<Box<str>>),
    /// Class 0: no, class 1: yes.
    Field,
}

impl Samples {
    fn count(&self) -> usize {
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
                    Kind::Header,
                    name.as_str(),
                    value.as_deref(),
                    holds,
                );
            }
            Condition::Cookie(name, value) => {
                self.field(&mut cell, Kind::Cookie, name, value.as_deref(), holds);
            }
            Condition::Query(name, value) => {
                self.field(&mut cell, Kind::Query, name, value.as_deref(), holds);
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
    fn field(&self, cell: &mut Cell, kind: Kind, name: &str, value: Option<&str>, holds: bool) {
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

/// Returns the classes of a dimension for which a leaf holds, or does not.
fn classes(samples: &Samples, leaf: &Condition, holds: bool) -> Classes {
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
fn compared(samples: &Samples, leaf: &Condition) -> usize {
    let values = match leaf {
        Condition::Method(methods) => methods.len(),
        Condition::Client(networks) => networks.len(),
        _ => 1,
    };
    samples.count() * values
}

/// Calls `each` for the ranges of sorted paths that a pattern covers: one text's continuations are
/// together.
fn covered(sorted: &[String], pattern: &PathPattern, mut each: impl FnMut(Range<usize>)) {
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

/// The values that the conditions of a file mention.
#[derive(Default)]
struct Collected<'a> {
    methods: Vec<&'a Method>,
    patterns: Vec<&'a PathPattern>,
    countries: Vec<&'a CountrySet>,
    networks: Vec<IpNet>,
    hosts: Vec<&'a str>,
    fields: Vec<Dimension>,
}

impl<'a> Collected<'a> {
    fn add(&mut self, leaf: &'a Condition) {
        let mut field = |kind, name: &str, value: &Option<Box<str>>| {
            self.fields.push(Dimension::Field(kind, name.into(), None));
            self.fields
                .push(Dimension::Field(kind, name.into(), value.clone()));
        };
        match leaf {
            Condition::Method(methods) => self.methods.extend(methods),
            Condition::Path(patterns) => self.patterns.extend(patterns),
            Condition::Country(set) => self.countries.push(set),
            Condition::Client(networks) => self.networks.extend(networks),
            Condition::Host(host) => self.hosts.push(host),
            Condition::Header(name, value) => field(Kind::Header, name.as_str(), value),
            Condition::Cookie(name, value) => field(Kind::Cookie, name, value),
            Condition::Query(name, value) => field(Kind::Query, name, value),
            Condition::Not(_) | Condition::All(_) | Condition::Any(_) => {}
        }
    }

    /// The methods that are named, and one that is not.
    fn methods(&self) -> Vec<Method> {
        let mut methods: Vec<_> = self
            .methods
            .iter()
            .map(|method| (*method).clone())
            .collect();
        methods.extend(Method::from_bytes(b"-OTHER-"));
        methods.sort_unstable_by(|one, two| one.as_str().cmp(two.as_str()));
        methods.dedup();
        methods
    }

    /// One path of each kind that patterns distinguish: a literal, the literal with a slash, below
    /// it, and beside it.
    fn paths(&self) -> Vec<String> {
        let mut paths = vec!["/".to_owned(), format!("/{OTHER}")];
        for pattern in &self.patterns {
            let literal = pattern.literal();
            let ends = [
                "".to_owned(),
                "/".to_owned(),
                format!("/{OTHER}"),
                OTHER.to_string(),
            ];
            paths.extend(ends.map(|end| format!("{literal}{end}")));
        }
        paths.retain(|path| path.starts_with('/') && !path.contains("//"));
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    /// One country of each kind that sets distinguish, and the unknown one.
    fn countries(&self) -> Vec<Option<Country>> {
        let mut kinds = BTreeMap::new();
        let all: BTreeSet<_> = self.countries.iter().flat_map(|set| set.iter()).collect();
        for country in all {
            let kind: Vec<_> = self.countries.iter().map(|set| set.has(country)).collect();
            kinds.entry(kind).or_insert(country);
        }
        let mut countries: Vec<_> = kinds.into_values().map(Some).collect();
        countries.sort_unstable();
        countries.insert(0, None);
        countries
    }

    /// An address before, in and after each network.
    fn clients(&self) -> Vec<IpAddr> {
        let mut clients = vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        for network in &self.networks {
            clients.push(network.network());
            clients.extend(after(network.broadcast()));
        }
        clients.sort_unstable();
        clients.dedup();
        clients
    }

    /// The hosts that are named, and one that is not.
    fn hosts(&self) -> Vec<Box<str>> {
        let mut hosts: Vec<Box<str>> = self.hosts.iter().map(|host| (*host).into()).collect();
        hosts.push("".into());
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }
}

/// Returns the address after one.
fn after(address: IpAddr) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits().checked_add(1)?).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits().checked_add(1)?).into(),
    })
}
