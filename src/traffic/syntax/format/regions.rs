//! Regions in columns.

use super::lines::{Line, LineKind};
use crate::syntax::Parsed;
use crate::syntax::ast::{AttributeValue, Item, Region};

/// One region's cells: its name, then its attributes in one order.
struct Row<'s> {
    name: &'s str,
    /// `capacity` and `load`.
    rates: [Option<&'s str>; 2],
    place: Option<(&'s str, &'s str)>,
}

const RATES: [&str; 2] = ["capacity", "load"];

/// Returns the text of each line that is a region and has no comment inside.
///
/// Regions without a blank line between them share their columns.
pub(super) fn align(
    parsed: &Parsed<'_>,
    lines: &[Line<'_, '_>],
    text: &str,
) -> Vec<Option<String>> {
    let mut regions = parsed.file.items.iter().filter_map(|item| match item {
        Item::Region(region) => Some(region),
        Item::Group(_) | Item::Block(_) => None,
    });
    let mut aligned = Vec::with_capacity(lines.len());
    for run in lines.chunk_by(|one, next| joins(one, next, text)) {
        let rows: Vec<_> = run
            .iter()
            .map(|line| {
                let region = (line.kind == LineKind::Region)
                    .then(|| regions.next())
                    .flatten()?;
                line.inner.is_empty().then(|| row(region)).flatten()
            })
            .collect();
        aligned.extend(write(&rows));
    }
    aligned
}

/// Whether two lines are regions with no blank line between them.
fn joins(one: &Line<'_, '_>, next: &Line<'_, '_>, text: &str) -> bool {
    let ends = one.tokens.last().map_or(0, |token| token.span.end);
    let begins = next.tokens.first().map_or(0, |token| token.span.start);
    let between = text.get(ends..begins).unwrap_or_default();
    let mut inside = between.lines().skip(1);
    let count = between.matches('\n').count();
    // The last piece is the text before the next region on its own line.
    let blank = count > 1
        && inside
            .by_ref()
            .take(count - 1)
            .any(|line| line.trim().is_empty());
    one.kind == LineKind::Region && next.kind == LineKind::Region && !blank
}

/// Returns `None` for a region with a repeated attribute.
fn row<'s>(region: &Region<'s>) -> Option<Row<'s>> {
    let mut row = Row {
        name: region.name.text,
        rates: [None; 2],
        place: None,
    };
    for attribute in &region.attributes {
        match attribute.value {
            AttributeValue::Rate(rate) => {
                let at = usize::from(attribute.keyword.text == RATES[1]);
                if row.rates[at].replace(rate.text).is_some() {
                    return None;
                }
            }
            AttributeValue::GeoPoint(latitude, longitude) => {
                if row.place.replace((latitude.text, longitude.text)).is_some() {
                    return None;
                }
            }
        }
    }
    Some(row)
}

fn write(rows: &[Option<Row<'_>>]) -> Vec<Option<String>> {
    let width = |of: &dyn Fn(&Row<'_>) -> Option<usize>| rows.iter().flatten().filter_map(of).max();
    let name_width = width(&|row| Some(row.name.len())).unwrap_or(0);
    let rate_widths = [0, 1].map(|at| width(&|row| row.rates[at].map(str::len)));
    let line = |row: &Row<'_>| {
        let mut text = format!("region {:name_width$}", row.name);
        for (at, keyword) in RATES.iter().enumerate() {
            let Some(width) = rate_widths[at] else {
                continue;
            };
            text.push_str(&match row.rates[at] {
                Some(rate) => format!("  {keyword} {rate:>width$} rps"),
                None => " ".repeat(2 + keyword.len() + 1 + width + 4),
            });
        }
        if let Some((latitude, longitude)) = row.place {
            text.push_str(&format!("  at {latitude}, {longitude}"));
        }
        text.truncate(text.trim_end().len());
        text
    };
    rows.iter().map(|row| row.as_ref().map(line)).collect()
}
