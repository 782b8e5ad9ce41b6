//! `match`: from words to the tree that is evaluated.

use std::collections::HashSet;

use crate::check::names::twice;
use crate::check::values::{
    Value, continent, country, header, meant, method, name, network, pattern,
};
use crate::plan::{Condition, CountrySet};
use crate::syntax::ast::{self, Field, Word};
use crate::syntax::{Diagnostic, Diagnostics};

/// Reads a condition; `None` if a part of it is not understood.
pub(crate) fn condition(tree: &ast::Condition<'_>, found: &mut Diagnostics) -> Option<Condition> {
    let all_of = |parts: &[ast::Condition<'_>], found: &mut Diagnostics| {
        let read: Vec<_> = parts.iter().map(|part| condition(part, found)).collect();
        read.into_iter().collect::<Option<Vec<_>>>()
    };
    match tree {
        ast::Condition::Any(parts) => all_of(parts, found).map(Condition::Any),
        ast::Condition::All(parts) => all_of(parts, found).map(Condition::All),
        ast::Condition::Not(part) => {
            condition(part, found).map(|part| Condition::Not(Box::new(part)))
        }
        ast::Condition::Field(field) => read_field(field, found),
    }
}

fn read_field(field: &Field<'_>, found: &mut Diagnostics) -> Option<Condition> {
    let value = || field.value.map(|value| value.text.into());
    let first = *field.names.first()?;
    match field.keyword.text {
        "path" => members(field, pattern, found).map(Condition::Path),
        "method" => members(field, method, found).map(Condition::Method),
        "client" => members(field, network, found).map(Condition::Client),
        "country" => {
            let countries = members(field, country, found)?;
            Some(Condition::Country(Box::new(
                countries.into_iter().collect(),
            )))
        }
        "continent" => {
            let continents = members(field, continent, found)?.into_iter();
            let sets: Vec<CountrySet> = continents.map(|one| one.countries()).collect();
            let countries = sets.iter().flat_map(CountrySet::iter).collect();
            Some(Condition::Country(Box::new(countries)))
        }
        "host" => {
            let host = kept(name(first), found)?;
            Some(Condition::Host(host.to_ascii_lowercase().into()))
        }
        "header" => Some(Condition::Header(kept(header(first), found)?, value())),
        "cookie" => Some(Condition::Cookie(kept(name(first), found)?.into(), value())),
        "query" => Some(Condition::Query(kept(name(first), found)?.into(), value())),
        other => {
            let right = meant(other, &["path", "method", "host"], "write a condition");
            found.push(Diagnostic::error(field.keyword.span, "not a condition").help(right));
            None
        }
    }
}

/// Reads the members of a list, in which no word may be repeated.
fn members<'s, T>(
    field: &Field<'s>,
    read: impl Fn(Word<'s>) -> Value<T>,
    found: &mut Diagnostics,
) -> Option<Vec<T>> {
    let mut seen = HashSet::new();
    let mut members = Some(Vec::new());
    for word in &field.names {
        if !seen.insert(word.text) {
            found.push(twice(*word));
            continue;
        }
        let member = kept(read(*word), found);
        members = members.zip(member).map(|(mut members, member)| {
            members.push(member);
            members
        });
    }
    members
}

/// Returns a value, or reports why it is not one.
pub(crate) fn kept<T>(value: Value<T>, found: &mut Diagnostics) -> Option<T> {
    match value {
        Ok(value) => Some(value),
        Err(error) => {
            found.push(*error);
            None
        }
    }
}
