//! Exemplars: for each bucket of a histogram of requests, the newest sampled one that fell into it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::trace::SpanContext;

/// Upper edges of the buckets of every histogram, in seconds. 0.03 is the promise for `/public/*`, 0.25 and above
/// show failovers.
pub const DURATION_EDGES: [f64; 13] = [
    0.000_5, 0.001, 0.002, 0.005, 0.01, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// Most series with exemplars, about as many as there are series of endpoints and policies.
const SERIES_MAX: usize = 4_000;

/// One request of a bucket.
#[derive(Debug, Clone, Copy)]
struct Exemplar {
    context: SpanContext,
    took: Duration,
    at: SystemTime,
}

/// One for each edge, and one for what is above all.
type Buckets = [Option<Exemplar>; DURATION_EDGES.len() + 1];

/// By series, as the page of metrics has it without `le`.
static EXEMPLARS: LazyLock<Mutex<HashMap<String, Buckets>>> = LazyLock::new(Mutex::default);

/// Notes a sampled request that a histogram has recorded.
pub fn note_exemplar(metric: &str, labels: &[(&str, &str)], took: Duration, context: SpanContext) {
    let mut series = format!("{metric}_bucket{{");
    for (name, value) in labels {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        // Writing to a text cannot fail.
        let _written = write!(series, "{name}=\"{}\",", value.replace('\n', "\\n"));
    }
    let bucket = bucket_of(took.as_secs_f64());
    let exemplar = Exemplar {
        context,
        took,
        at: SystemTime::now(),
    };
    let mut known = EXEMPLARS.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() < SERIES_MAX || known.contains_key(&series) {
        known.entry(series).or_default()[bucket] = Some(exemplar);
    }
}

fn bucket_of(seconds: f64) -> usize {
    let edges = DURATION_EDGES.iter();
    edges.take_while(|edge| seconds > **edge).count()
}

/// The exemplar of a bucket as `OpenMetrics` writes it behind the value; empty without one. `series` is its line up
/// to `le`, which is the bucket's upper edge.
pub(super) fn exemplar(series: &str, le: &str) -> String {
    let bucket = match le {
        "+Inf" => DURATION_EDGES.len(),
        edge => edge.parse().map_or(usize::MAX, bucket_of),
    };
    let known = EXEMPLARS.lock().unwrap_or_else(PoisonError::into_inner);
    let found = known.get(series).and_then(|it| *it.get(bucket)?);
    found.map_or_else(String::new, |Exemplar { context, took, at }| {
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        format!(
            " # {{trace_id=\"{}\",span_id=\"{}\"}} {} {:.3}",
            context.trace,
            context.span,
            took.as_secs_f64(),
            at.as_secs_f64()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_has_what_is_at_most_its_edge() {
        assert_eq!(bucket_of(0.0), 0);
        assert_eq!(bucket_of(0.000_5), 0);
        assert_eq!(bucket_of(0.000_6), 1);
        assert_eq!(bucket_of(10.0), 12);
        assert_eq!(bucket_of(11.0), 13);
    }
}
