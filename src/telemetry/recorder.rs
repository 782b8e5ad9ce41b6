//! A recorder of metrics whose threads do not share cache lines when they count: handles add to
//! [sums](super::stripes) that are striped by thread, and the page is written from these.
//!
//! Deliberately absent: the page itself. Another recorder shows counters and gauges, once they have been brought up
//! to date.

#![allow(
    clippy::mutable_key_type,
    reason = "a key's hash and its equality are those of its texts, which do not change"
)]

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

use super::exemplars::{DURATION_EDGES, bucket_of};
use super::labels::write_labels;
use super::stripes::Sums;

/// Counts in stripes, in place of a recorder that shows what was counted.
pub struct StripedRecorder<R> {
    shown: R,
    series: Arc<StripedSeries>,
}

/// What a [`StripedRecorder`] has counted.
#[derive(Default)]
pub struct StripedSeries {
    counters: Known<StripedCounter>,
    gauges: Known<StripedGauge>,
    histograms: Known<StripedHistogram>,
}

impl<R: Recorder> StripedRecorder<R> {
    /// Counts for a recorder that shows counters and gauges.
    pub fn new(shown: R) -> Self {
        Self {
            shown,
            series: Arc::default(),
        }
    }

    /// Returns what is counted.
    #[must_use]
    pub fn series(&self) -> Arc<StripedSeries> {
        Arc::clone(&self.series)
    }
}

impl<R: Recorder> Recorder for StripedRecorder<R> {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.shown.describe_counter(name, unit, description);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.shown.describe_gauge(name, unit, description);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, description: SharedString) {
        self.shown.describe_histogram(name, unit, description);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.series.counters.get(key, || StripedCounter {
            added: Sums::new(1),
            shown: self.shown.register_counter(key, metadata),
        }))
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.series.gauges.get(key, || StripedGauge {
            steps: Sums::new(1),
            rest: AtomicU64::new(0.0_f64.to_bits()),
            shown: self.shown.register_gauge(key, metadata),
        }))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let new = || StripedHistogram(Sums::new(TOTAL + 1));
        Histogram::from_arc(self.series.histograms.get(key, new))
    }
}

impl StripedSeries {
    /// Brings counters and gauges up to date, lets them be rendered, and adds the histograms.
    pub fn page(&self, render: impl FnOnce() -> String) -> String {
        self.counters.each(|_, counter| counter.show());
        self.gauges.each(|_, gauge| gauge.show());
        let mut page = render();
        let mut families: BTreeMap<String, String> = BTreeMap::new();
        self.histograms.each(|key, histogram| {
            let series = families.entry(key.name().to_owned()).or_default();
            histogram.write(series, key);
        });
        for (name, series) in families {
            page.push_str(&format!("# TYPE {name} histogram\n{series}\n"));
        }
        page
    }
}

/// The series of one kind by their keys; never forgotten, like those of the recorder that shows them.
struct Known<S>(RwLock<HashMap<Key, Arc<S>>>);

impl<S> Default for Known<S> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<S> Known<S> {
    fn get(&self, key: &Key, new: impl FnOnce() -> S) -> Arc<S> {
        // A panic while it is held cannot leave half a series.
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = known.get(key) {
            return Arc::clone(series);
        }
        drop(known);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(key.clone()).or_insert_with(|| Arc::new(new())))
    }

    fn each(&self, mut visit: impl FnMut(&Key, &S)) {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().for_each(|(key, series)| visit(key, series));
    }
}

/// A counter is either added to or set to what others have counted; the latter takes no sum.
struct StripedCounter {
    added: Sums,
    shown: Counter,
}

impl StripedCounter {
    fn show(&self) {
        self.shown.absolute(self.added.get(0));
    }
}

impl CounterFn for StripedCounter {
    fn increment(&self, value: u64) {
        self.added.add(0, value);
    }

    fn absolute(&self, value: u64) {
        self.shown.absolute(value);
    }
}

/// A gauge: the whole steps by which it went up and down, and what it was set to beside them.
struct StripedGauge {
    steps: Sums,
    /// The bits of a float.
    rest: AtomicU64,
    shown: Gauge,
}

impl StripedGauge {
    fn show(&self) {
        let rest = f64::from_bits(self.rest.load(Ordering::Acquire));
        self.shown.set(rest + self.all_steps());
    }

    fn all_steps(&self) -> f64 {
        self.steps.get(0).cast_signed() as f64
    }

    /// Steps that are whole and small, as counts of things under way are, are summed without a rounding error.
    fn step(&self, by: f64) {
        match by.fract() == 0.0 && by.abs() <= f64::from(u32::MAX) {
            true => self.steps.add(0, (by as i64).cast_unsigned()),
            false => {
                let add = |bits| Some((f64::from_bits(bits) + by).to_bits());
                // It always has something to store.
                let _before = self
                    .rest
                    .fetch_update(Ordering::Release, Ordering::Relaxed, add);
            }
        }
    }
}

impl GaugeFn for StripedGauge {
    fn increment(&self, value: f64) {
        self.step(value);
    }

    fn decrement(&self, value: f64) {
        self.step(-value);
    }

    fn set(&self, value: f64) {
        let rest = value - self.all_steps();
        self.rest.store(rest.to_bits(), Ordering::Release);
    }
}

/// Where the total of a histogram's values stands: behind its buckets, of which the last is for what is above all
/// edges.
const TOTAL: usize = DURATION_EDGES.len() + 1;

struct StripedHistogram(Sums);

impl StripedHistogram {
    /// Writes its lines, as the Prometheus text format has them.
    fn write(&self, page: &mut String, key: &Key) {
        let name = key.name();
        let mut labels = String::new();
        write_labels(&mut labels, key.labels().map(|it| (it.key(), it.value())));
        let mut count = 0;
        let edges = DURATION_EDGES.iter().map(ToString::to_string);
        let edges = edges.chain(["+Inf".to_owned()]);
        // Writing to a text cannot fail.
        for (bucket, edge) in edges.enumerate() {
            count += self.0.get(bucket);
            let _written = writeln!(page, "{name}_bucket{{{labels}le=\"{edge}\"}} {count}");
        }
        let labels = match labels.strip_suffix(',') {
            Some(labels) => format!("{{{labels}}}"),
            None => String::new(),
        };
        let total = self.0.get_fraction(TOTAL);
        let _written = writeln!(page, "{name}_sum{labels} {total}");
        let _written = writeln!(page, "{name}_count{labels} {count}");
    }
}

impl HistogramFn for StripedHistogram {
    fn record(&self, value: f64) {
        self.0.add(bucket_of(value), 1);
        self.0.add_fraction(TOTAL, value);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use metrics::{NoopRecorder, with_local_recorder};

    use super::*;

    #[test]
    fn a_histogram_is_written_as_the_text_format_has_it() {
        let recorder = StripedRecorder::new(NoopRecorder);
        with_local_recorder(&recorder, || {
            let took = metrics::histogram!("took", "endpoint" => "/a\"{x}\n");
            for seconds in [0.25, 0.375, 11.0] {
                took.record(seconds);
            }
            // The same series once more.
            metrics::histogram!("took", "endpoint" => "/a\"{x}\n").record(0.125);
            metrics::histogram!("waited").record(0.5);
        });
        let page = recorder.series().page(|| "# before\n".to_owned());
        let lines: Vec<_> = page.lines().collect();
        assert_eq!(lines[..2], ["# before", "# TYPE took histogram"]);
        let series = "endpoint=\"/a\\\"{x}\\n\"";
        for (line, value) in [
            (format!("took_bucket{{{series},le=\"0.1\"}}"), "0"),
            (format!("took_bucket{{{series},le=\"0.25\"}}"), "2"),
            (format!("took_bucket{{{series},le=\"0.5\"}}"), "3"),
            (format!("took_bucket{{{series},le=\"10\"}}"), "3"),
            (format!("took_bucket{{{series},le=\"+Inf\"}}"), "4"),
            (format!("took_count{{{series}}}"), "4"),
            (format!("took_sum{{{series}}}"), "11.75"),
            ("waited_bucket{le=\"0.25\"}".to_owned(), "0"),
            ("waited_bucket{le=\"0.5\"}".to_owned(), "1"),
            ("waited_sum".to_owned(), "0.5"),
            ("waited_count".to_owned(), "1"),
        ] {
            let line = format!("{line} {value}");
            assert!(lines.contains(&&*line), "{line}\n{page}");
        }
    }

    #[test]
    fn a_gauge_goes_up_on_one_thread_and_down_on_another() {
        let gauge = StripedGauge {
            steps: Sums::new(1),
            rest: AtomicU64::new(0),
            shown: Gauge::noop(),
        };
        let value = || f64::from_bits(gauge.rest.load(Ordering::Acquire)) + gauge.all_steps();
        let is = |expected: f64| (value() - expected).abs() < f64::EPSILON;
        gauge.increment(3.0);
        thread::scope(|scope| {
            scope.spawn(|| gauge.decrement(2.0));
        });
        assert!(is(1.0));
        gauge.increment(0.5);
        assert!(is(1.5));
        gauge.set(7.0);
        gauge.decrement(1.0);
        assert!(is(6.0), "{}", value());
    }
}
