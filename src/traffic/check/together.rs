//! Which windows can be open at the same time.
//!
//! Found by comparing all periods: recurring ones over enough years to cover all combinations of
//! weekdays, daylight saving and leap years (28, fewer if there are very many), and around every
//! single one.

use std::collections::BTreeMap;

use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::plan::{OpenWindows, Period};
use crate::schedule::Recurrence;

/// The first of the years that are examined.
const FIRST: Date = date(2026, 1, 1);

/// After this many years every date has fallen on every weekday.
const YEARS: i64 = 28;

/// Most occurrences that are examined: they take some tens of milliseconds.
const OCCURRENCES_MAX: i64 = 300_000;

/// Days around a single period in which recurring ones are examined: a year.
const AROUND: i64 = 370;

/// Most distinct sets that are examined; beyond that all windows are treated as open.
const SETS_MAX: usize = 2_048;

/// Returns the distinct sets of windows that are open at some time, each with one such instant.
///
/// The empty set is always among them; those of fewer windows come first.
pub(crate) fn open_together(windows: &[&[Period]]) -> Vec<(OpenWindows, Option<i64>)> {
    let mut sets = BTreeMap::from([(0_u64, None)]);
    let mut open = vec![0_u32; windows.len()];
    let mut now = 0_u64;
    let mut edges = edges(windows);
    // A period that ends at an instant is over before another begins at it.
    edges.sort_unstable();
    for (at_ms, begins, window) in edges {
        let (count, bit) = (&mut open[window], 1 << window);
        if begins {
            *count += 1;
            now |= bit;
        } else {
            *count -= 1;
            now &= if *count == 0 { !bit } else { u64::MAX };
        }
        if begins && sets.len() < SETS_MAX {
            sets.entry(now).or_insert(Some(at_ms));
        }
    }
    let mut sets: Vec<_> = sets
        .into_iter()
        .map(|(set, at)| (OpenWindows(set), at))
        .collect();
    sets.sort_by_key(|(set, _)| set.0.count_ones());
    sets
}

/// The time, whether the window begins then, and the window.
type Edge = (i64, bool, usize);

fn edges(windows: &[&[Period]]) -> Vec<Edge> {
    let mut recurring = Vec::new();
    let mut edges = Vec::new();
    let mut single = Vec::new();
    for (window, periods) in windows.iter().enumerate() {
        for recurrence in periods.iter().filter_map(Recurrence::new) {
            match recurrence {
                Recurrence::Once(begin, end) => {
                    edges.extend([(begin, true, window), (end, false, window)]);
                    single.push((begin, end));
                }
                every @ Recurrence::Every { .. } => recurring.push((window, every)),
            }
        }
    }
    for (first, days) in spans(recurring.len(), &single) {
        for on in 0..days {
            let Ok(day) = first.checked_add(on.days()) else {
                break;
            };
            for (window, every) in &recurring {
                if let Some((begin, end)) = every.on(day) {
                    edges.extend([(begin, true, *window), (end, false, *window)]);
                }
            }
        }
    }
    edges
}

/// Returns the days on which recurring periods are examined: the first ones, and how many.
fn spans(recurring: usize, single: &[(i64, i64)]) -> Vec<(Date, i64)> {
    let Some(budget) = OCCURRENCES_MAX.checked_div(recurring as i64) else {
        return Vec::new();
    };
    let years = budget.clamp(AROUND, YEARS * 366);
    let mut wanted = vec![(FIRST, years)];
    let mut left = budget.max(2 * AROUND);
    for (begin, end) in single {
        let utc = |ms: i64| {
            let instant = Timestamp::from_millisecond(ms).unwrap_or_default();
            TimeZone::UTC.to_datetime(instant).date()
        };
        let days = ((end - begin) / 86_400_000 + 5).min(AROUND).min(left);
        left -= days;
        if let Ok(first) = utc(*begin).checked_sub(2.days()) {
            wanted.push((first, days));
        }
    }
    wanted.sort_unstable();
    disjoint(&wanted)
}

/// Removes from each span the parts that earlier ones cover.
fn disjoint(spans: &[(Date, i64)]) -> Vec<(Date, i64)> {
    let mut kept = Vec::new();
    let mut reached: Option<Date> = None;
    for (first, days) in spans {
        let Ok(end) = first.checked_add(days.days()) else {
            continue;
        };
        let begin = reached.map_or(*first, |reached| reached.max(*first));
        let days = begin
            .until(end)
            .map_or(0, |span| i64::from(span.get_days()));
        if days > 0 {
            kept.push((begin, days));
            reached = Some(end);
        }
    }
    kept
}
