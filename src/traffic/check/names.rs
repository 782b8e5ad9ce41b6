//! Regions and groups: the declarations, and what a name refers to.

use std::collections::{BTreeMap, HashMap, HashSet};

use tidegate_model::RegionId;

use crate::check::values::{Value, latitude, longitude, meant, name, number, refused};
use crate::place::{GeoPoint, aws_place};
use crate::plan::{REGIONS_MAX, Region, RegionIndex, RegionMask};
use crate::syntax::ast::{self, AttributeValue, File, Item, Word};
use crate::syntax::{Diagnostic, Diagnostics, ERRORS_MAX, Quoted, is_taken};

/// How deep groups may be nested: deeper than a reader can follow.
const NESTING_MAX: usize = 32;

/// The declared regions and groups of a file.
#[derive(Debug, Default)]
pub(crate) struct Declared<'s> {
    /// Sorted by name.
    pub(crate) regions: Vec<Region>,
    /// Where they are declared, in the same order.
    pub(crate) words: Vec<Word<'s>>,
    /// The first one declared in the file.
    pub(crate) first: Option<RegionIndex>,
    names: HashMap<&'s str, Named>,
    /// Words that may have been intended as declarations.
    lost: HashSet<&'s str>,
}

/// What a name refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// A region.
    Region(RegionIndex),
    /// A group.
    Group(RegionMask),
    /// A group that is being resolved.
    Open,
    /// It is declared, but the declaration was not understood.
    Unknown,
}

impl<'s> Declared<'s> {
    /// Collects the declarations of a file.
    pub(crate) fn of(file: &File<'s>, lost: &HashSet<&'s str>, found: &mut Diagnostics) -> Self {
        let mut declared = Self {
            lost: lost.clone(),
            ..Self::default()
        };
        let mut known = HashMap::new();
        let mut regions = BTreeMap::new();
        let mut groups = BTreeMap::new();
        let mut first = None;
        for item in &file.items {
            match item {
                Item::Region(region) => {
                    let refused = region_name(region.name, regions.len(), &known);
                    if declared.takes(region.name, refused, &mut known, found) {
                        first.get_or_insert(region.name.text);
                        regions.insert(region.name.text, region);
                    }
                }
                Item::Group(group) => {
                    let refused = unused_name(group.name, &known).map(|_| ());
                    if declared.takes(group.name, refused, &mut known, found) {
                        groups.insert(group.name.text, group);
                    }
                }
                Item::Block(_) => {}
            }
        }
        for (index, region) in regions.values().enumerate() {
            let index = RegionIndex(index as u8);
            declared
                .names
                .insert(region.name.text, Named::Region(index));
            declared.words.push(region.name);
            declared.regions.extend(read_region(region, found));
            if first == Some(region.name.text) {
                declared.first = Some(index);
            }
        }
        declared.resolve(&groups, found);
        declared
    }

    /// Records a declared name, or reports why it is not allowed.
    fn takes(
        &mut self,
        word: Word<'s>,
        refused: Value<()>,
        known: &mut HashMap<&'s str, Word<'s>>,
        found: &mut Diagnostics,
    ) -> bool {
        match refused {
            Ok(()) => known.insert(word.text, word).is_none(),
            Err(error) => {
                self.lost.insert(word.text);
                found.push(*error);
                false
            }
        }
    }

    /// Resolves all groups, each after the groups that it contains.
    fn resolve(&mut self, groups: &BTreeMap<&'s str, &ast::Group<'s>>, found: &mut Diagnostics) {
        let mut depths = HashMap::new();
        // Not recursive: a file has room for a chain of thousands.
        let mut waiting: Vec<&ast::Group<'s>> = groups.values().rev().copied().collect();
        while let Some(group) = waiting.last().copied() {
            match self.names.get(group.name.text).copied() {
                None => {
                    self.names.insert(group.name.text, Named::Open);
                    self.open(group, groups, &mut waiting, found);
                }
                Some(Named::Open) => {
                    waiting.pop();
                    let named = self.resolved(group, &mut depths, found);
                    self.names.insert(group.name.text, named);
                }
                Some(_) => {
                    waiting.pop();
                }
            }
        }
    }

    /// Finds the groups that a group contains and that are to be resolved before it.
    fn open<'f>(
        &self,
        group: &ast::Group<'s>,
        groups: &BTreeMap<&'s str, &'f ast::Group<'s>>,
        waiting: &mut Vec<&'f ast::Group<'s>>,
        found: &mut Diagnostics,
    ) {
        let mut seen = HashSet::new();
        for word in &group.names {
            let Some(inner) = groups.get(word.text).filter(|_| seen.insert(word.text)) else {
                continue;
            };
            match self.names.get(word.text) {
                None => waiting.push(*inner),
                Some(Named::Open) => {
                    let title = format!("group {} is part of itself", Quoted(word.text));
                    let right = "remove it from one of the groups that name one another";
                    found.push(Diagnostic::error(word.span, title).help(right));
                }
                Some(_) => {}
            }
        }
    }

    /// Returns what a group stands for, now that those in it are resolved; `depths` are how deep these nest.
    fn resolved(
        &self,
        group: &ast::Group<'s>,
        depths: &mut HashMap<&'s str, usize>,
        found: &mut Diagnostics,
    ) -> Named {
        let mut regions = Some(RegionMask::EMPTY);
        let (mut seen, mut depth) = (HashSet::new(), 1);
        for word in &group.names {
            if !seen.insert(word.text) {
                found.push(twice(*word));
                continue;
            }
            let inner = depths.get(word.text).copied().unwrap_or(0);
            depth = depth.max(inner + 1);
            let more = self.mask(*word, found);
            regions = regions.zip(more).map(|(all, more)| all.or(more));
        }
        // Of those around one that is not understood, nothing more is said.
        let Some(regions) = regions else {
            return Named::Unknown;
        };
        if depth > NESTING_MAX {
            let title = format!("groups nest at most {NESTING_MAX} deep");
            found.push(Diagnostic::error(group.name.span, title).help("name the regions here"));
            return Named::Unknown;
        }
        depths.insert(group.name.text, depth);
        Named::Group(regions)
    }

    /// Returns what a name refers to, or reports that it is not declared.
    fn look_up(&self, word: Word<'_>, found: &mut Diagnostics) -> Option<Named> {
        if let Some(named) = self.names.get(word.text) {
            return Some(*named);
        }
        if !self.lost.contains(word.text) {
            // Beyond those that are shown, errors are only counted.
            let shown = found.errors() < 8 * ERRORS_MAX;
            found.push(self.undeclared(word, shown));
        }
        None
    }

    fn undeclared(&self, word: Word<'_>, with_help: bool) -> Diagnostic {
        let title = format!("there is no region or group named {}", Quoted(word.text));
        if !with_help {
            return Diagnostic::error(word.span, title);
        }
        let mut names: Vec<_> = self.names.keys().copied().collect();
        names.sort_unstable();
        let right = format!("declare it: `region {}`", word.text);
        let right = match word.text {
            "local" => "`local` can only be a tier by itself".to_owned(),
            text if name(word).is_ok() => meant(text, &names, &right),
            text => meant(text, &names, "write the name of a declared region or group"),
        };
        Diagnostic::error(word.span, title).help(right)
    }

    /// Returns whether a name is declared, or may have been intended to be.
    pub(crate) fn knows(&self, word: Word<'_>) -> bool {
        self.names.contains_key(word.text) || self.lost.contains(word.text)
    }

    /// Returns the regions that a name refers to.
    pub(crate) fn mask(&self, word: Word<'_>, found: &mut Diagnostics) -> Option<RegionMask> {
        match self.look_up(word, found)? {
            Named::Region(region) => Some(RegionMask::of(region)),
            Named::Group(regions) => Some(regions),
            Named::Open | Named::Unknown => None,
        }
    }

    /// Returns the region that a name refers to, where a group is not allowed.
    pub(crate) fn region(&self, word: Word<'_>, found: &mut Diagnostics) -> Option<RegionIndex> {
        match self.look_up(word, found)? {
            Named::Region(region) => Some(region),
            Named::Open | Named::Unknown => None,
            Named::Group(_) => {
                let title = format!("{} is a group", Quoted(word.text));
                let right = format!("write one region, or a tier `nearest({})`", word.text);
                found.push(Diagnostic::error(word.span, title).help(right));
                None
            }
        }
    }

    /// Returns the regions of a list, in which no name may be repeated.
    pub(crate) fn list(&self, words: &[Word<'_>], found: &mut Diagnostics) -> Option<RegionMask> {
        let mut seen = HashSet::new();
        let mut regions = Some(RegionMask::EMPTY);
        for word in words {
            if !seen.insert(word.text) {
                found.push(twice(*word));
                continue;
            }
            let more = self.mask(*word, found);
            regions = regions.zip(more).map(|(all, more)| all.or(more));
        }
        regions
    }

    /// Returns a region's name.
    pub(crate) fn name(&self, region: RegionIndex) -> &str {
        self.regions[region.get()].id.as_str()
    }

    /// Returns the names of regions, with commas.
    pub(crate) fn names_of(&self, regions: RegionMask) -> String {
        let names: Vec<_> = regions.iter().map(|region| self.name(region)).collect();
        names.join(", ")
    }

    /// Returns the set of all regions.
    pub(crate) fn all(&self) -> RegionMask {
        RegionMask::first(self.regions.len())
    }
}

/// Reports a word that is repeated in a list.
pub(crate) fn twice(word: Word<'_>) -> Diagnostic {
    let title = format!("{} is in this list twice", Quoted(word.text));
    Diagnostic::error(word.span, title).help("remove it here")
}

/// Refuses a name that is already used or reserved.
fn unused_name<'s>(word: Word<'s>, known: &HashMap<&str, Word<'_>>) -> Value<&'s str> {
    let text = name(word)?;
    if is_taken(text) {
        return refused(word, "free as a name", "the language itself uses this word");
    }
    if known.contains_key(text) {
        let title = format!("{} is already declared", Quoted(text));
        let error = Diagnostic::error(word.span, title);
        return Err(Box::new(error.help("choose another name, or remove this")));
    }
    Ok(text)
}

fn region_name(word: Word<'_>, regions: usize, known: &HashMap<&str, Word<'_>>) -> Value<()> {
    let text = unused_name(word, known)?;
    if let Err(error) = text.parse::<RegionId>() {
        return refused(word, "a region's name", &error.to_string());
    }
    if regions == REGIONS_MAX {
        let title = format!("a policy file can have at most {REGIONS_MAX} regions");
        return Err(Box::new(Diagnostic::error(word.span, title)));
    }
    Ok(())
}

/// Reads a region; attributes that are not understood are omitted.
fn read_region(region: &ast::Region<'_>, found: &mut Diagnostics) -> Option<Region> {
    let mut read = Region {
        id: region.name.text.parse().ok()?,
        place: aws_place(region.name.text),
        capacity: None,
        load: None,
    };
    let mut seen = HashSet::new();
    for attribute in &region.attributes {
        let keyword = attribute.keyword;
        if !seen.insert(keyword.text) {
            let title = format!("{} is given twice for this region", Quoted(keyword.text));
            found.push(Diagnostic::error(keyword.span, title).help("remove one of them"));
            continue;
        }
        let outcome = match attribute.value {
            AttributeValue::Rate(rate) => number(rate).map(|rate| match keyword.text {
                "capacity" => read.capacity = Some(rate),
                _ => read.load = Some(rate),
            }),
            AttributeValue::GeoPoint(north, east) => {
                read_place(north, east).map(|place| read.place = place)
            }
        };
        if let Err(error) = outcome {
            found.push(*error);
        }
    }
    Some(read)
}

/// Reads a latitude and a longitude.
pub(crate) fn read_place(north: Word<'_>, east: Word<'_>) -> Value<Option<GeoPoint>> {
    let north = latitude(north)?;
    Ok(GeoPoint::new(north, longitude(east)?))
}
