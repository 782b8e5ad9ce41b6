//! `match`: from words to the tree that is evaluated.

use std::collections::HashSet;

use crate::check::fields::{cookie_text, header, header_text};
use crate::check::names::twice;
use crate::check::values::{Value, continent, country, meant, method, name, network, pattern};
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

fn read_field<'s>(field: &Field<'s>, found: &mut Diagnostics) -> Option<Condition> {
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
        "header" => {
            let (name, value) = (kept(header(first), found), value(field, header_text, found));
            Some(Condition::Header(name?, value?))
        }
        "cookie" => {
            let (name, value) = (kept(name(first), found), value(field, cookie_text, found));
            Some(Condition::Cookie(name?.into(), value?))
        }
        "query" => {
            let any = |word: Word<'s>| Ok(word.text);
            let (name, value) = (kept(name(first), found), value(field, any, found));
            Some(Condition::Query(name?.into(), value?))
        }
        other => {
            let right = meant(other, &["path", "method", "host"], "write a condition");
            found.push(Diagnostic::error(field.keyword.span, "not a condition").help(right));
            None
        }
    }
}

/// Reads the value that a field is compared with, if there is one; `None` if no request can have it.
fn value<'s>(
    field: &Field<'s>,
    read: impl Fn(Word<'s>) -> Value<&'s str>,
    found: &mut Diagnostics,
) -> Option<Option<Box<str>>> {
    match field.value {
        None => Some(None),
        Some(word) => kept(read(word), found).map(|text| Some(text.into())),
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
