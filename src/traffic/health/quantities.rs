//! The quantities of a region, and whether a clause holds for them.

use crate::plan::{Join, Measure, Measures, Quantity};

/// A region's quantities over its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantities {
    /// The share of requests that failed, in millionths; `None` under five samples.
    pub errors: Option<u64>,
    /// The 99th percentile of the time to the head, in microseconds; `None` under five samples.
    pub p99: Option<u64>,
    /// In millionths; `None` if unknown.
    pub saturation: Option<u64>,
    /// In microseconds; 0 without a replica.
    pub lag: u64,
}

impl Quantities {
    /// An unknown lag: it exceeds every bound.
    pub const LAG_UNKNOWN: u64 = u64::MAX;

    /// Nothing has been observed yet.
    pub const NONE: Self = Self {
        errors: None,
        p99: None,
        saturation: None,
        lag: 0,
    };

    /// Returns these quantities, with the earlier ones in place of unknown ones.
    #[must_use]
    pub fn or(self, earlier: Self) -> Self {
        Self {
            errors: self.errors.or(earlier.errors),
            p99: self.p99.or(earlier.p99),
            saturation: self.saturation.or(earlier.saturation),
            lag: self.lag,
        }
    }

    /// Returns whether a `leave` holds; without `room` elsewhere, load does not count.
    pub fn exceed(&self, measures: &Measures, room: bool) -> bool {
        joined(measures, |measure| {
            let by_load = matches!(measure.quantity, Quantity::P99 | Quantity::Saturation);
            let value = self.get(measure.quantity);
            (room || !by_load) && value.is_some_and(|value| value > measure.bound)
        })
    }

    /// Returns whether a `return` holds.
    pub(crate) fn undercut(&self, measures: &Measures) -> bool {
        joined(measures, |measure| {
            let value = self.get(measure.quantity);
            value.is_some_and(|value| value < measure.bound)
        })
    }

    fn get(&self, quantity: Quantity) -> Option<u64> {
        match quantity {
            Quantity::Errors => self.errors,
            Quantity::P99 => self.p99,
            Quantity::Saturation => self.saturation,
            Quantity::Lag => Some(self.lag),
        }
    }
}

fn joined(measures: &Measures, holds: impl Fn(Measure) -> bool) -> bool {
    match measures.join() {
        Join::Or => measures.iter().any(holds),
        Join::And => measures.iter().all(holds),
    }
}
