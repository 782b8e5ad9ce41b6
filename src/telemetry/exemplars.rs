//! Exemplars: for each bucket of a histogram of requests, the newest sampled one that fell into it.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::labels::write_labels;
use crate::trace::SpanContext;

/// Upper edges of the buckets of every histogram, in seconds. 0.03 is the promise for `/public/*`, 0.25 and above
/// show failovers.
pub const DURATION_EDGES: [f64; 13] = [
    0.000_5, 0.001, 0.002, 0.005, 0.01, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// Most series with exemplars, about as many as there are series of endpoints and policies. Beyond them, the one
/// without a new exemplar for longest makes room.
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

/// The exemplars of a series.
#[derive(Debug)]
struct Series {
    buckets: Buckets,
    newest: SystemTime,
}

type Known = HashMap<String, Series>;

/// By series, as the page of metrics has it without `le`.
static EXEMPLARS: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

/// Notes a sampled request that a histogram has recorded.
pub fn note_exemplar(metric: &str, labels: &[(&str, &str)], took: Duration, context: SpanContext) {
    let mut series = format!("{metric}_bucket{{");
    write_labels(&mut series, labels.iter().copied());
    let bucket = bucket_of(took.as_secs_f64());
    let exemplar = Exemplar {
        context,
        took,
        at: SystemTime::now(),
    };
    let mut known = EXEMPLARS.lock().unwrap_or_else(PoisonError::into_inner);
    keep(&mut known, series, bucket, exemplar, SERIES_MAX);
}

fn keep(known: &mut Known, series: String, bucket: usize, exemplar: Exemplar, most: usize) {
    if known.len() >= most && !known.contains_key(&series) {
        let oldest = known.iter().min_by_key(|(_, it)| it.newest);
        if let Some(oldest) = oldest.map(|(series, _)| series.clone()) {
            known.remove(&oldest);
        }
    }
    let kept = known.entry(series).or_insert_with(|| Series {
        buckets: Buckets::default(),
        newest: exemplar.at,
    });
    kept.buckets[bucket] = Some(exemplar);
    kept.newest = exemplar.at;
}

/// The bucket that a value counts in.
pub(super) fn bucket_of(seconds: f64) -> usize {
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
    let found = known.get(series).and_then(|it| *it.buckets.get(bucket)?);
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
    use crate::trace::{SpanId, TraceId};

    #[test]
    fn a_new_series_replaces_the_one_without_exemplars_for_longest() {
        let mut known = Known::new();
        for (second, series) in ["a", "b", "a", "c", "c"].into_iter().enumerate() {
            let exemplar = Exemplar {
                context: SpanContext {
                    trace: TraceId(1),
                    span: SpanId(1),
                    is_sampled: true,
                },
                took: Duration::ZERO,
                at: UNIX_EPOCH + Duration::from_secs(second as u64),
            };
            keep(&mut known, series.to_owned(), 0, exemplar, 2);
        }
        let mut series: Vec<_> = known.keys().map(|it| &**it).collect();
        series.sort_unstable();
        assert_eq!(series, ["a", "c"]);
    }

    #[test]
    fn a_bucket_has_what_is_at_most_its_edge() {
        assert_eq!(bucket_of(0.0), 0);
        assert_eq!(bucket_of(0.000_5), 0);
        assert_eq!(bucket_of(0.000_6), 1);
        assert_eq!(bucket_of(10.0), 12);
        assert_eq!(bucket_of(11.0), 13);
    }
}
