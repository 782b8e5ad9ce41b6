//! `region` and `group`.

use super::wrong::Wrong;
use super::{Input, Read, keyword, symbol, take, word, words};
use crate::syntax::ast::{Attribute, AttributeValue, Group, Region};
use crate::syntax::parse::keywords::is_item;
use crate::syntax::similar::similar;
use crate::syntax::token::{Kind, Token};

const ATTRIBUTES: [&str; 3] = ["capacity", "load", "at"];

/// What may follow the name of a region: its attributes, or the next item.
const PARTS: [&str; 9] = [
    "capacity", "load", "at", "region", "group", "defaults", "policy", "window", "test",
];

/// Takes `region NAME …`.
///
/// It ends before a word that begins a line and resembles no attribute: that one was intended as an item.
pub(super) fn region<'s>(input: &mut Input<'_, 's>) -> Read<Region<'s>> {
    let keyword = take(input, |_| true, "`region`")?;
    let name = word(input, "a region's name")?;
    let mut attributes = Vec::new();
    while input.first().is_some_and(|token| !begins_item(token)) {
        attributes.push(attribute(input)?);
    }
    Ok(Region {
        keyword,
        name,
        attributes,
    })
}

fn attribute<'s>(input: &mut Input<'_, 's>) -> Read<Attribute<'s>> {
    const EXPECTED: &str = "`capacity`, `load`, `at` or the next item";
    let here = *input;
    let found = word(input, EXPECTED)?;
    let value = match found.text {
        "capacity" | "load" => {
            let rate = word(input, "a number such as `2000`, and `rps`")?;
            keyword(input, "rps", "`rps`")?;
            AttributeValue::Rate(rate)
        }
        "at" => {
            let latitude = word(input, "a latitude such as `53.35`")?;
            symbol(input, ",", "`,` and a longitude")?;
            AttributeValue::GeoPoint(latitude, word(input, "a longitude such as `-6.26`")?)
        }
        _ => return Err(Wrong::expected(&here, EXPECTED).among(&PARTS)),
    };
    Ok(Attribute {
        keyword: found,
        value,
    })
}

/// Takes `group NAME = names`.
pub(super) fn group<'s>(input: &mut Input<'_, 's>) -> Read<Group<'s>> {
    let keyword = take(input, |_| true, "`group`")?;
    let name = word(input, "a group's name")?;
    symbol(input, "=", "`=`")?;
    let names = words(input, "a region or a group")?;
    Ok(Group {
        keyword,
        name,
        names,
    })
}

fn begins_item(token: &Token<'_>) -> bool {
    let is_attribute = |text: &str| ATTRIBUTES.contains(&text);
    let resembles_one = || similar(token.text, PARTS).is_some_and(is_attribute);
    let is_other = || token.first && !is_attribute(token.text) && !resembles_one();
    token.kind == Kind::Word && (is_item(token.text) || is_other())
}
