//! Policies: `match`, `only`, `prefer` and `affinity`.

use std::collections::HashSet;

use crate::check::clauses::repeated;
use crate::check::conditions::{condition, kept};
use crate::check::draft::{DraftClauses, DraftPolicy, Only};
use crate::check::fields::header;
use crate::check::names::{Declared, twice};
use crate::check::values::{Value, name, number, prefix, refused};
use crate::plan::{AffinityKey, Condition, RegionMask, Tier};
use crate::syntax::ast::{self, Block, Body, Key, Word};
use crate::syntax::{Diagnostic, Diagnostics, Quoted, Span};

/// Reads a policy.
pub(crate) fn policy<'t, 's>(
    block: &'t Block<'s>,
    declared: &Declared<'s>,
    found: &mut Diagnostics,
) -> DraftPolicy<'t, 's> {
    kept(name(block.name), found);
    let mut policy = DraftPolicy {
        name: block.name,
        matches: (!block.broken).then_some(Condition::ALWAYS),
        match_span: None,
        only: if block.broken {
            Only::Unknown
        } else {
            Only::Any
        },
        tiers: None,
        affinity: Vec::new(),
        clauses: DraftClauses {
            broken: block.broken,
            ..DraftClauses::default()
        },
    };
    let mut seen = HashSet::new();
    for clause in &block.clauses {
        if policy.clauses.add(clause, found) {
            continue;
        }
        if !seen.insert(clause.keyword.text) {
            found.push(repeated(clause.keyword));
            continue;
        }
        match &clause.body {
            Body::Match(tree) => {
                policy.matches = condition(tree, found);
                policy.match_span = Some(clause.span);
            }
            Body::Only(names) => {
                policy.only = match declared.list(names, found) {
                    Some(regions) => Only::These(regions, clause.span),
                    None => Only::Unknown,
                };
            }
            Body::Prefer(tiers) => policy.tiers = read_tiers(tiers, declared, found),
            Body::Affinity(keys) => policy.affinity = affinity(keys, found),
            _ => {}
        }
    }
    if !seen.contains("prefer") && !block.broken {
        let title = format!("policy {} has no `prefer`", Quoted(block.name.text));
        let right = "state where its requests go: `prefer nearest(us-east-1, eu-west-1)`";
        found.push(Diagnostic::error(block.name.span, title).help(right));
    }
    within_only(&policy, block, declared, found);
    policy
}

fn read_tiers(
    tiers: &[ast::Tier<'_>],
    declared: &Declared<'_>,
    found: &mut Diagnostics,
) -> Option<Vec<(Tier, Span)>> {
    let read: Vec<_> = tiers
        .iter()
        .map(|tier| read_tier(tier, declared, found))
        .collect();
    let spans = tiers.iter().map(ast::Tier::span);
    let read: Option<Vec<_>> = read.into_iter().collect();
    read.map(|read| read.into_iter().zip(spans).collect())
}

fn read_tier(
    tier: &ast::Tier<'_>,
    declared: &Declared<'_>,
    found: &mut Diagnostics,
) -> Option<Tier> {
    match tier {
        ast::Tier::Name(word) if word.text == "local" => Some(Tier::Local),
        ast::Tier::Name(word) => declared.region(*word, found).map(Tier::Named),
        ast::Tier::Spread(_, names) => declared.list(names, found).map(Tier::Spread),
        ast::Tier::Nearest(_, names) => {
            let regions = declared.list(names, found);
            let mut placed = true;
            for word in names {
                placed &= is_placed(*word, declared, found);
            }
            regions.filter(|_| placed).map(Tier::Nearest)
        }
        ast::Tier::Weighted(_, weights) => {
            let mut seen = HashSet::new();
            let mut read = Some(Vec::new());
            for (region, weight) in weights {
                if !seen.insert(region.text) {
                    found.push(twice(*region));
                    continue;
                }
                let region = declared.region(*region, found);
                let weight = kept(positive(*weight), found);
                read = read.zip(region.zip(weight)).map(|(mut read, one)| {
                    read.push(one);
                    read
                });
            }
            read.map(Tier::Weighted)
        }
    }
}

/// Reports a region in `nearest` whose location is not known.
fn is_placed(word: Word<'_>, declared: &Declared<'_>, found: &mut Diagnostics) -> bool {
    // An undeclared name has already been reported.
    let regions = declared.mask(word, &mut Diagnostics::default());
    let mut regions = regions.unwrap_or_default().iter();
    let placeless = regions.find(|region| declared.regions[region.get()].place.is_none());
    let Some(region) = placeless else {
        return true;
    };
    let name = declared.name(region);
    let title = format!("the location of `{name}` is not known, and `nearest` needs it");
    let right = format!("declare its location, latitude first: `region {name} at 53.35, -6.26`");
    found.push(Diagnostic::error(word.span, title).help(right));
    false
}

fn positive(word: Word<'_>) -> Value<u32> {
    match number(word)? {
        0 => refused(
            word,
            "a weight",
            "weights must be above 0: remove the region instead",
        ),
        weight => Ok(weight),
    }
}

fn affinity(keys: &[Key<'_>], found: &mut Diagnostics) -> Vec<AffinityKey> {
    let mut read = Vec::new();
    for key in keys {
        let Some(one) = kept(affinity_key(*key), found) else {
            continue;
        };
        if read.contains(&one) {
            found.push(twice(key.value));
        }
        read.push(one);
    }
    read
}

fn affinity_key(key: Key<'_>) -> Value<AffinityKey> {
    let value = key.value;
    Ok(match key.keyword.text {
        "cookie" => AffinityKey::Cookie(name(value)?.into()),
        "header" => AffinityKey::Header(header(value)?),
        "path" => match number(value)? {
            0 => return refused(value, "a number of segments", "write `1` or more"),
            segments => AffinityKey::Path(segments),
        },
        _ => {
            let (v4, v6) = prefix(value)?;
            AffinityKey::Client { v4, v6 }
        }
    })
}

/// Reports tiers with regions outside `only`, and tiers that add no region.
fn within_only(
    policy: &DraftPolicy<'_, '_>,
    block: &Block<'_>,
    declared: &Declared<'_>,
    found: &mut Diagnostics,
) {
    let Some(tiers) = &policy.tiers else { return };
    let only = match policy.only {
        Only::Any => declared.all(),
        Only::These(only, _) => only,
        Only::Unknown => return,
    };
    let mut before = RegionMask::EMPTY;
    let mut local_before = false;
    for (tier, span) in tiers {
        let regions = tier.regions(None);
        let outside = regions.without(only);
        if !outside.is_empty() {
            let name = declared.names_of(outside);
            let title = format!("`prefer` leads outside `only`: {name}");
            let right = format!(
                "add it to `only`, or prefer within {}",
                declared.names_of(only)
            );
            found.push(
                Diagnostic::error(word_of(block, *span, outside, declared), title).help(right),
            );
        }
        let is_local = *tier == Tier::Local;
        let adds = match is_local {
            true => !local_before && !only.without(before).is_empty(),
            false => !regions.without(before).is_empty(),
        };
        if !adds {
            let title = "this tier can never be reached: it adds no region to those before it";
            found.push(Diagnostic::error(*span, title).help("remove it"));
        }
        before = before.or(regions);
        local_before |= is_local;
    }
}

/// Returns the place where a tier names the first of some regions, or that of the tier itself.
fn word_of(block: &Block<'_>, tier: Span, regions: RegionMask, declared: &Declared<'_>) -> Span {
    let tiers = block
        .clauses
        .iter()
        .filter_map(|clause| match &clause.body {
            Body::Prefer(tiers) => Some(tiers),
            _ => None,
        });
    let here = tiers.flatten().find(|one| one.span() == tier);
    let words: Vec<Word<'_>> = match here {
        Some(ast::Tier::Nearest(_, names) | ast::Tier::Spread(_, names)) => names.clone(),
        Some(ast::Tier::Weighted(_, weights)) => weights.iter().map(|(word, _)| *word).collect(),
        Some(ast::Tier::Name(_)) | None => Vec::new(),
    };
    let names_one = |word: &&Word<'_>| {
        let named = declared.mask(**word, &mut Diagnostics::default());
        named.is_some_and(|named| !named.and(regions).is_empty())
    };
    words.iter().find(names_one).map_or(tier, |word| word.span)
}
