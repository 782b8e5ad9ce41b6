//! The Prometheus recorder and its text.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, VARY};
use metrics::SetRecorderError;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use metrics_process::Collector;

use tidegate_model::RegionId;
use tidegate_telemetry::{
    OPENMETRICS, StripedRecorder, StripedSeries, accepts_openmetrics, names, openmetrics,
};

/// Why metrics cannot be recorded.
pub type RecorderError = SetRecorderError<StripedRecorder<PrometheusRecorder>>;

/// Collects what the process counts.
#[derive(Clone)]
pub struct Recorder {
    handle: PrometheusHandle,
    series: Arc<StripedSeries>,
    process: Collector,
}

impl Recorder {
    /// Installs the recorder of this process.
    ///
    /// # Errors
    /// When another one is installed already.
    pub fn install(region: &RegionId) -> Result<Self, RecorderError> {
        let (recorder, handle) = striped();
        let series = recorder.series();
        metrics::set_global_recorder(recorder)?;
        let labels = [
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("region", region.to_string()),
        ];
        metrics::gauge!(names::BUILD_INFO, &labels).set(1.0);
        // Logs begin before there are metrics.
        metrics::counter!(names::ACCESS_LINES_DROPPED).absolute(0);
        metrics::counter!(names::BACKGROUND_PANICS).increment(0);
        let process = Collector::default();
        process.describe();
        Ok(Self {
            handle,
            series,
            process,
        })
    }

    /// The page of metrics, in the Prometheus text format.
    #[must_use]
    pub fn page(&self) -> String {
        self.process.collect();
        self.series.page(|| self.handle.render())
    }
}

/// A recorder, and what renders its counters and gauges.
fn striped() -> (StripedRecorder<PrometheusRecorder>, PrometheusHandle) {
    let shown = PrometheusBuilder::new().build_recorder();
    let handle = shown.handle();
    (StripedRecorder::new(shown), handle)
}

/// `GET /metrics`: `OpenMetrics` where that is asked for, else the Prometheus text format.
pub(super) async fn render(
    State(recorder): State<Recorder>,
    headers: HeaderMap,
) -> impl IntoResponse {
    let accept = headers.get(ACCEPT).and_then(|it| it.to_str().ok());
    let (content_type, page) = match accept.is_some_and(accepts_openmetrics) {
        true => (OPENMETRICS, openmetrics(&recorder.page())),
        false => ("text/plain; version=0.0.4; charset=utf-8", recorder.page()),
    };
    ([(CONTENT_TYPE, content_type), (VARY, "accept")], page)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use tidegate_telemetry::Exposition;

    #[test]
    fn what_threads_have_counted_by_then_is_on_the_page() {
        let (recorder, handle) = striped();
        let series = recorder.series();
        let page = || Exposition::new(&series.page(|| handle.render()));
        metrics::with_local_recorder(&recorder, || {
            let counted = metrics::counter!("counted_total", "kind" => "a");
            let (under_way, took) = (metrics::gauge!("under_way"), metrics::histogram!("took"));
            metrics::counter!("seen_total").absolute(9);
            metrics::counter!("never_total").increment(0);
            under_way.set(0.0);
            for round in 1..=3 {
                thread::scope(|scope| {
                    for _ in 0..8 {
                        scope.spawn(|| {
                            (0..100).for_each(|_| counted.increment(1));
                            under_way.increment(1);
                            took.record(0.5);
                        });
                    }
                });
                let (page, threads) = (page(), f64::from(8 * round));
                for (metric, value) in [
                    ("counted_total", threads * 100.0),
                    ("under_way", threads),
                    ("took_count", threads),
                    ("took_sum", threads / 2.0),
                    ("seen_total", 9.0),
                    ("never_total", 0.0),
                ] {
                    assert_eq!(page.sum(metric, &[]), Some(value), "{metric}");
                }
            }
        });
    }
}
