//! A plan in words, as text and as JSON.

use std::fmt;

use serde::Serialize;

use super::words::{condition, key, otherwise, period, regions, retry, tier};
use crate::plan::{Clauses, Percent, Plan, WindowEffect};

/// The content of a policy file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shown {
    /// By name.
    pub regions: Vec<ShownRegion>,
    /// In the order in which they are tried.
    pub policies: Vec<ShownPolicy>,
    /// In the order of the file.
    pub windows: Vec<ShownWindow>,
}

/// A region.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShownRegion {
    /// Its name.
    pub region: String,
    /// Latitude and longitude in degrees.
    pub at: Option<[f64; 2]>,
    /// Its capacity.
    pub capacity_rps: Option<u32>,
    /// The load that enters there.
    pub load_rps: Option<u32>,
}

/// A policy, with defaults for missing clauses.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShownPolicy {
    /// Its name.
    pub policy: String,
    /// Which requests it governs; all if absent.
    #[serde(rename = "match")]
    pub matches: Option<String>,
    /// The regions to which it is restricted.
    pub only: Option<Vec<String>>,
    /// Its tiers.
    pub prefer: Vec<String>,
    /// The keys that are hashed.
    pub affinity: Vec<String>,
    /// Its clauses.
    #[serde(flatten)]
    pub clauses: ShownClauses,
}

/// Clauses that windows can replace.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ShownClauses {
    /// When a region leaves.
    pub leave: Option<String>,
    /// When it returns.
    #[serde(rename = "return")]
    pub comeback: Option<String>,
    /// Which requests are tried in another region.
    pub retry: Option<String>,
    /// The share of capacity below which `left` is ignored.
    pub panic: Option<String>,
    /// What a request gets if no region is left.
    #[serde(rename = "else")]
    pub otherwise: Option<String>,
    /// What the checker must prove.
    pub require: Option<String>,
}

/// A window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShownWindow {
    /// Its name.
    pub window: String,
    /// When it is open.
    pub periods: Vec<String>,
    /// The regions that it drains.
    pub drain: Vec<String>,
    /// The clauses that it replaces.
    #[serde(flatten)]
    pub clauses: ShownClauses,
}

/// Describes a plan in words.
pub fn show(plan: &Plan) -> Shown {
    let regions_shown = plan.regions().iter().map(|region| ShownRegion {
        region: region.id.to_string(),
        at: region
            .place
            .map(|place| [place.latitude(), place.longitude()]),
        capacity_rps: region.capacity,
        load_rps: region.load,
    });
    let policies = plan.policies().iter().map(|policy| ShownPolicy {
        policy: policy.name.to_string(),
        matches: condition(&policy.matches),
        only: policy.only.map(|only| regions(plan, only)),
        prefer: policy.tiers.iter().map(|one| tier(plan, one)).collect(),
        affinity: policy.affinity.iter().map(key).collect(),
        clauses: clauses(&filled(policy.clauses.or(plan.defaults()))),
    });
    let windows = plan.windows().iter().map(|window| ShownWindow {
        window: window.name.to_string(),
        periods: window.periods.iter().map(period).collect(),
        drain: match &window.effect {
            WindowEffect::Drain(drained) => regions(plan, *drained),
            WindowEffect::Replace(_) => Vec::new(),
        },
        clauses: match &window.effect {
            WindowEffect::Drain(_) => ShownClauses::default(),
            WindowEffect::Replace(replaced) => clauses(replaced),
        },
    });
    Shown {
        regions: regions_shown.collect(),
        policies: policies.collect(),
        windows: windows.collect(),
    }
}

/// Returns clauses with what holds in place of missing ones, so that equal meanings are shown alike.
fn filled(clauses: Clauses) -> Clauses {
    Clauses {
        retry: Some(clauses.retry.unwrap_or_default()),
        panic_below: Some(clauses.panic_below.unwrap_or_default()),
        otherwise: Some(clauses.otherwise.unwrap_or_default()),
        ..clauses
    }
}

fn clauses(clauses: &Clauses) -> ShownClauses {
    ShownClauses {
        leave: clauses.leave.as_ref().map(ToString::to_string),
        comeback: clauses.comeback.as_ref().map(ToString::to_string),
        retry: clauses.retry.map(retry),
        panic: clauses
            .panic_below
            .map(|below| format!("below {}", Percent(below.into()))),
        otherwise: clauses.otherwise.map(otherwise),
        require: clauses.survive.map(|lost| format!("survive {lost}")),
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for region in &self.regions {
            write!(f, "region {}", region.region)?;
            if let Some(capacity) = region.capacity_rps {
                write!(f, " capacity {capacity} rps")?;
            }
            if let Some(load) = region.load_rps {
                write!(f, " load {load} rps")?;
            }
            if let Some([latitude, longitude]) = region.at {
                write!(f, " at {latitude}, {longitude}")?;
            }
            writeln!(f)?;
        }
        for policy in &self.policies {
            writeln!(f, "\npolicy {}", policy.policy)?;
            line(f, "match", policy.matches.as_deref())?;
            line(
                f,
                "only",
                policy.only.as_ref().map(|only| only.join(", ")).as_deref(),
            )?;
            line(f, "prefer", Some(&policy.prefer.join(" | ")))?;
            let affinity = policy.affinity.join(" else ");
            line(f, "affinity", (!affinity.is_empty()).then_some(&affinity))?;
            policy.clauses.fmt(f)?;
        }
        for window in &self.windows {
            writeln!(f, "\nwindow {}", window.window)?;
            for period in &window.periods {
                writeln!(f, "  {period}")?;
            }
            let drained = window.drain.join(", ");
            line(f, "drain", (!drained.is_empty()).then_some(&drained))?;
            window.clauses.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for ShownClauses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(f, "leave", self.leave.as_deref())?;
        line(f, "return", self.comeback.as_deref())?;
        line(f, "retry", self.retry.as_deref())?;
        line(f, "panic", self.panic.as_deref())?;
        line(f, "else", self.otherwise.as_deref())?;
        line(f, "require", self.require.as_deref())
    }
}

fn line<S: AsRef<str> + ?Sized>(
    f: &mut fmt::Formatter<'_>,
    keyword: &str,
    text: Option<&S>,
) -> fmt::Result {
    match text {
        Some(text) => writeln!(f, "  {keyword:8} {}", text.as_ref()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::show;
    use crate::compile;
    use crate::syntax::Source;

    fn shown(clauses: &str) -> String {
        let text = format!("region a region b policy p {{ prefer a | b {clauses} }}");
        let source = Source::new("x.policy", text.as_bytes());
        show(&compile(&source).plan.expect(clauses)).to_string()
    }

    #[test]
    fn a_clause_that_says_what_holds_anyway_makes_no_difference() {
        let same = shown("retry never panic below 0% else 503");
        assert_eq!(shown(""), same);
        assert_ne!(shown("else 504"), same);
    }

    #[test]
    fn what_must_be_survived_is_shown() {
        let shown = shown("require survive 1");
        assert!(shown.ends_with("\n  require  survive 1\n"), "{shown}");
    }
}
