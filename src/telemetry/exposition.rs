//! Reads numbers from a page in the Prometheus text format, of which it supports what Tidegate
//! writes.

use std::collections::HashMap;

/// A page of metrics: the labels and the value of each series, by metric.
#[derive(Default)]
pub struct Exposition(HashMap<String, Vec<(String, f64)>>);

impl Exposition {
    /// Reads a page as it was scraped.
    #[must_use]
    pub fn new(page: &str) -> Self {
        Self::read(page, |_| true)
    }

    /// Reads these metrics of a page, histograms with their buckets and counts, and keeps nothing else.
    #[must_use]
    pub fn of(page: &str, metrics: &[&str]) -> Self {
        Self::read(page, |name| {
            let whole = ["_bucket", "_count"]
                .iter()
                .find_map(|it| name.strip_suffix(it));
            metrics.contains(&name) || whole.is_some_and(|it| metrics.contains(&it))
        })
    }

    fn read(page: &str, is_wanted: impl Fn(&str) -> bool) -> Self {
        let mut metrics: HashMap<String, Vec<_>> = HashMap::new();
        for line in page.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let (metric, labels) = series.split_at(series.find('{').unwrap_or(series.len()));
            let Ok(value) = value.parse() else { continue };
            if is_wanted(metric) {
                let of_metric = metrics.entry(metric.to_owned()).or_default();
                of_metric.push((labels.to_owned(), value));
            }
        }
        Self(metrics)
    }

    /// The sum over all series of a metric that have these labels; none if there is no such series.
    pub fn sum(&self, metric: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let values = self.series(metric, labels).map(|(_, value)| value);
        values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    }

    /// The value of a label in the one series that is 1, as an enum is exposed.
    pub fn variant(&self, metric: &str, labels: &[(&str, &str)], label: &str) -> Option<String> {
        let is_one = |value: f64| (value - 1.0).abs() < f64::EPSILON;
        let (series, _) = self
            .series(metric, labels)
            .find(|(_, value)| is_one(*value))?;
        let (_, rest) = series.split_once(&format!("{label}=\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    }

    /// The labels and the value of each series, which may have no labels. A template in a label may
    /// contain braces.
    pub(crate) fn series<'a>(
        &'a self,
        metric: &str,
        labels: &'a [(&str, &str)],
    ) -> impl Iterator<Item = (&'a str, f64)> + use<'a> {
        let has = |series: &str| {
            labels
                .iter()
                .all(|(name, value)| series.contains(&format!("{name}=\"{value}\"")))
        };
        let all = self.0.get(metric).into_iter().flatten();
        all.filter(move |(labels, _)| has(labels))
            .map(|(labels, value)| (&**labels, *value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Exposition {
        let text = r#"
# TYPE requests counter
requests{endpoint="/a/{id}",status="200"} 3
requests{endpoint="/b",status="200"} 4
requests{endpoint="/b",status="404"} 1
requests_in_flight{status="200"} 100
switches 7
switches_of_others 8
condition{node="primary",condition="fresh"} 0
condition{node="primary",condition="unreachable"} 1
"#;
        Exposition::new(text)
    }

    #[test]
    fn series_with_the_labels_are_summed() {
        assert_eq!(page().sum("requests", &[]), Some(8.0));
        assert_eq!(page().sum("requests", &[("status", "200")]), Some(7.0));
    }

    #[test]
    fn a_metric_without_labels_is_read() {
        assert_eq!(page().sum("switches", &[]), Some(7.0));
    }

    #[test]
    fn a_metric_without_series_is_none_rather_than_zero() {
        assert_eq!(page().sum("requests", &[("status", "500")]), None);
        assert_eq!(page().sum("lag", &[]), None);
    }

    #[test]
    fn of_a_page_only_the_wanted_metrics_are_kept() {
        let page = Exposition::of(
            "a 1\nb 2\nt_bucket{le=\"1\"} 3\nt_count 4\nt_sum 5\n",
            &["a", "t"],
        );
        assert_eq!(page.sum("a", &[]), Some(1.0));
        assert_eq!(page.sum("t_bucket", &[("le", "1")]), Some(3.0));
        assert_eq!(page.sum("t_count", &[]), Some(4.0));
        assert_eq!((page.sum("b", &[]), page.sum("t_sum", &[])), (None, None));
    }

    #[test]
    fn an_enum_is_the_label_of_the_series_that_is_one() {
        let variant = page().variant("condition", &[("node", "primary")], "condition");
        assert_eq!(variant.as_deref(), Some("unreachable"));
    }
}
