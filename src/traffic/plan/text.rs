//! Clauses and keys in the syntax of the language, for receipts and explanations.

use std::fmt;
use std::time::Duration;

use crate::plan::{AffinityKey, Join, Judgement, Leave, Measures, Quantity, Return};

const WHOLE_PERCENT: u64 = 10_000;

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.leave {
            Some(leave) => write!(f, "leave {leave}")?,
            None => f.write_str("leave never")?,
        }
        match &self.comeback {
            Some(comeback) => write!(f, ", return {comeback}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Leave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("when ")?;
        write_measures(f, &self.when, '>')?;
        write!(f, " for {}", Written(self.hold))
    }
}

impl fmt::Display for Return {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("when ")?;
        write_measures(f, &self.when, '<')?;
        write!(f, " for {}", Written(self.hold))?;
        if self.ramp.is_zero() {
            return Ok(());
        }
        write!(f, " ramp {}", Written(self.ramp))
    }
}

impl fmt::Display for AffinityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cookie(name) => write!(f, "cookie {name}"),
            Self::Header(name) => write!(f, "header {name}"),
            Self::Path(segments) => write!(f, "path {segments}"),
            Self::Client { v4, v6 } => write!(f, "client /{v4} /{v6}"),
        }
    }
}

fn write_measures(f: &mut fmt::Formatter<'_>, measures: &Measures, sign: char) -> fmt::Result {
    let word = match measures.join() {
        Join::Or => " or ",
        Join::And => " and ",
    };
    for (at, measure) in measures.iter().enumerate() {
        if at > 0 {
            f.write_str(word)?;
        }
        write!(f, "{} {sign} ", measure.quantity.as_str())?;
        match measure.quantity {
            Quantity::Errors | Quantity::Saturation => write!(f, "{}", Percent(measure.bound))?,
            Quantity::P99 | Quantity::Lag => {
                write!(f, "{}", Written(Duration::from_micros(measure.bound)))?;
            }
        }
    }
    Ok(())
}

/// Millionths as percent, without trailing zeros.
pub(crate) struct Percent(pub(crate) u64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / WHOLE_PERCENT, self.0 % WHOLE_PERCENT);
        if rest == 0 {
            return write!(f, "{whole}%");
        }
        let digits = format!("{rest:04}");
        write!(f, "{whole}.{}%", digits.trim_end_matches('0'))
    }
}

/// A duration in the largest unit of which it is a whole number.
struct Written(Duration);

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        let units = [(3_600_000_000, "h"), (60_000_000, "m"), (1_000_000, "s")];
        let fits = |(length, _): &(u128, &str)| micros > 0 && micros.is_multiple_of(*length);
        match units.into_iter().find(fits) {
            Some((length, unit)) => write!(f, "{}{unit}", micros / length),
            None if micros.is_multiple_of(1_000) => write!(f, "{}ms", micros / 1_000),
            None => write!(f, "{}.{:03}ms", micros / 1_000, micros % 1_000),
        }
    }
}
