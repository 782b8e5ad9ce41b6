//! Values of a plan as words of the language.

use jiff::Timestamp;

use crate::place::Continent;
use crate::plan::{
    AffinityKey, Condition, CountrySet, Else, Percent, Period, Plan, RegionMask, Retry, Tier,
};
use crate::schedule::DAYS;

pub(super) fn retry(retry: Retry) -> String {
    match retry {
        Retry::Never => "never".to_owned(),
        Retry::Idempotent { regions, budget } => {
            format!("idempotent {regions} budget {}", Percent(budget.into()))
        }
    }
}

pub(super) fn otherwise(otherwise: Else) -> String {
    match otherwise {
        Else::Local => "local".to_owned(),
        Else::Status(status) => status.to_string(),
    }
}

pub(super) fn regions(plan: &Plan, regions: RegionMask) -> Vec<String> {
    regions
        .iter()
        .map(|region| plan.region_id(region).to_string())
        .collect()
}

pub(super) fn tier(plan: &Plan, tier: &Tier) -> String {
    let listed = |set: RegionMask| regions(plan, set).join(", ");
    match tier {
        Tier::Named(region) => plan.region_id(*region).to_string(),
        Tier::Local => "local".to_owned(),
        Tier::Nearest(set) => format!("nearest({})", listed(*set)),
        Tier::Spread(set) => format!("spread({})", listed(*set)),
        Tier::Weighted(weights) => {
            let each = weights
                .iter()
                .map(|(region, weight)| format!("{} {weight}", plan.region_id(*region)));
            format!("weighted({})", each.collect::<Vec<_>>().join(", "))
        }
    }
}

pub(super) fn key(key: &AffinityKey) -> String {
    match key {
        AffinityKey::Cookie(name) => format!("cookie {name}"),
        AffinityKey::Header(name) => format!("header {name}"),
        AffinityKey::Path(segments) => format!("path {segments}"),
        AffinityKey::Client { v4, .. } => format!("client /{v4}"),
    }
}

pub(super) fn period(period: &Period) -> String {
    match period {
        Period::Every {
            weekdays,
            begin_minute,
            end_minute,
            zone,
        } => {
            let days = DAYS
                .iter()
                .enumerate()
                .filter(|(at, _)| weekdays & (1 << at) != 0);
            let days: Vec<_> = days.map(|(_, day)| *day).collect();
            let days = if days.len() == DAYS.len() {
                "day".to_owned()
            } else {
                days.join(", ")
            };
            let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
            format!(
                "every {days} {}-{} {zone}",
                time(*begin_minute),
                time(*end_minute)
            )
        }
        Period::Once { begin_ms, end_ms } => {
            let instant = |ms: i64| Timestamp::from_millisecond(ms).unwrap_or_default();
            format!("from {} to {}", instant(*begin_ms), instant(*end_ms))
        }
    }
}

/// Writes a condition; `None` for one that always holds.
pub(super) fn condition(condition: &Condition) -> Option<String> {
    (*condition != Condition::ALWAYS).then(|| tree(condition, 0))
}

/// Writes a tree, in parentheses if the surrounding operator binds more tightly.
pub(super) fn tree(condition: &Condition, around: u8) -> String {
    let joined = |parts: &[Condition], joint: &str, binds: u8| {
        let parts: Vec<_> = parts.iter().map(|part| tree(part, binds)).collect();
        let text = parts.join(joint);
        if binds < around {
            format!("({text})")
        } else {
            text
        }
    };
    let listed = |words: Vec<String>| words.join(", ");
    let field = |keyword: &str, name: &str, value: Option<&str>| match value {
        Some(value) => format!("{keyword} {name} = \"{value}\""),
        None => format!("{keyword} {name}"),
    };
    match condition {
        Condition::Any(parts) => joined(parts, " or ", 1),
        Condition::All(parts) => joined(parts, " and ", 2),
        Condition::Not(part) => format!("not {}", tree(part, 3)),
        Condition::Path(patterns) => format!(
            "path {}",
            listed(patterns.iter().map(ToString::to_string).collect())
        ),
        Condition::Method(methods) => {
            format!(
                "method in ({})",
                listed(methods.iter().map(ToString::to_string).collect())
            )
        }
        Condition::Host(host) => format!("host {host}"),
        Condition::Header(name, value) => field("header", name.as_str(), value.as_deref()),
        Condition::Cookie(name, value) => field("cookie", name, value.as_deref()),
        Condition::Query(name, value) => field("query", name, value.as_deref()),
        Condition::Country(set) => countries(set),
        Condition::Client(networks) => {
            format!(
                "client in ({})",
                listed(networks.iter().map(ToString::to_string).collect())
            )
        }
    }
}

/// Writes a set of countries, as continents if it consists of whole ones.
fn countries(set: &CountrySet) -> String {
    let whole = Continent::ALL.into_iter();
    let whole: Vec<_> = whole
        .filter(|continent| continent.countries().is_subset(set))
        .collect();
    let covered = whole
        .iter()
        .flat_map(|continent| continent.countries().iter().collect::<Vec<_>>());
    let covered: CountrySet = covered.collect();
    if !whole.is_empty() && set.is_subset(&covered) {
        let codes: Vec<_> = whole.iter().map(|continent| continent.code()).collect();
        return format!("continent in ({})", codes.join(", "));
    }
    let codes: Vec<_> = set.iter().map(|country| country.to_string()).collect();
    format!("country in ({})", codes.join(", "))
}
