//! A region's quantities, from what its gateways say.

use tidegate_traffic::health::Quantities;

use crate::digest::Digest;
use crate::record::{GatewayConditions, Record};

/// Fewer requests of all gateways say nothing.
const FEWEST: f64 = 5.0;

const MILLION: f64 = 1_000_000.0;

/// What may lie above the 99th percentile.
const ABOVE_P99: f64 = 0.01;

/// Sums of rates are compared with this much room, so that what is exact stays so.
const ROUNDING: f64 = 1e-9;

/// What a region says of itself, over all its gateways.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Said {
    /// Its quantities.
    pub quantities: Quantities,
    /// What it serves, in requests per second.
    pub rate: f64,
}

impl Said {
    pub(crate) const NOTHING: Self = Self {
        quantities: Quantities::NONE,
        rate: 0.0,
    };

    /// Adds up what gateways say. Without `primary_elsewhere`, a primary that cannot be reached is no
    /// error: what every region lacks is no reason to leave one. Without one anywhere, how far replicas are
    /// behind is not known: the lag stays as it was `before`.
    pub(crate) fn of<'a>(
        records: impl Iterator<Item = &'a Record> + Clone,
        primary_elsewhere: bool,
        before: &Self,
    ) -> Self {
        let reaches = |record: &Record| record.conditions.has(GatewayConditions::PRIMARY);
        let has_primary = primary_elsewhere || records.clone().any(reaches);
        let digests = records.map(|record| &record.digest);
        let count = digests.clone().count();
        if count == 0 {
            return Self::NOTHING;
        }
        let rate: f64 = digests.clone().map(Digest::rate).sum();
        let errors = digests.clone().map(|it| it.error_rate(primary_elsewhere));
        let errors: f64 = errors.sum();
        let requests: f64 = digests.clone().map(Digest::requests).sum();
        let enough = requests >= FEWEST - ROUNDING;
        let busy = digests.clone().map(|it| u64::from(it.saturation_pct()));
        let lags = digests.clone().map(|it| {
            it.lag()
                .map_or(Quantities::LAG_UNKNOWN, |lag| lag.as_micros() as u64)
        });
        let quantities = Quantities {
            errors: enough.then(|| ((errors / rate).min(1.0) * MILLION) as u64),
            p99: enough.then(|| p99(&digests, rate)),
            saturation: Some(busy.sum::<u64>() * 10_000 / count as u64),
            lag: match has_primary {
                true => lags.max().unwrap_or_default(),
                false => before.quantities.lag,
            },
        };
        Self { quantities, rate }
    }
}

/// Returns the smallest point of any gateway above which lies at most a hundredth of the rate.
///
/// Of a gateway's rate as much lies above a value as above its greatest point that is not above it: exact
/// for one gateway, never too low for several.
fn p99<'a>(digests: &(impl Iterator<Item = &'a Digest> + Clone), rate: f64) -> u64 {
    let above = |value: u64| -> f64 {
        let each = digests
            .clone()
            .map(|digest| digest.rate() * share_above(digest, value));
        each.sum()
    };
    let points = digests.clone().flat_map(Digest::points);
    let enough = points.filter(|point| above(*point) <= rate * (ABOVE_P99 + ROUNDING));
    enough.min().unwrap_or_default()
}

fn share_above(digest: &Digest, value: u64) -> f64 {
    let points = digest.points().into_iter().zip(Digest::SHARES);
    let below = points.filter(|(point, _)| *point <= value);
    below.map(|(_, share)| share).fold(1.0, f64::min)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tidegate_traffic::health::{Outcome, Samples, Summary};

    use super::*;
    use crate::wire;

    fn record(digest: Digest) -> Record {
        let sent = wire::Record {
            sequence: 1,
            quantities: digest.as_bytes().to_vec(),
            ..wire::Record::default()
        };
        Record::parse(&sent).unwrap().1
    }

    fn served(requests: u64, failed: u64, no_primary: u64) -> Record {
        let summary = Summary {
            window: Duration::from_secs(2),
            requests,
            failed,
            no_primary,
            ..Summary::default()
        };
        record(Digest::new(&summary, 0, Some(Duration::ZERO)))
    }

    fn errors(records: &[Record], primary_elsewhere: bool) -> Option<u64> {
        Said::of(records.iter(), primary_elsewhere, &Said::NOTHING)
            .quantities
            .errors
    }

    #[test]
    fn under_five_requests_of_all_gateways_nothing_is_said() {
        let one = served(2, 2, 0);
        assert_eq!(errors(&[one, one], true), None);
        assert_eq!(errors(&[one, one, one], true), Some(1_000_000));
    }

    #[test]
    fn gateways_count_by_what_they_serve() {
        let (busy, idle) = (served(1_000, 0, 0), served(10, 10, 0));
        let share = errors(&[busy, idle], true).unwrap() as f64 / MILLION;
        assert!((share - 10.0 / 1_010.0).abs() < 0.001, "{share}");
    }

    #[test]
    fn a_want_of_a_primary_is_an_error_only_while_another_region_has_it() {
        let lacking = served(100, 0, 50);
        let all = errors(&[lacking], true).unwrap();
        assert!((480_000..520_000).contains(&all), "{all}");
        assert_eq!(errors(&[lacking], false), Some(0));
    }

    #[test]
    fn a_lag_behind_a_primary_that_no_region_reaches_stays_what_it_was() {
        let record = |conditions| Record {
            conditions,
            ..record(Digest::new(&Summary::default(), 0, None))
        };
        let before = |lag| Said {
            quantities: Quantities {
                lag,
                ..Quantities::NONE
            },
            rate: 0.0,
        };
        let lag = |records: &[Record], elsewhere| {
            let said = Said::of(records.iter(), elsewhere, &before(7_000));
            said.quantities.lag
        };
        let none = GatewayConditions::default();
        let lacking = [record(none), record(none)];
        assert_eq!(lag(&lacking, false), 7_000);
        assert_eq!(lag(&lacking, true), Quantities::LAG_UNKNOWN);
        let reaching = [record(none), record(GatewayConditions::PRIMARY)];
        assert_eq!(lag(&reaching, false), Quantities::LAG_UNKNOWN);
    }

    #[test]
    fn saturation_is_the_mean_and_lag_the_greatest() {
        let of = |saturation, lag: Option<u64>| {
            let lag = lag.map(Duration::from_millis);
            record(Digest::new(&Summary::default(), saturation, lag))
        };
        let quantities =
            |records: &[Record]| Said::of(records.iter(), true, &Said::NOTHING).quantities;
        let both = quantities(&[of(20, Some(0)), of(60, Some(1_000))]);
        assert_eq!(both.saturation, Some(400_000));
        assert!(both.lag.abs_diff(1_000_000) < 25_000, "{}", both.lag);
        let unknown = quantities(&[of(0, None), of(0, Some(1))]);
        assert_eq!(unknown.lag, Quantities::LAG_UNKNOWN);
    }

    proptest! {
        #[test]
        fn p99_is_a_gateways_own_and_never_too_low_for_several(
            times in prop::collection::vec(prop::collection::vec(100u64..2_000_000, 50..300), 1..5),
        ) {
            let mut all: Vec<u64> = Vec::new();
            let records: Vec<_> = times
                .iter()
                .map(|times| {
                    let mut samples = Samples::default();
                    for time in times {
                        samples.add(Outcome::Served, Duration::from_micros(*time), Duration::ZERO);
                    }
                    all.extend(times);
                    record(Digest::new(&samples.summary(Duration::ZERO), 0, None))
                })
                .collect();
            all.sort_unstable();
            let exact = all[all.len() - 1 - all.len() / 100] as f64;
            let said = Said::of(records.iter(), true, &Said::NOTHING);
            let said = said.quantities.p99.unwrap() as f64;
            if let [record] = &records[..] {
                prop_assert_eq!(said as u64, record.digest.points()[4]);
            }
            // Rates are kept to a fortieth: what is just above a hundredth may be taken for one.
            let slack = all[all.len() - 1 - all.len() * 11 / 1_000] as f64;
            prop_assert!(said >= slack.min(exact) * 0.974, "{said} for {exact}");
        }
    }
}
