//! Reads numbers from a page in the Prometheus text format, of which it supports what Tidegate
//! writes.

/// A page of metrics.
#[derive(Default)]
pub struct Exposition(String);

impl Exposition {
    /// Takes a page as it was scraped.
    pub fn new(page: String) -> Self {
        Self(page)
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
        metric: &'a str,
        labels: &'a [(&str, &str)],
    ) -> impl Iterator<Item = (&'a str, f64)> {
        let has = |series: &str| {
            labels
                .iter()
                .all(|(name, value)| series.contains(&format!("{name}=\"{value}\"")))
        };
        self.0.lines().filter_map(move |line| {
            let (series, value) = line.rsplit_once(' ')?;
            let labels = series.strip_prefix(metric)?;
            let is_whole = labels.is_empty() || labels.starts_with('{');
            Some((labels, value.parse().ok()?)).filter(|_| is_whole && has(labels))
        })
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
        Exposition::new(text.to_owned())
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
    fn an_enum_is_the_label_of_the_series_that_is_one() {
        let variant = page().variant("condition", &[("node", "primary")], "condition");
        assert_eq!(variant.as_deref(), Some("unreachable"));
    }
}
