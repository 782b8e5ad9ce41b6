//! What two pages of metrics say about the time between them.

use std::collections::HashMap;

use crate::Exposition;

/// The time between two pages of metrics of one process.
#[derive(Clone, Copy)]
pub struct Interval<'a> {
    /// The page at its beginning.
    pub before: &'a Exposition,
    /// The page at its end.
    pub after: &'a Exposition,
    /// Its length; at least a millisecond is assumed.
    pub seconds: f64,
}

impl Interval<'_> {
    /// The growth per second of all series of a counter that have these labels.
    #[must_use]
    pub fn rate(&self, metric: &str, labels: &[(&str, &str)]) -> f64 {
        let at = |page: &Exposition| page.sum(metric, labels).unwrap_or(0.0);
        self.per_second(at(self.after) - at(self.before))
    }

    /// The growth per second of each series of a counter that grew, with its labels.
    #[must_use]
    pub fn rates(&self, metric: &str) -> Vec<(HashMap<String, String>, f64)> {
        let before: HashMap<_, _> = self.before.series(metric, &[]).collect();
        let rate = |(labels, value): (&str, f64)| {
            let more = value - before.get(labels).copied().unwrap_or(0.0);
            (more > 0.0).then(|| (labels_of(labels), self.per_second(more)))
        };
        self.after.series(metric, &[]).filter_map(rate).collect()
    }

    /// A quantile of what a histogram recorded, linear within a bucket as Prometheus has it; none if it recorded
    /// nothing.
    #[must_use]
    pub fn quantile(&self, histogram: &str, labels: &[(&str, &str)], quantile: f64) -> Option<f64> {
        let metric = format!("{histogram}_bucket");
        let mut buckets = buckets(self.after, &metric, labels);
        for (edge, count) in self::buckets(self.before, &metric, labels) {
            if let Some(bucket) = buckets.iter_mut().find(|it| it.0.total_cmp(&edge).is_eq()) {
                bucket.1 -= count;
            }
        }
        let total = buckets.last()?.1;
        let wanted = total * quantile;
        let (mut edge_below, mut count_below) = (0.0, 0.0);
        for (edge, count) in buckets {
            if count >= wanted && total > 0.0 {
                let within = (wanted - count_below) / (count - count_below).max(f64::MIN_POSITIVE);
                let width = if edge.is_finite() {
                    edge - edge_below
                } else {
                    0.0
                };
                return Some(edge_below + width * within);
            }
            (edge_below, count_below) = (edge, count);
        }
        None
    }

    fn per_second(&self, more: f64) -> f64 {
        more.max(0.0) / self.seconds.max(0.001)
    }
}

/// The cumulative counts by upper edge, summed over series.
fn buckets(page: &Exposition, metric: &str, labels: &[(&str, &str)]) -> Vec<(f64, f64)> {
    let mut sums: Vec<(f64, f64)> = Vec::new();
    for (series, count) in page.series(metric, labels) {
        let edge = labels_of(series).get("le").and_then(|it| it.parse().ok());
        let Some(edge) = edge else { continue };
        match sums.iter_mut().find(|it| it.0.total_cmp(&edge).is_eq()) {
            Some(bucket) => bucket.1 += count,
            None => sums.push((edge, count)),
        }
    }
    sums.sort_by(|a, b| a.0.total_cmp(&b.0));
    sums
}

/// The labels of a series: `{name="value",…}` with `\\`, `\"` and `\n` escaped.
fn labels_of(series: &str) -> HashMap<String, String> {
    let mut labels = HashMap::new();
    let mut rest = series.trim_start_matches('{');
    while let Some((name, quoted)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut characters = quoted.chars();
        while let Some(c) = characters.next() {
            match c {
                '"' => break,
                '\\' => match characters.next() {
                    Some('n') => value.push('\n'),
                    escaped => value.extend(escaped),
                },
                _ => value.push(c),
            }
        }
        labels.insert(name.trim_start_matches(',').to_owned(), value);
        rest = characters.as_str();
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Exposition {
        Exposition::new(text)
    }

    #[test]
    fn a_rate_is_the_growth_per_second_and_each_series_has_its_own() {
        let before = page("requests{node=\"a\"} 10\n");
        let after = page("requests{node=\"a\"} 30\nrequests{node=\"b\\\"\\\\\"} 4\n");
        let interval = Interval {
            before: &before,
            after: &after,
            seconds: 2.0,
        };
        assert_eq!(interval.rate("requests", &[]), 12.0);
        let mut rates: Vec<_> = interval.rates("requests");
        rates.sort_by(|a, b| b.1.total_cmp(&a.1));
        assert_eq!(
            rates[0],
            (HashMap::from([("node".to_owned(), "a".to_owned())]), 10.0)
        );
        assert_eq!(rates[1].0["node"], "b\"\\");
    }

    #[test]
    fn a_quantile_is_of_the_interval_alone_and_linear_within_a_bucket() {
        let before =
            page("t_bucket{le=\"1\"} 100\nt_bucket{le=\"2\"} 100\nt_bucket{le=\"+Inf\"} 100\n");
        let after =
            page("t_bucket{le=\"1\"} 100\nt_bucket{le=\"2\"} 110\nt_bucket{le=\"+Inf\"} 110\n");
        let interval = Interval {
            before: &before,
            after: &after,
            seconds: 1.0,
        };
        assert_eq!(interval.quantile("t", &[], 0.5), Some(1.5));
        let nothing = Interval {
            before: &after,
            ..interval
        };
        assert_eq!(nothing.quantile("t", &[], 0.5), None);
        assert_eq!(interval.quantile("other", &[], 0.5), None);
    }

    #[test]
    fn beyond_the_last_edge_a_quantile_is_that_edge() {
        let (before, after) = (
            page(""),
            page("t_bucket{le=\"1\"} 0\nt_bucket{le=\"+Inf\"} 5\n"),
        );
        let interval = Interval {
            before: &before,
            after: &after,
            seconds: 1.0,
        };
        assert_eq!(interval.quantile("t", &[], 0.99), Some(1.0));
    }
}
